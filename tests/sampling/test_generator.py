"""A generator as a notebook uses it: what it gives, keeps compiled, and refuses."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

import microgen_jax
from microgen_jax.config import run_config
from microgen_jax.config.schema import MeshConfig
from microgen_jax.errors import UserError
from microgen_jax.sampling import batching, open_run
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

    def compile_chain(*args, compile_chain=batching.compile_chain):
        compiled.append(args)
        return compile_chain(*args)

    monkeypatch.setattr(batching, "compile_chain", compile_chain)
    generator = microgen_jax.load(trained)
    one = generator.sample(2, sampler="ddim", steps=2, eta=0.5)
    again = generator.sample(3, seed=0, eta=0.5, steps=np.int64(2), sampler="ddim")
    np.testing.assert_array_equal(again.images[:2], one)
    assert len(compiled) == 1
    default = generator.sample(2)
    assert len(compiled) == 2
    generator.trajectory(2, 3)
    for every in (1, 3):
        generator.sample(2, progress=lambda step, x0: None, progress_every=every)
    assert len(compiled) == 2
    loaded = microgen_jax.load(trained, sampler="ddim", steps=2, eta=0.5)
    np.testing.assert_array_equal(loaded.sample(2), one)
    assert not np.array_equal(default, one)
    assert one.settings.sample.eta == 0.5
    assert generator.config.sample.eta == 0


@pytest.mark.parametrize("sampler", ["dpmpp2m", "ancestral"])
def test_the_bits_do_not_depend_on_progress_nor_on_how_often_it_is_called(generator, sampler):
    plain = generator.sample(3, seed=2, sampler=sampler, steps=5)
    reports = {}
    for every in (1, 2, 9):
        calls = []
        watched = generator.sample(
            3,
            seed=2,
            sampler=sampler,
            steps=5,
            progress=lambda *call, calls=calls: calls.append(call),
            progress_every=every,
        )
        np.testing.assert_array_equal(watched, plain)
        assert watched.finished
        reports[every] = dict(calls)
    assert [list(calls) for calls in reports.values()] == [[1, 2, 3, 4, 5], [2, 4, 5], [5]]
    for step in (2, 4, 5):
        np.testing.assert_array_equal(reports[1][step], reports[2][step])
    assert reports[1][1].shape == plain.images.shape
    assert reports[1][1].dtype == np.uint8
    assert not np.array_equal(reports[1][1], plain)


def test_progress_counts_the_steps_of_all_batches_and_sees_the_images_of_each(generator):
    calls = []
    batch = 4 * jax.device_count()
    samples = generator.sample(batch + 1, steps=2, progress=lambda *call: calls.append(call))
    assert [step for step, _ in calls] == [1, 2, 3, 4]
    assert generator.count_steps(batch + 1, steps=2) == 4
    assert [len(x0) for _, x0 in calls] == [batch, batch, 1, 1]
    assert len(samples) == batch + 1


@pytest.mark.parametrize(("last", "count"), [(1, 1), (2, 1), (3, 2)])
def test_progress_that_returns_false_ends_the_sampling(generator, last, count):
    """Batches that are done and the predictions of the one at work are kept, each with its own label."""
    batch, seen = 4 * jax.device_count(), {}

    def stop(step, x0):
        seen[step] = x0
        return step < last

    samples = generator.sample(2 * batch, seed=4, steps=2, progress=stop)
    assert max(seen) == last
    assert not samples.finished
    assert len(samples) == len(samples.labels) == samples.settings.sample.num == count * batch
    assert samples.manifest()["finished"] is False
    whole = generator.sample(2 * batch, seed=4, steps=2)
    assert whole.finished
    if last % 2:
        np.testing.assert_array_equal(samples.images[-batch:], seen[last])
    else:
        np.testing.assert_array_equal(samples.images[-batch:], whole.images[:batch])
    if count == 2:
        np.testing.assert_array_equal(samples.images[:batch], whole.images[:batch])


def test_progress_that_stops_after_the_last_step_leaves_finished_images(generator):
    stopped = generator.sample(2, steps=2, progress=lambda step, _: step < 2)
    assert stopped.finished
    np.testing.assert_array_equal(stopped, generator.sample(2, steps=2))


def test_what_progress_raises_goes_through(generator):
    def interrupt(step, x0):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.sample(2, steps=2, progress=interrupt)


def test_a_trajectory_is_the_way_of_the_same_images(generator):
    frames = generator.trajectory(6, 4, label="textured", seed=3)
    assert frames.shape == (4, 6, 16, 16, 3)
    np.testing.assert_array_equal(frames[-1], generator.sample(6, label="textured", seed=3))
    chosen = generator.trajectory(6, (999, 0, 999), label="textured", seed=3)
    np.testing.assert_array_equal(chosen, frames[[0, -1, 0]])


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
        ({"progress_every": 0}, "progress_every"),
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


def test_a_mesh_of_more_devices_than_there_are_names_its_field(trained):
    run = run_config.read(trained)
    config = dataclasses.replace(run.config, mesh=MeshConfig(data=1000))
    with pytest.raises(UserError) as error:
        open_run(config, run.resolved, trained)
    assert error.value.where == "mesh.data"


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
