from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from microgen_jax.crystal.orientations import from_axis_angle, from_euler, multiply
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.crystal.segmentation import flat_share, grains_from_colour, grains_from_orientations, join
from microgen_jax.crystal.symmetry import rotations

SCANS = ("EdaxNi_h5", "Fe_wh_2205031344", "NiSA_defdap", "SDSS_orixdata", "copperSq_gazder", "twinsMg_mtex")


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = len(np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T)
    return pairs == len(np.unique(a)) == len(np.unique(b))


def test_join_numbers_components_in_reading_order() -> None:
    across = np.array([[False, True], [False, False]])
    down = np.array([[True, False, False]])
    np.testing.assert_array_equal(join(across, down), [[0, 1, 1], [0, 2, 3]])


def test_a_single_pixel_and_a_single_row() -> None:
    assert grains_from_colour(np.zeros((1, 1, 3), np.uint8)).tolist() == [[0]]
    row = np.array([[[0, 0, 0], [20, 0, 0], [41, 0, 0]]], np.uint8)
    assert grains_from_colour(row).tolist() == [[0, 0, 1]]
    assert grains_from_colour(row, tolerance=21).tolist() == [[0, 0, 0]]


def test_colour_difference_does_not_wrap_in_8_bits() -> None:
    assert grains_from_colour(np.array([[[250, 0, 0], [5, 0, 0]]], np.uint8)).tolist() == [[0, 1]]


def test_orientations_join_up_to_the_tolerance_and_across_symmetry() -> None:
    turns = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians([0.0, 4.9, 10.0]))
    turns[2] = multiply(rotations("m-3m")[5], turns[2])
    assert grains_from_orientations(turns[None], "m-3m").tolist() == [[0, 0, 1]]
    assert grains_from_orientations(turns[None], "m-3m", tolerance=5.2).tolist() == [[0, 0, 0]]


def test_phases_part_grains_and_unnamed_ones_are_left_out() -> None:
    same = np.tile([1.0, 0, 0, 0], (2, 3, 1))
    phase = np.array([[1, 2, -1], [1, 2, 2]])
    found = grains_from_orientations(same, {1: "m-3m", 2: "6/mmm"}, phase)
    assert found.tolist() == [[0, 1, -1], [0, 1, 1]]
    assert grains_from_orientations(same, {1: "m-3m"}, phase).tolist() == [[0, -1, -1], [0, -1, -1]]


def test_both_ways_find_the_grains_that_were_made() -> None:
    tile = polycrystal(0, 1, 64, kind="equiaxed", periodic=False)
    truth = join(np.diff(tile.grains, axis=1) == 0, np.diff(tile.grains, axis=0) == 0)
    assert same_partition(grains_from_orientations(tile.orientations[tile.grains], "m-3m"), truth)
    found = grains_from_colour(tile.image)
    assert abs(found.max() - truth.max()) <= 0.1 * truth.max()


MOVES = [
    lambda a, n=n, flip=flip: np.rot90(a[:, ::-1] if flip else a, n) for n in range(4) for flip in (0, 1)
]


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(
        np.int64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)
    ),
    st.permutations(range(5)),
    st.sampled_from(MOVES),
)
def test_grains_do_not_depend_on_labels_and_move_with_the_map(grains, order, move) -> None:
    """Five orientations (and their colours) far apart: which of them a grain has does not change the grains."""
    turns = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(np.arange(5) * 15.0))
    colours = np.arange(0, 250, 50, dtype=np.uint8)[:, None].repeat(3, 1)
    relabelled = np.asarray(order)[grains]
    for find in (
        lambda g: grains_from_orientations(turns[g], "m-3m"),
        lambda g: grains_from_colour(colours[g]),
    ):
        found = find(grains)
        np.testing.assert_array_equal(find(relabelled), found)
        assert same_partition(find(move(grains)), move(found))


@pytest.mark.parametrize("scan", SCANS)
def test_real_scans_have_their_stored_grains(shared: Path, scan: str) -> None:
    with np.load(shared / "scans" / "npz" / f"{scan}.npz", allow_pickle=False) as stored:
        euler, phase, grain = stored["euler"].astype(np.float64), stored["phase"], stored["grain"]
        names = stored["phases"].tolist()
    groups = {int(name.split(":")[0]): name.split(":")[-1] for name in names}
    found = grains_from_orientations(from_euler(euler), groups, phase.astype(np.int32))
    indexed = phase > 0
    np.testing.assert_array_equal(found >= 0, indexed)
    assert same_partition(found[indexed], grain[indexed])


def test_colour_finds_the_grains_of_a_clean_scan(shared: Path) -> None:
    image = np.array(Image.open(shared / "ipf_maps" / "SDSS_orixdata_Z.png"))[..., :3]
    with np.load(shared / "scans" / "npz" / "SDSS_orixdata.npz", allow_pickle=False) as stored:
        grains = len(np.unique(stored["grain"]))
    assert grains_from_colour(image).max() + 1 == pytest.approx(grains, rel=0.02)


def test_flat_share_of_stripes_and_noise():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    pairs = 8 * 7 * 2
    assert flat_share(stripes) == 1 - 8 / pairs
    assert flat_share(np.full((4, 4, 1), 9, np.uint8)) == 1
    ramp = np.arange(0, 250, 25, dtype=np.uint8)[None, :, None].repeat(3, 0)
    assert flat_share(ramp) == 20 / 47
