"""Orientation maps from the command line: trained in two stages, killed, resumed, sampled to files, judged."""

import json

import jax
import numpy as np
import pytest

from microgen_jax import read_map
from microgen_jax.config import run_config
from tests.commands.stored import same_bits, state

MAPS = {
    "config__data__representation": "orientation",
    "config__data__count": 16,
    "config__model__channels": "(8,)",
    "config__model__values_channels": "(16,)",
    "config__train__batch_size": 4,
    "config__train__checkpoint_every": 1,
}


@pytest.fixture(scope="module")
def maps_run(run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("maps")
    result = run(workdir=workdir, config__train__eval_every=2, config__train__sample_every=2, **MAPS)
    assert result.returncode == 0, result.stderr
    return workdir


@pytest.mark.slow
def test_both_stages_are_trained_and_shown(maps_run):
    resolved = run_config.read(maps_run).resolved
    assert [name for name, _ in resolved.stages] == ["structure", "values"]
    assert (resolved.channels, resolved.phases) == (12, (("cubic", "m-3m"),))
    lines = [json.loads(line) for line in (maps_run / "metrics.jsonl").read_text().splitlines()]
    losses = {name for line in lines for name in line if "loss" in name}
    assert losses >= {"loss/structure", "loss/values", "heldout_loss", "heldout_loss/values"}
    assert (maps_run / "progress" / "step_00000004.png").is_file()
    assert (maps_run / "curves.png").is_file()


@pytest.mark.slow
def test_killed_and_resumed_bit_for_bit(maps_run, run, start, tmp_path):
    process = start(workdir=tmp_path, **MAPS)
    for line in process.stdout:
        if line.startswith("step 3/"):
            break
    process.kill()
    process.communicate()
    assert not (tmp_path / "checkpoints" / "4").exists()
    result = run(workdir=tmp_path, **MAPS)
    assert result.returncode == 0, result.stderr
    assert "resuming from step" in result.stdout
    assert same_bits(state(tmp_path, 4), state(maps_run, 4))


@pytest.mark.slow
def test_samples_are_scans_and_are_evaluated(maps_run, run):
    sample = {"mode": "sample", "workdir": maps_run, "config": None, "config__sample__num": 4}
    result = run(**sample, config__sample__formats="('npz','ctf','ang')")
    assert result.returncode == 0, result.stderr
    folder = maps_run / "samples" / "default"
    with np.load(folder / "samples.npz") as stored:
        assert stored["quaternions"].dtype == np.float32
        assert stored["quaternions"].shape == (4, 16, 16, 4)
    for suffix in ("ctf", "ang"):
        scans = [read_map(path) for path in sorted((folder / "maps").glob(f"*.{suffix}"))]
        assert [scan.orientations.shape for scan in scans] == [(16, 16, 4)] * 4
        assert {scan.phases[0].laue_group for scan in scans} == {"m-3m"}
    asked = {"config__evaluate__generated": "default", "config__evaluate__metrics": "('grain_diameter',)"}
    result = run(mode="evaluate", workdir=maps_run, config=None, config__evaluate__num=8, **asked)
    assert result.returncode == 0, result.stderr
    found = json.loads((maps_run / "evaluation" / "metrics.json").read_text())["metrics"]
    assert found["grain_diameter"]["n_generated"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"mode": "export"}, "--mode"),
        ({"mode": "sample", "config__sample__frames": 3}, "sample.frames"),
        ({"mode": "sample", "config__sample__ema": 0.1}, "sample.ema"),
    ],
)
def test_what_two_stages_do_not_have_is_refused(maps_run, run, flags, named):
    result = run(workdir=maps_run, config=None, **flags)
    assert result.returncode == 2
    assert named in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_both_networks_are_planned(run, maps_run, tmp_path):
    result = run(mode="plan", workdir=tmp_path, config__plan__devices="(1,)", config__plan__classes=4, **MAPS)
    assert result.returncode == 0, result.stderr
    (entry,) = json.loads((tmp_path / "plan.json").read_text())
    params = jax.tree.leaves(state(maps_run, 4).params)
    assert entry["parameter_bytes"] == sum(leaf.nbytes for leaf in params)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"method": "wgan_gp", "data__size": "(32,32)"}, "method"),
        ({"model__values_channels": "(4,)"}, "model.values_channels"),
        ({"train__ema_widths": "(0.1,)"}, "train.ema_widths"),
        ({"data__source": "folder", "data__root": "docs/figures"}, "data.representation"),
    ],
)
def test_what_is_not_made_for_orientations_is_refused(run, tmp_path, flags, named):
    result = run(workdir=tmp_path, **{**MAPS, **{f"config__{name}": value for name, value in flags.items()}})
    assert result.returncode == 2
    assert named in result.stderr
    assert not any(tmp_path.iterdir())
