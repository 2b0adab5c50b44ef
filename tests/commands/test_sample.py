"""Drawing from a trained run, by command and from Python."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import microgen_jax
from configs import default, quickstart
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.errors import UserError
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def generator(trained):
    return microgen_jax.load(trained)


def test_python_api_gives_bytes(generator):
    images = generator.sample(3, label="equiaxed", seed=5)
    assert images.shape == (3, 16, 16, 3)
    assert images.dtype == np.uint8
    assert generator.classes == ("bimodal", "elongated", "equiaxed", "textured")
    assert generator.step == 4


def test_the_first_images_do_not_depend_on_how_many(generator):
    sixteen = generator.sample(16, label="textured", seed=1)
    np.testing.assert_array_equal(generator.sample(1, label="textured", seed=1), sixteen[:1])
    np.testing.assert_array_equal(generator.sample(3, label="textured", seed=1), sixteen[:3])
    assert len({image.tobytes() for image in sixteen}) == 16


@pytest.mark.slow
def test_trained_on_shared_parameters_sampled_on_one_device(run, tmp_path):
    flags = {"config__train__steps": 1, "config__mesh__fsdp": 2, "config__train__checkpoint_every": 1}
    assert run(workdir=tmp_path, devices=2, **flags).returncode == 0
    result = run(mode="sample", workdir=tmp_path, config=None, config__sample__num=2, config__train__steps=9)
    assert result.returncode == 0, result.stderr
    assert "train.steps" in result.stdout
    assert microgen_jax.load(tmp_path, steps=2).sample(1).shape == (1, 16, 16, 3)


def test_settings_that_load_does_not_take(trained):
    for wrong in ({"steps": "50"}, {"batch_size": 0}, {"label": "equiaxed"}, {"sampler": "dimm"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            microgen_jax.load(trained, **wrong)
    with pytest.raises(UserError, match="seed"):
        microgen_jax.load(trained).sample(1, seed=2**32)


def test_seed_and_label_matter(generator):
    one = generator.sample(2, label=0, seed=1)
    assert not np.array_equal(one, generator.sample(2, label=0, seed=2))
    np.testing.assert_array_equal(one, generator.sample(2, label="bimodal", seed=1))


def test_other_sampler_settings(trained):
    fewer = microgen_jax.load(trained, steps=2, checkpoint=2)
    assert fewer.sample(1).shape == (1, 16, 16, 3)
    assert fewer.step == 2
    with pytest.raises(UserError, match=r"sample\.stepss"):
        microgen_jax.load(trained, stepss=2)


def test_a_prediction_that_the_run_was_not_trained_with_is_refused():
    run = quickstart.get_config()
    request = Request(default.get_config(), {"diffusion.prediction": "eps"}, False, None)
    with pytest.raises(UserError, match="'eps': the run was trained to predict 'v'"):
        for_run(request, run)
    run.diffusion.prediction = "eps"
    assert for_run(request, run).diffusion.prediction == "eps"


def test_command_writes_images_grid_npz_and_manifest(run, trained, generator, tmp_path):
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
    stored = np.load(folder / "samples.npz", allow_pickle=False)
    assert stored["labels"].tolist() == [0, 1, 2, 3, 0]
    for i, image in enumerate(stored["images"]):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / f"{i:05d}.png")), image)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["checkpoint"], manifest["seed"], manifest["num"]) == (4, 3, 5)
    np.testing.assert_array_equal(stored["images"], generator.sample(5, seed=3))
    stills = np.asarray(Image.open(folder / "denoising.png"))
    assert stills.shape == (4 * 18 - 2, 4 * 18 - 2, 3)
    # Fixed colours: pure noise is clipped at both ends, and the last still is the image itself.
    assert 0.2 < np.isin(stills[:16, :16], (0, 255)).mean() < 0.5
    assert np.abs(stills[18:34, 54:].astype(int) - stored["images"][1]).max() <= 1
    chosen = np.asarray(Image.open(folder / "stills.png"))
    np.testing.assert_array_equal(chosen, np.hstack([stills[:, :18], stills[:, 54:]]))
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


@pytest.mark.slow
def test_averages_of_other_widths_and_guidance_by_an_earlier_checkpoint(run, tmp_path, capsys):
    result = run(workdir=tmp_path, config__train__ema_widths="(0.05,0.1)")
    assert result.returncode == 0, result.stderr[-500:]
    stored = microgen_jax.load(tmp_path, ema=0.1).params
    target = jax.eval_shape(microgen_jax.load(tmp_path).method.init, jax.random.key(0))
    place = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), target)
    checkpoints = Checkpoints(tmp_path, read_only=True)
    kept = checkpoints.restore(4, checkpoint.abstract(target, place)).extra["averages"]
    checkpoints.close()
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-5), stored, kept[1]))
    assert capsys.readouterr().err == ""
    wider = microgen_jax.load(tmp_path, ema=0.2).params
    assert "sample.ema=0.2 is missed by 45%" in capsys.readouterr().err
    assert not jax.tree.all(jax.tree.map(np.array_equal, stored, wider))

    guided = microgen_jax.load(tmp_path, autoguidance="2", guidance=2.0)
    assert guided.sample(2).shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match=r"sample\.autoguidance='3'.*2, 4"):
        microgen_jax.load(tmp_path, autoguidance="3", guidance=2.0)


def test_an_average_that_was_not_kept(trained):
    with pytest.raises(UserError, match="ema_widths"):
        microgen_jax.load(trained, ema=0.1)
    with pytest.raises(UserError, match="width"):
        microgen_jax.load(trained, ema=0.5)
