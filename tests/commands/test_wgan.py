"""WGAN-GP by the commands that DDPM has: training, going on, drawing, judging, and what is refused."""

import io
import json
import runpy
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import microgen_jax
from microgen_jax import commands, methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError
from microgen_jax.images import read
from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints

CONFIG = Path(__file__).resolve().parents[2] / "configs/voronoi64_wgan.py"
TINY = {
    "data.size": (32, 32),
    "data.count": 16,
    "wgan.width": 2,
    "wgan.latent_dim": 4,
    "wgan.n_critic": 2,
    "train.batch_size": 4,
    "train.steps": 4,
    "train.schedule_steps": 4,
    "train.log_every": 1,
    "train.sample_every": 2,
    "train.sample_num": 4,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "sample.batch_size": 4,
    "evaluate.num": 8,
    "mesh.data": 1,
}


def config(**changes) -> Config:
    found = fields.freeze(runpy.run_path(str(CONFIG))["get_config"]())
    return fields.replace(found, TINY | {name.replace("__", "."): value for name, value in changes.items()})


def do(mode: str, workdir: Path, **changes) -> str:
    """What was printed."""
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    request = Request(config(**changes), overrides, mode == "train", workdir)
    with jax.numpy_dtype_promotion("standard"), redirect_stdout(io.StringIO()) as printed:  # for optax
        commands.run(mode, request)
    return printed.getvalue()


def newest(workdir: Path):
    """The state of the newest checkpoint."""
    run = run_config.read(workdir)
    method = methods.build(run.config, channels=1, num_classes=len(run.resolved.classes), num_conditions=0)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    checkpoints = Checkpoints(workdir, read_only=True)
    target = checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, meshes.make_mesh(1, 1)))
    state = checkpoints.restore(checkpoints.newest(), target)
    checkpoints.close()
    return state


def assert_same_bits(one, other) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four steps on boundaries of the built-in polycrystals, 32 px, by networks of a few channels."""
    workdir = tmp_path_factory.mktemp("wgan") / "run"
    printed = do("train", workdir)
    assert "warning: step 4: generated images differ among themselves by" in printed
    return workdir


def test_training_leaves_what_ddpm_leaves_and_the_curves(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"critic_loss", "generator_loss", "penalty", "wasserstein"} <= set(lines[0])
    judged = [line for line in lines if "heldout_loss" in line]
    assert [line["step"] for line in judged] == [2, 4]
    assert {"heldout_wasserstein", "diversity"} <= set(judged[0])
    names = sorted(path.name for path in (trained / "progress").iterdir())
    assert names == ["progress.gif", "step_00000002.png", "step_00000004.png"]
    assert read(trained / "curves.png").shape == (5 * 240, 700, 3)
    assert list((trained / "tensorboard").iterdir())


def test_a_run_that_stopped_goes_on_with_the_same_bits(trained, tmp_path):
    workdir = Path(shutil.copytree(trained, tmp_path / "w"))
    shutil.rmtree(workdir / "checkpoints" / "4")
    assert "resuming from step 2" in do("train", workdir)
    assert_same_bits(newest(workdir), newest(trained))


def test_samples_and_evaluation_by_the_same_commands(trained):
    do("sample", trained, sample__num=5)
    stored = np.load(trained / "samples/default/samples.npz", allow_pickle=False)
    assert (stored["images"].shape, stored["images"].dtype) == ((5, 32, 32, 1), np.uint8)
    manifest = json.loads((trained / "samples/default/manifest.json").read_text())
    assert manifest["method"] == "wgan_gp"
    assert not {"sampler", "steps"} & set(manifest["sampler"])
    generator = microgen_jax.load(trained)
    np.testing.assert_array_equal(generator.sample(2), stored["images"][:2])
    with pytest.raises(UserError, match="steps: cannot be set"):
        microgen_jax.load(trained, steps=5)
    do("evaluate", trained, evaluate__metrics=("boundary_fraction", "dead_ends"))
    metrics = json.loads((trained / "evaluation/metrics.json").read_text())["metrics"]
    assert metrics["dead_ends"]["baseline"] is not None


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"data__size": (48, 48)}, "data.size"),
        ({"data__size": (16, 16)}, "data.size"),
        ({"data__channels": 2}, "data.channels"),
        ({"wgan__n_critic": 0}, "wgan.n_critic"),
        ({"wgan__critic_learning_rate": 0.0}, "wgan.critic_learning_rate"),
        ({"data__conditions": ("grain_diameter",)}, "data.conditions"),
        ({"model__dtype": "float16"}, "model.dtype"),
        ({"train__ema_widths": (0.1,)}, "train.ema_widths"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, changes, where):
    with pytest.raises(UserError) as fault:
        do("train", tmp_path / "w", **changes)
    assert fault.value.where == where
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "w").exists()


def test_channels_that_the_data_do_not_have_are_refused(tmp_path):
    for n in range(3):
        image = np.random.default_rng(n).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{n}.png")
    with pytest.raises(UserError, match=r"data\.channels=1"):
        do("train", tmp_path / "w", data__root=str(tmp_path))
    assert not (tmp_path / "w").exists()


def test_a_label_that_the_model_was_not_told_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"wgan\.conditional") as error:
        methods.build(
            config(wgan__conditional=False, sample__label="bimodal"),
            channels=1,
            num_classes=4,
            num_conditions=0,
        )
    assert error.value.where == "sample.label"


PROCESS = {
    "config": "configs/voronoi64_wgan.py",
    "config.data.size": "(32,32)",
    **{f"config.{name}": str(value) for name, value in TINY.items() if name[:4] in ("wgan", "trai")},
    "config.train.steps": "12",
    "config.train.schedule_steps": "12",
    "config.train.checkpoint_every": "1",
    **{f"config.model.{name}": None for name in ("channels", "attention_levels", "remat")},
    **{f"config.model.{name}": None for name in ("head_dim", "norm_groups")},
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["boundaries", "voronoi_h5"])
def test_killed_it_goes_on_with_the_same_bits(run, start, tmp_path, shared, source):
    flags = PROCESS | ({"config.data.root": shared / source} if source == "voronoi_h5" else {})
    whole = run(workdir=tmp_path / "whole", **flags)
    assert whole.returncode == 0, whole.stderr
    process = start(workdir=tmp_path / "killed", **flags)
    next(line for line in process.stdout if line.startswith("step 5/"))
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed/checkpoints/12").exists()
    result = run(workdir=tmp_path / "killed", **flags)
    assert result.returncode == 0, result.stderr
    assert "resuming from step" in result.stdout
    assert_same_bits(newest(tmp_path / "killed"), newest(tmp_path / "whole"))


@pytest.mark.slow
def test_the_process_leaves_with_two_and_one_line(run, tmp_path):
    for field, value in (("data.size", "(48,48)"), ("data.channels", "2"), ("wgan.n_critic", "0")):
        result = run(workdir=tmp_path / "w", **(PROCESS | {f"config.{field}": value}))
        assert result.returncode == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert field in result.stderr
        assert not (tmp_path / "w").exists()
