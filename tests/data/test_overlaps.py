"""Tiles of one map across the split: what is found by pixels and by names, and what raises no alarm."""

import numpy as np
import pytest

from microgen_jax.commands.inspect import inspect
from microgen_jax.data import open_dataset
from microgen_jax.data.overlaps import overlap_warnings, search, tile_pattern


def _parts(data_config, root, **options):
    dataset = open_dataset(data_config(root, **{"holdout": 0.5, **options}))
    return dataset.train, dataset.holdout


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shifted_overlap_is_found_with_its_shift(tmp_path, save, data_config, channels):
    rng = np.random.default_rng(channels)
    specimen = rng.integers(0, 256, (96, 96, channels), dtype=np.uint8).squeeze()
    corners = rng.integers(0, 65, (12, 2))
    for n, (top, left) in enumerate(corners):
        save(tmp_path / f"a/{n}.png", pixels=specimen[top : top + 32, left : left + 32])
    train, holdout = _parts(data_config, tmp_path)
    found, notes = search(train, holdout)
    assert found
    assert notes == ()
    for one in found:
        held, trained = (corners[int(name[2:-4])] for name in (one.a, one.b))
        assert tuple(held - trained) == one.shift
        assert one.share == np.prod(32 - np.abs(held - trained)) / 32**2
    assert "data.split_by" in overlap_warnings(train, holdout, found)[0]
    assert search(train, holdout, max_pixels=9).pairs == []


def test_what_was_not_compared_is_said(tmp_path, save, data_config):
    specimen = np.random.default_rng(3).integers(0, 256, (32, 64), dtype=np.uint8)
    for n in range(8):
        save(tmp_path / f"a/{n}.png", pixels=specimen[:, 4 * n : 4 * n + 32])
    train, holdout = _parts(data_config, tmp_path)
    half = 32 * 32 * len(holdout) // 2
    found, (note,) = search(train, holdout, max_pixels=half)
    assert f"{len(holdout) // 2} of {len(holdout)} held-out images" in note
    assert found == search(train, holdout, max_pixels=half).pairs
    found, (note,) = search(train, holdout, max_shifts=1)
    assert len(found) <= 1
    assert "up to a/" in note


@pytest.mark.parametrize("kind", ["noise", "flat", "stripes", "chequers"])
def test_images_that_share_no_place_raise_no_alarm(tmp_path, save, data_config, kind):
    rows, columns = np.mgrid[:32, :32]
    for n in range(8):
        pixels = {
            "noise": np.random.default_rng(n).integers(0, 2, (32, 32)) * 255,
            "flat": np.full((32, 32), 9 * (n // 2)),
            "stripes": (rows + n) % 8 * 30,
            "chequers": ((rows + n) // 3 + columns // 3) % 2 * 255,
        }[kind]
        save(tmp_path / f"a/{n}.png", pixels=pixels.astype(np.uint8))
    train, holdout = _parts(data_config, tmp_path)
    found, notes = search(train, holdout)
    assert (found, notes) == ([], ())
    assert overlap_warnings(train, holdout, found) == []


@pytest.mark.parametrize(
    "suffix", ["_r{0:04}_c{1:04}", "_row{0}_col{1}", "_x{0}_y{1}", "_tile_{0:03}_{1:03}", "_patch_{0}_{1}"]
)
def test_the_pattern_named_for_tile_names_mends_the_split(tmp_path, save, data_config, suffix):
    for n in range(24):
        save(tmp_path / f"a/map{n // 4}{suffix.format(n % 2, n // 2 % 2)}.png", seed=n)
    train, holdout = _parts(data_config, tmp_path)
    (warning,) = overlap_warnings(train, holdout, [])
    assert "on both sides" in warning
    pattern = warning.split("data.filename_pattern='")[1].split("'")[0]
    train, holdout = _parts(data_config, tmp_path, filename_pattern=pattern, split_by="map")
    assert len(holdout)
    assert overlap_warnings(train, holdout, []) == []


def test_numbered_names_are_no_tiles():
    assert tile_pattern(["a/Cu1_2_3.png", "a/12.png"], ["a/2024_11_28.png"]) == ("", [])


def test_inspect_writes_overlaps(tmp_path, save):
    specimen = np.random.default_rng(5).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    for n in range(6):
        save(tmp_path / f"a/{n}.png", pixels=specimen[:, 8 * n : 8 * n + 48])
    values = inspect(tmp_path, size=(16, 16)).values
    assert values["overlaps"]["pairs"][0]["share"] >= 0.1
    assert len(values["overlaps"]["warnings"]) == 1
    assert values["overlaps"]["notes"] == []
