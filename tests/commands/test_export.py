"""Out to diffusers and StableHLO, and back in: the same weights, the same images, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import microgen_jax
from configs import default
from microgen_jax.commands.export import export
from microgen_jax.commands.import_run import import_run
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.data.representations import Images, Orientations, PhaseName
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError
from microgen_jax.export import stablehlo
from microgen_jax.export.diffusers import HALF_WEIGHTS, WEIGHTS
from microgen_jax.networks import to_diffusers


def asked(workdir: Path, **values: str) -> Request:
    """`format` is of the export, `folder` of the import."""
    parts = {"format": "export", "folder": "import_run"}
    changed = {f"{parts[name]}.{name}": value for name, value in values.items()}
    return Request(fields.replace(fields.freeze(default.get_config().to_dict()), changed), {}, False, workdir)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    """The diffusers folder of the tiny run; for reading only."""
    workdir = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(trained, workdir, ignore=shutil.ignore_patterns("evaluation"))
    (workdir / "evaluation").mkdir()
    metric = {"value": 0.5, "baseline": 0.25, "ratio": 2.0, "note": ""}
    metrics = {"grain_diameter": metric, "texture": {"value": None, "note": "no orientations"}}
    (workdir / "evaluation" / "metrics.json").write_text(json.dumps({"settings": {}, "metrics": metrics}))
    export(asked(workdir, format="diffusers"))
    return workdir / "export" / "diffusers"


@pytest.fixture(scope="module")
def imported(exported, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("imported") / "run"
    import_run(asked(workdir, folder=str(exported)))
    return workdir


@pytest.fixture
def folder(exported, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "folder"))


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path, tmp_path: Path, *words: str) -> None:
    with pytest.raises(UserError) as error:
        import_run(asked(tmp_path / "w", folder=str(folder)))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "w").exists()


def test_the_folder_is_laid_out_as_diffusers_wants_it(exported):
    index = json.loads((exported / "model_index.json").read_text())
    assert index["_class_name"] == "DDPMPipeline"
    unet = json.loads((exported / "unet" / "config.json").read_text())
    assert (unet["sample_size"], unet["num_class_embeds"]) == (16, 5)
    assert unet["down_block_types"] == ["DownBlock2D", "AttnDownBlock2D"]
    assert unet["up_block_types"] == ["AttnUpBlock2D", "UpBlock2D"]
    scheduler = json.loads((exported / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["prediction_type"], scheduler["beta_schedule"]) == ("v_prediction", "squaredcos_cap_v2")
    card = (exported / "README.md").read_text()
    for words in (
        "2 = equiaxed",
        "4 = no class",
        "polycrystal",
        "| grain_diameter | 0.5 | 0.25 |",
        "diffusion.schedule",
        "the loop has no guidance",
        *(f"| sample.{name} |" for name in (*Sampling.names(), "ema")),
    ):
        assert words in card


def test_import_gives_back_the_same_bits(trained, imported):
    before, after = microgen_jax.load(trained), microgen_jax.load(imported)
    assert after.classes == before.classes
    assert jax.tree.all(jax.tree.map(np.array_equal, before.params, after.params))
    assert after.method.schedule.timesteps == before.method.schedule.timesteps
    np.testing.assert_array_equal(after.method.schedule.alpha_bar, before.method.schedule.alpha_bar)
    assert (after.method.unet, after.method.prediction) == (before.method.unet, before.method.prediction)


def test_images_are_sampled_as_the_folder_says(trained, imported, folder, tmp_path):
    before, after = (json.loads((run / "config.json").read_text())["config"] for run in (trained, imported))
    assert [after["sample"][name] for name in Sampling.names()] == [
        before["sample"][name] for name in Sampling.names()
    ]
    (folder / "microgen.json").unlink()
    change(folder / "scheduler" / "scheduler_config.json", _class_name="DDIMScheduler", clip_sample=False)
    request = asked(tmp_path / "run", folder=str(folder))
    overrides = {"sample.steps": 7, "sample.eta": 0.5}
    import_run(replace(request, config=fields.replace(request.config, overrides), overrides=overrides))
    found = json.loads((tmp_path / "run" / "config.json").read_text())["config"]["sample"]
    asked_for = {"sampler": "ddim", "steps": 7, "eta": 0.5, "spacing": "trailing", "clip": False}
    assert {name: found[name] for name in asked_for} == asked_for


def test_a_network_without_a_scheduler_comes_in_with_a_schedule_that_is_said(exported, tmp_path, capsys):
    folder = Path(shutil.copytree(exported / "unet", tmp_path / "unet"))
    weights = load_file(folder / WEIGHTS)
    save_file({name: array.astype(np.float16) for name, array in weights.items()}, folder / HALF_WEIGHTS)
    (folder / WEIGHTS).unlink()
    import_run(asked(tmp_path / "run", folder=str(folder)))
    said = capsys.readouterr().out
    for part in ("no scheduler", "schedule=linear", "timesteps=1000", "beta_end=0.02", "prediction=eps"):
        assert part in said
    found = microgen_jax.load(tmp_path / "run")
    assert found.method.prediction == "eps"
    assert len(found.classes) == len(weights["class_embedding.weight"])
    kernel = to_diffusers(jax.device_get(found.params))["conv_in.weight"]
    np.testing.assert_array_equal(kernel, weights["conv_in.weight"].astype(np.float16))

    request = asked(tmp_path / "asked", folder=str(folder))
    overrides = {"diffusion.schedule": "cosine", "diffusion.prediction": "v", "sample.steps": 5}
    import_run(replace(request, config=fields.replace(request.config, overrides), overrides=overrides))
    assert "schedule=cosine, timesteps=1000" in capsys.readouterr().out
    assert microgen_jax.load(tmp_path / "asked").method.prediction == "v"


def test_a_network_without_a_scheduler_is_refused_by_its_own_files(exported, folder, tmp_path):
    refused(exported / "unet", tmp_path, "scheduler", f"name {exported}")
    shutil.rmtree(folder / "scheduler")
    refused(folder, tmp_path, "has no scheduler/scheduler_config.json")
    change(folder / "unet" / "config.json", act_fn="mish")
    refused(folder / "unet", tmp_path, str(folder / "unet" / "config.json"), "act_fn='mish'")


@pytest.mark.slow
def test_an_imported_run_is_fine_tuned_and_goes_on(run, imported, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(imported, workdir)
    result = run(workdir=workdir, config=None)
    assert result.returncode == 0, result.stderr[-500:]
    assert json.loads((workdir / "config.json").read_text())["resolved"]["kind"] == "polycrystal"
    again = run(workdir=workdir, config=None)
    assert "already trained for 4 steps" in again.stdout, again.stderr[-500:]
    other = run(workdir=workdir, config=None, config__model__dropout=0.1)
    assert "model.dropout" in other.stderr


def test_imported_weights_of_images_are_not_trained_on_orientations(imported):
    run = run_config.read(imported)
    assert run.config.data.representation == "image"
    changed = fields.replace(run.config, {"data.source": "ebsd"})
    images = replace(run.resolved, kind="ebsd", stages=Images(3).stages)
    run_config.check_resumable(imported, changed, images)
    phases = (("Ni", "m-3m"),)
    found = Orientations((PhaseName("Ni", "m-3m"),))
    maps = replace(images, channels=found.channels, stages=found.stages, phases=phases)
    for other in (maps, replace(maps, channels=3)):
        with pytest.raises(UserError, match="in 2 stages") as caught:
            run_config.check_resumable(imported, changed, other)
        assert "data.representation=image" in caught.value.fix


@pytest.mark.slow
def test_stablehlo_samples_the_same_images_without_the_project(trained, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    export(asked(workdir, format="stablehlo"))
    alone = Path(shutil.copytree(workdir / "export" / "stablehlo", tmp_path / "alone"))
    blocker = "raise ImportError('the project is not to be imported')\n"
    (alone / "microgen_jax.py").write_text(blocker)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "sample.py"], cwd=alone, env=environment, check=True)
    assert len((alone / "sample.py").read_text().splitlines()) <= 23
    images = np.load(alone / "images.npy").astype(int)
    ours = microgen_jax.load(trained).sample(4, seed=0).images.astype(int)
    assert np.abs(images - ours).max() <= 1
    assert (images != ours).mean() < 0.01
    assert (alone / "3.png").is_file()


def test_the_readme_shows_the_loader_that_an_export_brings():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    shown = next(block for block in readme.split("```") if "jax.export.deserialize" in block)
    brought = {line.split("  #")[0] for line in stablehlo.LOADER.splitlines()}
    assert set(shown.splitlines()) - brought == {"python", 'folder = Path("runs/maps/export/stablehlo")'}


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"down_block_types": ["DownBlock2D", "KDownBlock2D"]}, ("KDownBlock2D",)),
        ("unet/config.json", {"flip_sin_to_cos": False}, ("flip_sin_to_cos", "True")),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, ("UNet2DConditionModel",)),
        ("unet/config.json", {"num_head_channels": 8}, ("num_head_channels",)),
        ("unet/config.json", {"layers_per_block": "two"}, ("wrong type",)),
        ("unet/config.json", {"layers_per_block": 2}, ("config.json", "resnets")),
        ("unet/config.json", {"up_block_types": ["UpBlock2D", "UpBlock2D"]}, ("up_block_types", "mirrored")),
        ("scheduler/scheduler_config.json", {"beta_schedule": "scaled_linear"}, ("scaled_linear", "linear")),
        ("scheduler/scheduler_config.json", {"_class_name": "VQDiffusionScheduler"}, ("VQDiffusion",)),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow_prediction"}, ("flow_prediction",)),
        ("microgen.json", {"classes": ["one", "two"]}, ("2 classes", "5 rows")),
        ("microgen.json", {"sample": {"sampler": "dimm"}}, ("dimm", "ddim")),
        ("microgen.json", {"sample": {"steps": "many"}}, ("sample.steps", "many")),
        ("microgen.json", {"sample": "ddim"}, ("sample", "wrong type")),
        ("unet/config.json", {"down_block_types": 2}, ("down_block_types", "wrong type")),
        ("scheduler/scheduler_config.json", {"beta_end": "0.02"}, ("beta_end", "wrong type")),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": ["DDPMScheduler"]},
            ("_class_name", "wrong type"),
        ),
    ],
)
def test_another_architecture_is_refused_by_name(folder, tmp_path, file, values, words):
    change(folder / file, **values)
    refused(folder, tmp_path, *words)


def test_damaged_folders_are_refused(folder, tmp_path):
    weights = folder / "unet" / WEIGHTS
    whole = weights.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        refused(folder, tmp_path, "cut off", weights.name)
    weights.unlink()
    refused(folder, tmp_path, "pickles")
    (folder / "unet" / "config.json").write_text("{")
    refused(folder, tmp_path, "config.json", "JSON")
    refused(tmp_path / "nowhere", tmp_path, "nowhere", "unet/config.json")
    refused(Path(""), tmp_path, "unet/config.json")


def test_a_workdir_in_use_is_left_alone(exported, trained):
    with pytest.raises(UserError, match="holds a run already"):
        import_run(asked(trained, folder=str(exported)))


def test_what_cannot_leave_is_refused_by_name(trained, tmp_path):
    with pytest.raises(UserError) as error:
        asked(trained, format="diffuser")
    assert error.value.where == "export.format"
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["diffusion"] |= {"loss": "bce", "prediction": "x0"}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="logits"):
        export(asked(tmp_path / "run", format="diffusers"))
