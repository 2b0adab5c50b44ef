"""Leave-one-out in closed form, and conditions that images obey, half obey and ignore."""

import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import classify_images, conditioning, statistics


def test_leave_one_out_is_fitting_without_the_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    found, weights = conditioning._ridge(x, y, 0.0)
    for n in range(12):
        rest = np.arange(12) != n
        design = np.column_stack([np.ones(11), x[rest]])
        solved = np.linalg.lstsq(design, y[rest], rcond=None)[0]
        assert found[n] == pytest.approx(solved[0] + x[n] @ solved[1:])
    full = np.linalg.lstsq(np.column_stack([np.ones(12), x]), y, rcond=None)[0]
    np.testing.assert_allclose(weights, full[1:])


def drawn(start: int, diameters: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            polycrystal(4, start + i, 32, kind="equiaxed", diameter=float(d), sigma=0.2).image
            for i, d in enumerate(diameters)
        ]
    )


def test_grain_size_is_obeyed_or_not() -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.uniform(5, 12, 60), rng.uniform(5, 12, 40)
    real, made = drawn(0, known), drawn(1000, asked)
    both = np.concatenate([real, made])
    table = conditioning.summaries(statistics.measure(both, classify_images(real)))
    assert table.shape[0] == 100
    good = conditioning.conditioning_accuracy(table[:60], known, table[60:], asked)
    assert good.baseline > 0.6
    assert good.value > 0.6
    assert good.interval[0] <= 1 <= good.interval[1]
    ignored = conditioning.conditioning_accuracy(table[:60], known, table[60:], rng.permutation(asked))
    assert ignored.value < 0.2
    assert ignored.interval[1] < 1


def test_too_few_or_equal_conditions_say_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    y = x[:, 0]
    assert conditioning.conditioning_accuracy(x, y, x, np.full(30, 2.0)) is None
    assert conditioning.conditioning_accuracy(x, np.where(np.arange(30) < 19, y, np.nan), x, y) is None
    assert conditioning.conditioning_accuracy(x, y, x, y).value > 0.99
