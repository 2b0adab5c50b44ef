"""Orientation models: one stage after the other, decoded to maps that every format holds."""

import json

import jax
import numpy as np
import pytest

from microgen_jax import read_map
from microgen_jax.config import fields
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.crystal.embedding import embedding
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.data.representations import Orientations, PhaseName
from microgen_jax.errors import UserError
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling import Generator, batching
from microgen_jax.sampling.generator import build_method
from microgen_jax.sampling.opening import open_run
from microgen_jax.sampling.samples import MAP_FORMATS, require_formats

PHASES = (("Ni", "m-3m"),)
STEPS = 3


def resolved(phases: tuple = PHASES, pixel_size_um: float = 0.5) -> Resolved:
    stages = Orientations(tuple(PhaseName(*phase) for phase in phases)).stages
    channels = sum(len(names) for _, names in stages)
    return Resolved(
        ("a", "b"),
        (),
        (),
        (),
        channels,
        "ebsd",
        "",
        stages=stages,
        phases=phases,
        pixel_size_um=pixel_size_um,
    )


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A network that was never trained; no layer is 0, so that structure and class matter."""
    small = {
        "data.size": (8, 8),
        "data.representation": "orientation",
        "model.channels": (8,),
        "model.values_channels": (4,),
        "model.blocks_per_level": 1,
        "model.mid_attention": False,
        "model.norm_groups": 4,
        "model.head_dim": 4,
        "diffusion.timesteps": 10,
        "sample.sampler": "ddim",
        "sample.steps": STEPS,
        "sample.batch_size": 2,
    }
    config = fields.replace(Config(), small)
    method = build_method(config, resolved())
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: random.normal(0, 0.2, leaf.shape).astype(np.float32),
        jax.eval_shape(method.init, jax.random.key(0)).params,
    )
    return Generator(config, resolved(), params, 0, meshes.make_mesh(1, 1), method)


@pytest.fixture(scope="module")
def samples(generator):
    return generator.sample(3, seed=4)


def test_samples_are_maps_shown_in_ipf_z(samples):
    found = samples.orientations
    assert (samples.images.shape, samples.images.dtype) == ((3, 8, 8, 3), np.uint8)
    assert (found.quaternions.shape, found.quaternions.dtype) == ((3, 8, 8, 4), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found.quaternions, axis=-1), 1, atol=1e-6)
    expected = ipf_colour(found.quaternions.astype(np.float64), "Z", "m-3m")
    np.testing.assert_array_equal(samples.images, expected)
    for one, other in zip(found.grains, found.grains[1:]):
        assert not set(one.ravel()) & set(other.ravel())
    assert (found.residual >= 0).all()
    assert (found.residual <= 1).all()


def test_the_first_maps_do_not_depend_on_how_many_nor_on_being_watched(generator, samples):
    seen = []
    watched = generator.sample(1, seed=4, progress=lambda step, x0: seen.append((step, x0)))
    np.testing.assert_array_equal(watched.orientations.quaternions, samples.orientations.quaternions[:1])
    assert [step for step, _ in seen] == list(range(1, 2 * STEPS + 1))
    assert generator.count_steps(3) == 4 * STEPS
    for _, structure in seen[:STEPS]:
        assert set(np.unique(structure)) <= {0, 255}
    np.testing.assert_array_equal(seen[-1][1], watched.images)


@pytest.mark.parametrize("last", [1, STEPS, STEPS + 1])
def test_sampling_that_is_stopped_leaves_images(generator, last):
    stopped = generator.sample(3, seed=4, progress=lambda step, _: step < last)
    assert (len(stopped), stopped.finished, stopped.maps) == (2, False, ())
    assert stopped.images.shape == (2, 8, 8, 3)


def test_finished_maps_outlive_a_stop_and_what_is_not_written_is_said(generator, samples, tmp_path):
    stopped = generator.sample(3, seed=4, progress=lambda step, _: step <= 2 * STEPS)
    assert (len(stopped), len(stopped.maps), stopped.finished) == (3, 2, False)
    kept = samples.orientations.quaternions[:2]
    np.testing.assert_array_equal(stopped.orientations.quaternions, kept)
    note, *_ = stopped.save(tmp_path / "some", ("ctf",))
    assert "last 1 of 3 images" in note
    assert len(list((tmp_path / "some" / "maps").iterdir())) == 2
    early = generator.sample(3, seed=4, progress=lambda step, _: False)
    (note,) = early.save(tmp_path / "none", ("ctf",))
    assert "last 2 of 2 images" in note
    assert not (tmp_path / "none" / "maps").exists()


def test_a_batch_is_decoded_once_between_the_stages_and_once_at_the_end(generator, samples, monkeypatch):
    regions, calls = Orientations.regions, []
    monkeypatch.setattr(Orientations, "regions", lambda *args: calls.append(0) or regions(*args))
    shown = []
    watched = generator.sample(
        2, seed=4, progress=lambda step, x0: shown.append(x0), progress_every=2 * STEPS
    )
    assert len(calls) == 2
    np.testing.assert_array_equal(shown[-1], watched.images)
    (batch,) = generator.batches(watched.labels, np.zeros((2, 0), np.float32), 4)
    assert len(calls) == 4
    np.testing.assert_array_equal(batch, samples.images[:2])


def test_stop_0_is_the_noise_of_the_first_stage(generator):
    mesh, orientations = meshes.make_mesh(1, 1), generator.resolved.representation
    walk = batching.compile_walk(generator.method, mesh, (8, 8), orientations)
    indices, cond = next(batching.batches_of(np.zeros(2, np.int32), np.zeros((2, 0), np.float32), 2))
    noise, start = (np.asarray(x) for x, _ in walk(generator.params, 4, indices, cond, [0, 1]))
    assert noise.shape == start.shape == (2, 8, 8, 3)
    assert 0.8 < noise.std() < 1.2


def test_each_pixel_may_keep_its_own_orientation(generator, samples):
    config = fields.replace(generator.config, {"sample.reconstruct": "none"})
    own = Generator(config, resolved(), generator.params, 0, meshes.make_mesh(1, 1), generator.method)
    found = own.sample(2, seed=4).orientations
    assert len(np.unique(found.quaternions.reshape(-1, 4), axis=0)) > len(np.unique(found.grains))
    for grain in np.unique(samples.orientations.grains):
        inside = samples.orientations.quaternions[samples.orientations.grains == grain]
        assert len(np.unique(inside, axis=0)) == 1


def test_classes_and_seeds_differ_and_there_is_no_single_trajectory(generator, samples):
    same_class = generator.sample(2, label="a", seed=4).orientations.quaternions
    np.testing.assert_array_equal(same_class[0], samples.orientations.quaternions[0])
    assert not np.array_equal(same_class[1], samples.orientations.quaternions[1])
    with pytest.raises(UserError) as caught:
        generator.trajectory(1, 3)
    assert caught.value.where == "times"


def test_every_format_holds_the_maps(samples, tmp_path):
    notes = samples.save(tmp_path / "maps", ("npz", *MAP_FORMATS))
    folder = tmp_path / "maps"
    with np.load(folder / "samples.npz") as stored:
        for name, array in vars(samples.orientations).items():
            np.testing.assert_array_equal(stored[name], array)
    for suffix in ("ctf", "ang", "h5oina", "dream3d"):
        for index, scan in enumerate(samples.maps):
            read = read_map(folder / "maps" / f"{index:05d}.{suffix}")
            found = in_frame(read.orientations, read.frame, scan.frame)
            assert np.degrees(misorientation_angle(found, scan.orientations, "m-3m")).max() < 0.01
            assert read.indexed.all()
            assert (read.phases[0].name, read.phases[0].laue_group) == PHASES[0]
            np.testing.assert_allclose(read.pixel_size_um, 0.5, rtol=1e-6)
    assert sorted(path.name for path in (folder / "maps").glob("00002.*")) == sorted(
        f"00002.{suffix}" for suffix in MAP_FORMATS
    )
    manifest, found = json.loads((folder / "manifest.json").read_text()), samples.orientations
    assert manifest["notes"] == list(notes)
    assert manifest["residual"]["mean"] <= manifest["residual"]["largest"] == found.residual.max()
    assert manifest["length"]["mean"] >= manifest["length"]["smallest"] == found.length.min()


def test_a_width_of_the_average_is_refused_before_anything_is_opened(generator, tmp_path):
    config = fields.replace(generator.config, {"sample.ema": 0.1})
    with pytest.raises(UserError, match="several stages") as caught:
        open_run(config, resolved(), tmp_path)
    assert (caught.value.where, caught.value.fix) == ("sample.ema", "set 0")


def test_what_cannot_be_written_is_refused():
    images = Resolved(("a",), (), (), (), 3, "folder", "")
    with pytest.raises(UserError) as caught:
        require_formats(("png", "ang"), images)
    assert caught.value.where == "formats"
    assert "data.representation=orientation" in caught.value.fix
    with pytest.raises(UserError):
        require_formats(("tif",), resolved())


def test_an_unknown_pixel_size_is_said():
    unknown = Orientations(tuple(PhaseName(*phase) for phase in PHASES))
    found = unknown.decode(np.zeros((1, 4, 4, 3 + embedding("m-3m").channels), np.float32))
    (scan,) = unknown.maps(found, 0.0)
    assert (scan.pixel_size, scan.notes) == ((1.0, 1.0), ("the pixel size is not known: written as 1 um",))
