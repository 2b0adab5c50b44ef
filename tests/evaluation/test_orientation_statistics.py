"""Statistics of orientations against closed forms and against maps built with known shares."""

import numpy as np
import pytest

from microgen_jax.crystal.orientations import from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import orientation_statistics
from microgen_jax.evaluation.baseline import Statistic


def pooled(statistic: Statistic) -> np.ndarray:
    values = np.asarray(statistic.numerator.sum(axis=0)) / np.asarray(statistic.denominator.sum(axis=0))
    return values if statistic.transform is None else statistic.transform(values[None])[0]


def mean(statistic: Statistic) -> float:
    return float(pooled(statistic) @ statistic.grid)


def measured(orientations: np.ndarray, group: str = "m-3m") -> dict[str, Statistic]:
    return orientation_statistics.measure(orientations, np.zeros(orientations.shape[:3], int), (group,))


@pytest.fixture(scope="module")
def random_maps() -> dict[str, Statistic]:
    random = np.random.default_rng(0)
    return measured(random_uniform(random, 12 * 32 * 32).reshape(12, 32, 32, 4))


@pytest.mark.parametrize("name", ["misorientation_neighbours", "misorientation_random"])
def test_random_orientations_give_mackenzies_curve(random_maps, name):
    """Mackenzie 1958: mean 40.74 degrees, largest 62.80, for cubic crystals."""
    statistic = random_maps[name]
    assert abs(mean(statistic) - 40.74) < (0.3 if name == "misorientation_neighbours" else 1.0)
    assert 61 < statistic.grid[pooled(statistic) > 0].max() < 63


def test_random_orientations_have_no_texture(random_maps):
    assert pooled(random_maps["texture_index"])[0] == pytest.approx(1, abs=0.05)
    assert np.mean(pooled(random_maps["odf"])) == pytest.approx(1, abs=0.05)


def test_sigma3_of_random_boundaries_is_rare(random_maps):
    """1.8 % of random cubic boundaries are within Brandon's 8.66 degrees (Morawiec et al. 1993)."""
    assert pooled(random_maps["sigma3_share"])[0] == pytest.approx(0.018, abs=0.004)


def test_twins_are_found_as_they_were_built():
    maps = [polycrystal(3, index, 64, kind="equiaxed", diameter=18, twins=0.5) for index in range(6)]
    built, all_boundaries = 0, 0
    for made in maps:
        for axis in (0, 1):
            here = np.take(made.grains, range(63), axis)
            there = np.take(made.grains, range(1, 64), axis)
            apart = here != there
            quarter = np.abs(
                np.sum(
                    made.orientations[here[apart]]
                    * multiply(TWIN, made.orientations[there[apart]][:, None]).transpose(1, 0, 2),
                    axis=-1,
                )
            ).max(axis=0)
            built += np.sum(quarter > 1 - 1e-9)
            all_boundaries += apart.sum()
    found = pooled(measured(np.stack([made.orientations[made.grains] for made in maps]))["sigma3_share"])[0]
    assert built / all_boundaries > 0.2
    assert found == pytest.approx(built / all_boundaries, abs=0.03)


TWIN = from_axis_angle(
    np.repeat(np.array([[1.0, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]), 2, axis=0),
    np.tile([np.pi / 3, -np.pi / 3], 4),
)


def test_a_gradient_has_its_kam_and_its_low_angle_boundary():
    """Half a degree a column: KAM 0.5; then a wall of 10 degrees: the only boundary, and a low-angle one."""
    angle = 0.5 * np.arange(16) + 10 * (np.arange(16) >= 8)
    row = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(angle))
    found = measured(np.broadcast_to(row, (1, 16, 16, 4)).copy())
    # along a column the step is 0, along a row 0.5: the mean of the two, but at the rim
    assert mean(found["kam"]) == pytest.approx(0.25, abs=0.1)
    assert pooled(found["low_angle_share"])[0] == 1
    assert mean(found["misorientation_neighbours"]) == pytest.approx(10.5, abs=0.51)


def test_equivalent_descriptions_of_a_map_have_the_same_statistics():
    maps = np.stack([polycrystal(1, i, 24).orientations[polycrystal(1, i, 24).grains] for i in range(3)])
    turned = multiply(from_axis_angle(np.array([0.0, 0.0, 1.0]), np.pi / 2), maps)
    for name, statistic in measured(maps).items():
        np.testing.assert_allclose(pooled(measured(turned)[name]), pooled(statistic), atol=1e-6, err_msg=name)


def test_unindexed_pixels_and_other_phases_are_left_out():
    random = np.random.default_rng(1)
    maps = random_uniform(random, 16 * 16).reshape(1, 16, 16, 4)
    phase = np.zeros((1, 16, 16), int)
    phase[:, :, 8:] = 1
    phase[:, 0] = -1
    found = orientation_statistics.measure(maps, phase, ("m-3m", "6/mmm"))
    boundaries = 2 * (15 * 7 + 14 * 8)  # inside either half of the 15 rows that are left
    total = np.asarray(found["misorientation_neighbours"].denominator).sum()
    assert 0.97 * boundaries < total <= boundaries
    assert np.asarray(found["odf"].denominator).sum() == 15 * 8
