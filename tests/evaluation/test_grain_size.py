"""Mean grain sizes of whole maps: specks, unindexed pixels, the edge."""

import numpy as np
import pytest

from microgen_jax.evaluation.grain_size import GrainSizes, grain_sizes, pooled


def squares(side: int, count: int) -> np.ndarray:
    return np.arange(count * count).reshape(count, count).repeat(side, axis=0).repeat(side, axis=1)


def test_specks_belong_to_the_grain_around_them_and_large_unindexed_regions_to_none() -> None:
    labels = squares(12, 6)
    whole = np.sqrt(4 / np.pi * 144)
    speckled = labels.copy()
    speckled[4::12, 4::12] = 36 + np.arange(36).reshape(6, 6)
    speckled[6::12, 6::12] = -1
    found = grain_sizes(speckled)
    assert (found.count, found.specks, found.pixels) == (36, 72, 72 * 72)
    assert found.diameter == pytest.approx(np.full(16, whole))
    black = labels.copy()
    for n in range(5):
        black[5 + n :: 12, 5::12] = -1
    assert grain_sizes(black).diameter == pytest.approx(np.full(16, np.sqrt(4 / np.pi * 139)))


def test_a_map_without_grains_has_no_mean() -> None:
    for labels in (np.full((8, 8), -1), np.zeros((8, 8), int)):
        found = grain_sizes(labels).to_json(0.5)
        assert (
            found["mean_diameter"]
            is found["mean_diameter_um"]
            is found["mean_diameter_edge_corrected"]
            is None
        )
    assert pooled([]).count == 0


def test_windows_bias_the_mean_and_the_weights_mend_it() -> None:
    """Of grains of two sizes, small windows lose the large ones; eq. 3 brings their share back."""
    small, large = squares(4, 60), squares(20, 12) + 3600
    labels = np.where((np.arange(240) // 20 % 2 == 0)[:, None], small, large)
    # per 40 rows: one row of squares of 20 px, five rows of squares of 4 px, five times as many each
    truth = np.average([4, 20], weights=[25, 1]) * np.sqrt(4 / np.pi)
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (600, 2))
    windows = [labels[y : y + 40, x : x + 40] for y, x in corners]
    found = pooled(grain_sizes(np.unique(w, return_inverse=True)[1].reshape(40, 40)) for w in windows)
    plain, mended = found.diameter.mean(), np.average(found.diameter, weights=found.weight)
    assert plain < 0.97 * truth
    assert mended == pytest.approx(truth, rel=0.02)


def test_lengths_in_um() -> None:
    found = GrainSizes(3, np.array([2.0, 4.0]), np.array([1.0, 3.0]), 5, 50).to_json(0.25)
    assert found["mean_diameter"] == 3
    assert found["mean_diameter_um"] == 0.75
    assert found["mean_diameter_edge_corrected"] == 3.5
    assert found["speck_share"] == 0.1
