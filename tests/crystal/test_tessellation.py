import numpy as np
import pytest

from microgen_jax.crystal.tessellation import (
    BRUTE_SEEDS,
    VORONOI_SIGMA,
    Seeds,
    bimodal_diameters,
    label,
    laguerre_seeds,
    lognormal_diameters,
    measure,
    poisson_seeds,
)

PERIOD = (60.0, 90.0)


def grid(step: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(0.5, PERIOD[0], step), np.arange(0.5, PERIOD[1], step)


def random_seeds(number: int) -> Seeds:
    rng = np.random.default_rng(number)
    return Seeds(rng.random((number, 2)) * PERIOD, 40 * rng.random(number), PERIOD)


@pytest.mark.parametrize("number", [1, 7, BRUTE_SEEDS + 50])
def test_label_is_the_least_power_round_the_torus(number: int) -> None:
    seeds = random_seeds(number)
    y, x = grid(3.0)
    images = [seeds.points + np.array([i, j]) * PERIOD for i in (-1, 0, 1) for j in (-1, 0, 1)]
    pixels = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[..., None, :]
    power = np.min([np.sum((pixels - p) ** 2, axis=-1) for p in images], axis=0) - seeds.weights
    np.testing.assert_array_equal(label(y, x, seeds), np.argmin(power, axis=-1))


@pytest.mark.parametrize("number", [20, BRUTE_SEEDS + 50])
def test_the_torus_has_no_edge(number: int) -> None:
    seeds = random_seeds(number)
    y, x = grid(2.0)
    np.testing.assert_array_equal(label(y, x, seeds), label(y - PERIOD[0], x + 2 * PERIOD[1], seeds))


def test_cells_get_the_sizes_that_they_are_asked_to_have() -> None:
    rng = np.random.default_rng(0)
    diameters = np.array([6.0] * 30 + [12.0] * 10 + [24.0] * 3)
    target = diameters**2 / np.sum(diameters**2) * PERIOD[0] * PERIOD[1]
    cells = measure(laguerre_seeds(rng, PERIOD, diameters))
    assert np.sum(cells.area) == pytest.approx(PERIOD[0] * PERIOD[1])
    assert np.all(np.sort(diameters) == diameters)
    found = [np.mean(cells.area[diameters == d] / target[diameters == d]) for d in (6, 12, 24)]
    np.testing.assert_allclose(found, 1, atol=0.1)


def test_voronoi_has_its_own_width() -> None:
    seeds = poisson_seeds(np.random.default_rng(1), (300.0, 300.0), 10.0)
    diameter = np.sqrt(4 / np.pi * measure(seeds).area)
    assert diameter.mean() == pytest.approx(10, rel=0.03)
    assert np.log(diameter[diameter > 0]).std() == pytest.approx(VORONOI_SIGMA, abs=0.04)


def test_one_cell_fills_the_torus() -> None:
    cells = measure(laguerre_seeds(np.random.default_rng(2), PERIOD, np.array([5.0])))
    np.testing.assert_allclose(cells.area, PERIOD[0] * PERIOD[1])
    np.testing.assert_allclose(cells.moments, [np.square(PERIOD) / 12], rtol=0.05)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.6])
def test_lognormal_diameters_fill_the_area(sigma: float) -> None:
    area = 1e6
    diameters = lognormal_diameters(np.random.default_rng(3), area, 12.0, sigma)
    assert np.sum(np.pi / 4 * diameters**2) == pytest.approx(area, rel=0.01)
    assert diameters.mean() == pytest.approx(12, rel=0.03)
    assert np.log(diameters).std() == pytest.approx(sigma, abs=0.02)


def test_bimodal_diameters_share_the_area() -> None:
    diameters = bimodal_diameters(np.random.default_rng(4), 1e6, 12.0, 0.1, 3.0)
    large = diameters > 18
    assert diameters.mean() == pytest.approx(12, rel=0.03)
    assert np.sum(diameters[large] ** 2) == pytest.approx(np.sum(diameters[~large] ** 2), rel=0.05)
    assert diameters[large].mean() / diameters[~large].mean() == pytest.approx(3, rel=0.03)
