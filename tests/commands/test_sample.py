"""--mode=sample, and what the other modes of a tiny run leave."""

import json

import numpy as np
import pytest
from PIL import Image

import microgen_jax
from configs import default, quickstart
from microgen_jax.config import fields
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.errors import UserError


@pytest.mark.slow
def test_trained_on_shared_parameters_sampled_on_one_device(run, tmp_path):
    flags = {"config__train__steps": 1, "config__mesh__fsdp": 2, "config__train__checkpoint_every": 1}
    assert run(workdir=tmp_path, devices=2, **flags).returncode == 0
    result = run(mode="sample", workdir=tmp_path, config=None, config__sample__num=2, config__train__steps=9)
    assert result.returncode == 0, result.stderr
    assert "train.steps" in result.stdout
    assert microgen_jax.load(tmp_path, steps=2).sample(1).images.shape == (1, 16, 16, 3)


def test_a_prediction_that_the_run_was_not_trained_with_is_refused():
    run = fields.freeze(quickstart.get_config().to_dict())
    request = Request(
        fields.freeze(default.get_config().to_dict()), {"diffusion.prediction": "eps"}, False, None
    )
    with pytest.raises(UserError) as error:
        for_run(request, run)
    assert error.value.where == "diffusion.prediction"
    run = fields.replace(run, {"diffusion.prediction": "eps"})
    assert for_run(request, run).diffusion.prediction == "eps"


def test_command_writes_images_grid_npz_and_manifest(run, trained):
    result = run(
        mode="sample",
        workdir=trained,
        config=None,
        config__sample__num=5,
        config__sample__seed=3,
        config__sample__name="five",
        config__sample__frames=4,
        config__sample__trajectory_times="(999,0)",
    )
    assert result.returncode == 0, result.stderr
    folder = trained / "samples" / "five"
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        stored = dict(file)
    assert stored["labels"].tolist() == [0, 1, 2, 3, 0]
    for i, image in enumerate(stored["images"]):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / f"{i:05d}.png")), image)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["checkpoint"], manifest["seed"], manifest["num"]) == (4, 3, 5)
    np.testing.assert_array_equal(stored["images"], microgen_jax.load(trained).sample(5, seed=3))
    sheet = np.asarray(Image.open(folder / "denoising.png"))
    assert sheet.shape == (4 * 18 - 2, 4 * 18 - 2, 3)
    # Fixed colours: pure noise is clipped at both ends, and the last one is the image itself.
    assert 0.2 < np.isin(sheet[:16, :16], (0, 255)).mean() < 0.5
    assert np.abs(sheet[18:34, 54:].astype(int) - stored["images"][1]).max() <= 1
    chosen = np.asarray(Image.open(folder / "trajectory.png"))
    np.testing.assert_array_equal(chosen, np.hstack([sheet[:, :18], sheet[:, 54:]]))
    with Image.open(folder / "denoising.gif") as animation:
        assert animation.n_frames == 4
    assert not [p.name for p in (trained / "samples").iterdir() if p.name.startswith(".")]


def test_training_leaves_progress_and_metrics(trained):
    names = sorted(p.name for p in (trained / "progress").iterdir())
    assert names == ["progress.gif", "step_00000002.png", "step_00000004.png"]
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "grad_norm", "learning_rate"} <= set(lines[0])
    assert [line["step"] for line in lines if "heldout_loss" in line] == [2, 4]
    assert list((trained / "tensorboard").iterdir())


def test_inspect_describes_the_data(run, tmp_path):
    result = run(mode="inspect", workdir=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "inspect" / "summary.json").read_text())
    assert summary["split"]["train"] == 64
    assert summary["off_key"]["source"] == 0
    assert summary["sizes"] == {"16x16": summary["count"]}
    assert (tmp_path / "inspect" / "grid.png").exists()


def test_booleans_tuples_and_empty_text_are_taken(run, tmp_path):
    result = run(
        "--noconfig.data.augment",
        mode="inspect",
        workdir=tmp_path,
        config__data__size="32,16",
        config__data__root="",
        config__model__mid_attention="true",
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "inspect" / "summary.json").read_text())
    assert summary["augmentation"] == {}
    assert list(summary["sizes"]) == ["32x16"]
