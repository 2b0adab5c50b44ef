"""`compare` takes arrays, lists, objects and folders, refuses what is no image, and keeps its invariances."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

import microgen_jax
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.errors import UserError
from microgen_jax.evaluation import (
    Comparison,
    as_image_set,
    baseline,
    classify_images,
    compare,
    entries,
    grain_finding,
    grains,
    statistics,
    summary,
)
from microgen_jax.images import png

GRAINS = (*statistics.GRAINS, "colour_gradient", *statistics.SPATIAL)  # after specks were absorbed
FEW = ("grain_diameter", "intensity", "two_point_x", "lognormal_sigma")


def tiles(start: int, count: int, size: int = 24) -> np.ndarray:
    return np.stack([polycrystal(9, start + i, size).image for i in range(count)])


@pytest.fixture(scope="module")
def sets() -> tuple[np.ndarray, np.ndarray]:
    return tiles(0, 24), tiles(500, 16)


@pytest.fixture(scope="module")
def result(sets) -> Comparison:
    return compare(*sets, metrics=FEW)


def test_entries_have_means_and_units(sets, result: Comparison) -> None:
    assert list(result) == list(result.entries)
    assert set(FEW) <= set(result)
    entry = result["grain_diameter"]
    found = grains.measure(grains.absorb_specks(grain_finding.regions(sets[0], classify_images(sets[0]))))
    assert entry["real"] == pytest.approx(found.diameter[found.whole].mean())
    assert entry["unit"] == "px"
    assert result["intensity"]["generated"] == pytest.approx(np.rint(sets[1].mean(axis=-1)).mean(), rel=1e-6)
    assert result["lognormal_sigma"]["real"] > 0
    assert result["two_point_x"]["real"] is None
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["metrics"] == result.entries


def test_lengths_are_in_um_where_the_pixel_size_is_known(sets) -> None:
    metrics = ("grain_diameter", "astm_e112")
    in_px, in_um = compare(*sets, metrics=metrics), compare(*sets, metrics=metrics, pixel_size_um=0.5)
    assert (in_px["grain_diameter"]["unit"], in_um["grain_diameter"]["unit"]) == ("px", "um")
    for side in ("real", "generated"):
        assert in_um["grain_diameter"][side] == pytest.approx(0.5 * in_px["grain_diameter"][side])
        assert in_px["astm_e112"][side] is None
        assert 10 < in_um["astm_e112"][side] < 20
    assert in_px["astm_e112"]["value"] == pytest.approx(in_um["astm_e112"]["value"])
    assert "pixel_size_um" in in_px["astm_e112"]["note"]
    assert in_um["grain_diameter"]["ratio"] == pytest.approx(in_px["grain_diameter"]["ratio"])
    page = in_um.html("title")
    assert "mean grain diameter" in page.split("<h2>Distances")[0]
    assert "data:application/json;base64," in page


def test_images_of_one_colour_each_are_told_in_colour_as_in_grey(sets) -> None:
    flat = np.broadcast_to(np.array([255, 40, 90], np.uint8), sets[1].shape).copy()
    found = compare(sets[0], flat, metrics=("intensity",))
    assert any("16 of 16 generated images are one flat colour" in warning for warning in found.warnings)


def test_jpeg_files_are_named_where_floating_pieces_are_counted(sets, tmp_path) -> None:
    for n, image in enumerate(sets[1]):
        Image.fromarray(image).save(tmp_path / f"{n:03d}.jpg", quality=90)
    found = microgen_jax.compare(sets[0], tmp_path, metrics=("floating_pieces",))
    assert any("16 generated images are JPEG" in warning for warning in found.warnings)


def test_no_conditioning_is_said_in_words(sets) -> None:
    found = {"conditioning_accuracy_strain": entries.entry(30, 30, "", value=-41587.1, baseline=0.4)}
    real, generated = (as_image_set(images, "real") for images in sets)
    _, sentences = summary.summarise(found, real, generated, 16, ())
    assert "no conditioning (R² < 0)" in " ".join(sentences)
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(summary.table(found))
    assert "no conditioning (R² < 0)" in buffer.getvalue()
    assert not any("%" in text or "e+04" in text for text in (*sentences, buffer.getvalue()))


def test_table_and_report_are_text(result: Comparison, tmp_path) -> None:
    assert all(name in result.table() for name in FEW)
    result.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_arrays_lists_samples_and_folders_are_the_same(sets, result: Comparison, tmp_path) -> None:
    real, generated = sets
    for n, image in enumerate(generated):
        (tmp_path / f"{n:03d}.png").write_bytes(png(image))
    samples = type("Like", (), {"__array__": lambda self, dtype=None, copy=None: generated})()
    for other in (list(generated), samples, tmp_path, str(tmp_path)):
        found = microgen_jax.compare(real, other, metrics=FEW)
        assert found.entries == result.entries


def test_real_against_real_is_within_its_baseline(sets) -> None:
    found = compare(sets[0], sets[0], metrics=FEW)
    assert all(found[name]["interval"][0] <= 1 for name in FEW)
    assert all(found[name]["ratio"] < 1.3 for name in FEW)
    assert any("pixel for pixel" in warning for warning in found.warnings)


def test_copies_are_searched_among_training_arrays(sets) -> None:
    found = compare(*sets, metrics=("copies",), training=np.concatenate([sets[1][:4], tiles(900, 8)]))
    assert found["copies"]["value"] == pytest.approx(4 / 16)
    assert found["copies"]["real"] == 0


@pytest.mark.parametrize(
    ("real", "where", "fix"),
    [
        (np.random.default_rng(0).random((6, 8, 8, 3)), "real", "multiply by 255"),
        (np.linspace(-1, 1, 6 * 64).reshape(6, 8, 8), "real", "to_uint8"),
        (np.zeros((6, 8, 8), np.int32), "real", "uint8"),
        (np.zeros((8, 8), np.uint8), "real", "uint8"),
        ([np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)], "real", "one size"),
        (np.zeros((3, 24, 24, 3), np.uint8), "real", "at least 4"),
        (np.zeros((6, 8, 8, 3), np.uint8), "generated", "size"),
        (np.zeros((6, 24, 24, 2), np.uint8), "generated", "colour"),
    ],
)
def test_what_is_no_image_is_refused(sets, real, where: str, fix: str) -> None:
    with pytest.raises(UserError) as error:
        compare(real, sets[1])
    assert error.value.where == where
    assert fix in error.value.fix


def test_other_arguments_are_refused_by_name(sets, tmp_path) -> None:
    for wrong in ({"metrics": ("x",)}, {"pixel_size_um": -1.0}, {"laue_group": "m4"}, {"groups": ["a"]}):
        with pytest.raises(UserError) as error:
            compare(*sets, **wrong)
        assert error.value.where == next(iter(wrong))
    with pytest.raises(UserError) as error:
        microgen_jax.compare(tmp_path / "nothing", sets[1])
    assert error.value.where == "real"


def pooled(images: np.ndarray) -> dict[str, np.ndarray]:
    """Pooled values of every statistic: means of distributions, and curves as they are."""
    found = {}
    for name, statistic in statistics.measure(images, classify_images(images)).items():
        if len(statistic.grid):
            values = baseline.pool(statistic, np.ones((1, len(images))))[0]
            found[name] = values @ statistic.grid if statistic.distribution else values
    return found


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), turns=st.integers(0, 3), flipped=st.booleans())
def test_statistics_do_not_change_under_dihedral_moves(seed: int, turns: int, flipped: bool) -> None:
    images = tiles(4 * seed, 4)
    moved = np.rot90(images[:, :, ::-1] if flipped else images, turns, axes=(1, 2))
    before, after = pooled(images), pooled(np.ascontiguousarray(moved))
    swap = {"x": "y", "y": "x"} if turns % 2 else {"x": "x", "y": "y"}
    for name, values in before.items():
        other = f"{name[:-1]}{swap[name[-1]]}" if name[-2:] in ("_x", "_y") else name
        if name == "elongation":  # its length is kept; the direction turns with the image
            values, found = np.hypot(*values), np.hypot(*after[other])
        else:
            found = after[other]
        # a speck as near to two grains goes to the first, so that statistics of grains are invariant but for these
        tolerance = {"rtol": 0.05, "atol": 0.1} if name in GRAINS else {"rtol": 1e-6, "atol": 1e-9}
        np.testing.assert_allclose(found, values, err_msg=name, **tolerance)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_grain_statistics_do_not_change_under_relabelling(seed: int) -> None:
    images = tiles(4 * seed, 3)
    labels = grain_finding.regions(images, classify_images(images))
    rng = np.random.default_rng(seed)
    other = np.stack([rng.permutation(one.max() + 1)[one] for one in labels])
    first, second = grains.measure(labels), grains.measure(other)
    for field in ("area", "diameter", "aspect_ratio", "neighbours"):
        np.testing.assert_allclose(np.sort(getattr(first, field)), np.sort(getattr(second, field)))
    for function in (grains.crossings, grains.triple_junctions, grains.specks):
        np.testing.assert_array_equal(function(labels), function(other))


def test_a_list_of_maps_is_coloured(shared) -> None:
    path = next((shared / "scans").rglob("*.ang"), None) or next((shared / "scans").rglob("*.ctf"), None)
    if path is None:
        pytest.skip("no scan is there")
    one = microgen_jax.read_map(path)
    images = as_image_set([one, one], "real").images
    assert images.shape == (2, *one.phase.shape, 3)
    assert images[:, one.indexed].any()
