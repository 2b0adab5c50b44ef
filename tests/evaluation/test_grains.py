"""Grain statistics against scikit-image, Euler's formula and hand-drawn images."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.crystal.segmentation import grains_from_colour
from microgen_jax.crystal.tessellation import Seeds, label
from microgen_jax.evaluation import grains


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.stack([grains_from_colour(polycrystal(0, i, 64).image) for i in range(3)])


def test_scikit_image_agrees(labels: np.ndarray) -> None:
    measure = pytest.importorskip("skimage.measure")
    found = grains.measure(labels, min_area=1)
    for window, image in enumerate(labels):
        ours = found.window == window
        properties = measure.regionprops(image + 1)
        assert [p.area for p in properties] == found.area[ours].tolist()
        np.testing.assert_allclose([p.equivalent_diameter_area for p in properties], found.diameter[ours])
        for i, p in zip(np.flatnonzero(ours), properties):
            # scikit-image takes a pixel for a point, not for a square: 1/12 less variance
            small, large = np.sort(p.inertia_tensor_eigvals) + 1 / 12
            assert found.aspect_ratio[i] == pytest.approx(np.sqrt(large / small), rel=1e-6)
        inside = [p.bbox[0] > 0 and p.bbox[1] > 0 and p.bbox[2] < 64 and p.bbox[3] < 64 for p in properties]
        assert inside == found.whole[ours].tolist()


def test_shape_of_rectangles_is_that_of_continuous_ones() -> None:
    image = np.full((1, 20, 30), -1)
    image[0, 3:7, 5:17] = 0
    image[0, 9:19, 20:22] = 1
    found = grains.measure(image)
    np.testing.assert_allclose(found.aspect_ratio, [12 / 4, 10 / 2])
    np.testing.assert_allclose(found.direction, [0, 90])
    np.testing.assert_allclose(found.elongation[:, 0], [(144 - 16) / (144 + 16), -(100 - 4) / (100 + 4)])


def test_a_diagonal_grain_points_down_and_right() -> None:
    image = np.where(np.abs(np.subtract.outer(np.arange(16), np.arange(16))) < 3, 0, -1)[None]
    found = grains.measure(image)
    assert found.direction[0] == pytest.approx(45)
    assert found.elongation[0, 1] > 0.5


def torus_seeds(count: int, period: float) -> np.ndarray:
    return np.random.default_rng(3).random((count, 2)) * period


def test_voronoi_cells_on_a_torus_have_six_neighbours() -> None:
    """Euler: V - E + F = 0 on a torus and three edges at each vertex give E = 3 F."""
    count, period = 300, 1.0
    points = torus_seeds(count, period)
    shifts = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]) * period
    copies = np.concatenate([points + shift for shift in shifts])
    triangles = Delaunay(copies).simplices
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    middle = 4 * count  # of the copies, the one that is not shifted
    ours = (pairs >= middle) & (pairs < middle + count)
    pairs = pairs[ours.any(axis=1)]
    inside = np.sort(pairs, axis=1)
    edges = {tuple(edge) for edge in inside}
    both = sum((middle <= a < middle + count) and (middle <= b < middle + count) for a, b in edges)
    assert (2 * both + (len(edges) - both)) / count == 6


def test_pixels_count_six_neighbours_within_two_percent() -> None:
    size, diameter = 780, 26
    count = round(size**2 / diameter**2)
    seeds = Seeds(torus_seeds(count, size), np.zeros(count), (size, size))
    axis = np.arange(size) + 0.5
    counted = grains.neighbours(label(axis, axis, seeds)[None], periodic=True)
    assert counted.mean() == pytest.approx(6, rel=0.02)


def test_a_grid_of_squares() -> None:
    y, x = np.indices((24, 24)) // 8
    image = (3 * y + x)[None]
    found = grains.measure(image)
    assert found.neighbours.tolist() == [2, 3, 2, 3, 4, 3, 2, 3, 2]
    assert found.whole.tolist() == [False] * 4 + [True] + [False] * 4
    edges, boundaries = grains.crossings(image)
    assert (edges[0], boundaries[0]) == (2 * 24 * 23, 2 * 2 * 24)
    assert grains.triple_junctions(image).tolist() == [4]
    assert grains.area_weighted_mean(found) == pytest.approx(np.sqrt(4 * 64 / np.pi))


def test_dihedral_angles_are_those_that_were_drawn() -> None:
    y, x = np.indices((40, 40)) - 19.5
    wanted = np.array([90.0, 120.0, 150.0])
    ends = np.cumsum(wanted)
    direction = np.degrees(np.arctan2(y, x)) % 360
    image = np.searchsorted(ends, direction)[None]
    found = grains.dihedral_angles(image)
    np.testing.assert_allclose(np.sort(found.angle), wanted, atol=6)
    assert found.window.tolist() == [0, 0, 0]
    squares = (3 * (np.indices((24, 24))[0] // 12) + np.indices((24, 24))[1] // 12)[None]
    assert len(grains.dihedral_angles(squares).angle) == 0  # four grains meet
    assert len(grains.dihedral_angles(image[:, :8]).angle) == 0
    brick = np.where(np.arange(24)[:, None] < 12, 0, 1 + (np.arange(24) >= 12)[None])[None]
    np.testing.assert_allclose(np.sort(grains.dihedral_angles(brick).angle), [90, 90, 180], atol=1e-9)


def test_small_regions_are_specks_and_no_neighbours() -> None:
    image = np.zeros((2, 12, 12), int)
    image[0, 5, 5:7] = 1
    image[0, 0, 0] = 2  # touches the edge
    found = grains.measure(image)
    assert found.window.tolist() == [0, 1]
    assert found.neighbours.tolist() == [0, 0]
    image[1, 7, 7] = -1
    assert [values.tolist() for values in grains.specks(image)] == [[1, 1], [3, 1]]
    image[1, 5:9, 5:9] = -1
    assert [values.tolist() for values in grains.specks(image)] == [[1, 0], [3, 0]]


def test_not_indexed_pixels_part_nothing() -> None:
    image = np.array([[[0, -1, 1], [0, -1, 1], [0, 0, 1]]])
    assert grains.crossings(image) == (np.array([6]), np.array([1]))
    assert grains.triple_junctions(image).tolist() == [0]


def test_lognormal_fit_finds_what_was_drawn() -> None:
    diameter = np.random.default_rng(0).lognormal(3.0, 0.4, 20_000)
    assert grains.lognormal(diameter) == pytest.approx((3.0, 0.4), abs=0.01)


def test_astm_numbers_of_the_standards_tables() -> None:
    """E112-13, table 4: G = 8 has a mean intercept of 20 micrometres and 504 square micrometres a grain."""
    assert grains.astm_intercept(np.array([20.0]), 1.0) == pytest.approx(8, abs=0.02)
    assert grains.astm_area(np.array([504.0]), 1.0) == pytest.approx(8, abs=0.01)
    assert grains.astm_intercept(np.array([40.0]), 0.5) == grains.astm_intercept(np.array([20.0]), 1.0)


def test_colour_steps_are_those_inside_grains() -> None:
    ramp = np.broadcast_to((np.arange(10) * 3)[None, None, :, None], (1, 4, 10, 1)).astype(np.uint8)
    split = np.broadcast_to((np.arange(10) >= 5).astype(int), (1, 4, 10))
    counts = grains.colour_steps(ramp, split)
    assert counts[0, 3] == 4 * 8
    assert counts[0, 0] == 3 * 10
    assert counts.sum() == 4 * 8 + 3 * 10


def test_closed_boundaries_do_not_end_and_broken_ones_do() -> None:
    whole = polycrystal(1, 2, 48).image[None]
    assert grains.dead_ends(whole, 20).tolist() == [0]
    cut = np.zeros((1, 20, 20, 3), np.uint8)
    cut[0, 10:, :8] = 200
    assert grains.dead_ends(cut, 20).tolist() == [0]
    ramp = np.zeros((1, 20, 20, 3), np.uint8)
    ramp[0, 10:] = (np.maximum(0, 12 - np.arange(20)) * 10)[None, :, None].astype(np.uint8)
    assert grains.dead_ends(ramp, 20).tolist() == [1]


def drawn_grid() -> np.ndarray:
    image = np.zeros((64, 64), bool)
    image[:, 20:22] = image[:, 44:46] = image[30:32] = True
    return image


def test_drawn_boundaries_that_end_are_counted() -> None:
    image = drawn_grid()
    assert grains.line_dead_ends(image) == 0
    assert grains.grains_between_boundaries(image).max() + 1 == 6
    image[10:12, 21:34] = True
    image[50:52, 30:45] = True
    assert grains.line_dead_ends(image) == 2
    assert grains.line_floating_pieces(image) == 0
    image[40, 6:14] = True
    assert grains.line_dead_ends(image) == 3
    assert grains.line_floating_pieces(image) == 1


def test_a_image_without_boundaries_is_one_grain() -> None:
    for empty in (np.zeros((16, 16), bool), np.ones((16, 16), bool)):
        assert set(grains.grains_between_boundaries(empty).ravel()) == {0}
    assert grains.line_dead_ends(np.zeros((16, 16), bool)) == 0


def test_specks_go_to_the_nearest_grain() -> None:
    image = np.zeros((2, 12, 12), int)
    image[0, :, 6:] = 1
    image[0, 4:6, 8] = 2
    image[0, 0, 0] = image[0, 8, 8] = -1
    image[0, 8:12, 2:4] = -1
    absorbed = grains.absorb_specks(image)
    assert set(absorbed[0, :, 6:].ravel()) == {1}
    assert absorbed[0, 0, 0] == 0
    assert np.argwhere(absorbed[0] < 0).tolist() == [[y, x] for y in range(8, 12) for x in (2, 3)]
    np.testing.assert_array_equal(absorbed[1], image[1])
    lonely = np.array([[[0, 1], [2, -1]]])
    np.testing.assert_array_equal(grains.absorb_specks(lonely), lonely)


@pytest.mark.parametrize(
    ("scan", "count", "mean", "sigma", "weighted", "neighbours", "fraction"),
    [
        ("NiSA_defdap", 115, 20.6, 0.91, 51.6, 5.1, 0.040),
        ("EdaxNi_h5", 306, 8.9, 0.62, 18.0, 5.6, 0.121),
        ("copperSq_gazder", 750, 8.3, 0.72, 25.7, 4.9, 0.118),
        ("SDSS_orixdata", 115, 9.9, 0.61, 18.8, 5.1, 0.112),
    ],
)
def test_real_scans_follow_the_table(
    shared: Path,
    scan: str,
    count: int,
    mean: float,
    sigma: float,
    weighted: float,
    neighbours: float,
    fraction: float,
) -> None:
    """The table in the data's README: grains of 5 px or more at 5 degrees, within 3 %."""
    with np.load(shared / "scans" / "npz" / f"{scan}.npz", allow_pickle=False) as stored:
        image = grains.absorb_specks(stored["grain"].astype(int)[None])
    found = grains.measure(image)
    whole = found.diameter[found.whole]
    edges, boundaries = grains.crossings(image)
    assert len(found.area) == count
    assert whole.mean() == pytest.approx(mean, rel=0.03)
    assert grains.lognormal(whole)[1] == pytest.approx(sigma, rel=0.03)
    assert grains.area_weighted_mean(found) == pytest.approx(weighted, rel=0.03)
    assert found.neighbours[found.whole].mean() == pytest.approx(neighbours, rel=0.03)
    assert boundaries[0] / edges[0] == pytest.approx(fraction, rel=0.03)
