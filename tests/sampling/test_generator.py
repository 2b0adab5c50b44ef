"""A generator as a notebook uses it: what it gives, keeps compiled, and refuses."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import microgen_jax
from microgen_jax.errors import UserError
from microgen_jax.sampling import batching
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def generator(trained):
    return microgen_jax.load(trained)


def test_samples_are_bytes_with_what_was_asked_of_each(generator):
    samples = generator.sample(3, label="equiaxed", seed=5)
    assert samples.images.shape == (3, 16, 16, 3)
    assert samples.images.dtype == np.uint8
    assert np.asarray(samples) is samples.images
    assert np.asarray(samples, float).dtype == float
    assert (len(samples), samples.labels.tolist(), samples.seed) == (3, [2, 2, 2], 5)
    assert samples.classes == generator.classes == ("bimodal", "elongated", "equiaxed", "textured")
    assert generator.step == samples.checkpoint == 4
    assert samples.settings.sample.num == 3


def test_the_first_images_do_not_depend_on_how_many(generator):
    sixteen = generator.sample(16, label="textured", seed=1).images
    np.testing.assert_array_equal(generator.sample(1, label="textured", seed=1), sixteen[:1])
    np.testing.assert_array_equal(generator.sample(3, label="textured", seed=1), sixteen[:3])
    assert len({image.tobytes() for image in sixteen}) == 16


def test_seed_and_label_matter_and_each_image_has_its_own_label(generator):
    one = generator.sample(2, label=0, seed=1).images
    assert not np.array_equal(one, generator.sample(2, label=0, seed=2))
    np.testing.assert_array_equal(one, generator.sample(2, label="bimodal", seed=1))
    mixed = generator.sample(2, label=["bimodal", "textured"], seed=1)
    np.testing.assert_array_equal(mixed.images[0], one[0])
    np.testing.assert_array_equal(mixed.images[1], generator.sample(2, label="textured", seed=1).images[1])
    assert mixed.labels.tolist() == [0, 3]


def test_settings_of_a_call_equal_those_of_load_and_compile_once(trained, monkeypatch):
    compiled = []

    def compile_batch(*args, compile_batch=batching.compile_batch):
        compiled.append(args)
        return compile_batch(*args)

    monkeypatch.setattr(batching, "compile_batch", compile_batch)
    generator = microgen_jax.load(trained)
    one = generator.sample(2, sampler="ddim", steps=2, eta=0.5)
    again = generator.sample(3, seed=0, eta=0.5, steps=np.int64(2), sampler="ddim")
    np.testing.assert_array_equal(again.images[:2], one)
    assert len(compiled) == 1
    default = generator.sample(2)
    assert len(compiled) == 2
    for _ in range(2):
        generator.trajectory(2, 3)
        generator.sample(2)
    assert len(compiled) == 3
    loaded = microgen_jax.load(trained, sampler="ddim", steps=2, eta=0.5)
    np.testing.assert_array_equal(loaded.sample(2), one)
    assert not np.array_equal(default, one)
    assert one.settings.sample.eta == 0.5
    assert generator.config.sample.eta == 0


def test_progress_counts_the_steps_of_all_batches(generator):
    calls = []
    batch = 4 * jax.device_count()
    generator.sample(batch + 1, steps=2, progress=lambda step, total: calls.append((step, total)))
    assert calls[-1] == (4, 4)
    assert calls == sorted(calls)


def test_a_trajectory_ends_in_the_image(generator):
    frames = generator.trajectory(6, 4, label="textured", seed=3)
    assert frames.shape == (4, 6, 16, 16, 3)
    difference = frames[-1].astype(int) - generator.sample(6, label="textured", seed=3).images
    assert np.abs(difference).max() <= 1
    chosen = generator.trajectory(6, (999, 0), label="textured", seed=3)
    np.testing.assert_array_equal(chosen, frames[[0, -1]])


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"num": 0}, "num"),
        ({"num": 10**9}, "num"),
        ({"seed": 2**32}, "seed"),
        ({"label": "equiaxd"}, "label"),
        ({"label": ["equiaxed"]}, "label"),
        ({"condition": {"strain": 1.0}}, "condition"),
        ({"stepss": 2}, "stepss"),
        ({"steps": "50"}, "steps"),
        ({"sampler": "dimm"}, "sampler"),
        ({"batch_size": 2}, "batch_size"),
    ],
)
def test_what_sample_refuses_names_the_argument(generator, arguments, where):
    with pytest.raises(UserError) as error:
        generator.sample(**({"num": 2} | arguments))
    assert error.value.where == where


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": "50"},
        {"batch_size": 0},
        {"label": "equiaxed"},
        {"sampler": "dimm"},
        {"stepss": 2},
        {"checkpoint": 3},
    ],
)
def test_what_load_refuses_names_the_argument(trained, wrong):
    with pytest.raises(UserError) as error:
        microgen_jax.load(trained, **wrong)
    assert error.value.where == next(iter(wrong))


def test_another_checkpoint(trained):
    earlier = microgen_jax.load(trained, steps=2, checkpoint=2)
    assert earlier.sample(1).images.shape == (1, 16, 16, 3)
    assert earlier.step == 2


def test_samples_are_saved_whole_and_only_over_samples(generator, tmp_path):
    samples = generator.sample(5, seed=3)
    for _ in range(2):  # the second time over the first
        samples.save(tmp_path / "five")
    with np.load(tmp_path / "five" / "samples.npz", allow_pickle=False) as file:
        stored = dict(file)
    np.testing.assert_array_equal(stored["images"], samples)
    assert stored["labels"].tolist() == [0, 1, 2, 3, 0]
    for i, image in enumerate(samples.images):
        shown = np.asarray(Image.open(tmp_path / "five" / "images" / f"{i:05d}.png"))
        np.testing.assert_array_equal(shown, image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "five" / "grid.png")), samples.grid())
    manifest = json.loads((tmp_path / "five" / "manifest.json").read_text())
    assert (manifest["checkpoint"], manifest["seed"], manifest["num"]) == (4, 3, 5)
    assert manifest["labels"][:2] == ["bimodal", "elongated"]
    samples.save(tmp_path / "npz", formats=("npz",))
    assert not (tmp_path / "npz" / "images").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for name, arguments in (("folder", (tmp_path / "mine",)), ("formats", (tmp_path / "new", ("pgn",)))):
        with pytest.raises(UserError) as error:
            samples.save(*arguments)
        assert error.value.where == name
    assert (tmp_path / "mine" / "thesis.txt").exists()


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
    assert "is missed by 45%" in capsys.readouterr().err
    assert not jax.tree.all(jax.tree.map(np.array_equal, stored, wider))

    guided = microgen_jax.load(tmp_path, autoguidance="2", guidance=2.0)
    assert guided.sample(2).images.shape == (2, 16, 16, 3)
    with pytest.raises(UserError) as error:
        microgen_jax.load(tmp_path, autoguidance="3", guidance=2.0)
    assert error.value.where == "autoguidance"


def test_an_average_that_was_not_kept(trained):
    with pytest.raises(UserError) as error:
        microgen_jax.load(trained, ema=0.1)
    assert error.value.where == "ema"
    with pytest.raises(UserError):
        microgen_jax.load(trained, ema=0.5)


@pytest.mark.parametrize(
    ("field", "misspelt", "nearest"), [("checkpoint", "newst", "newest"), ("autoguidance", "bestt", "best")]
)
def test_a_misspelt_checkpoint_is_answered_with_the_nearest(trained, field, misspelt, nearest):
    with pytest.raises(UserError) as refused:
        microgen_jax.load(trained, guidance=2.0, **{field: misspelt})
    assert refused.value.where == field
    assert f"did you mean '{nearest}'" in refused.value.fix
