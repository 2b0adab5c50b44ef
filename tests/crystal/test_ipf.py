import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microgen_jax.crystal.ipf import KEYS, colour_direction, direction_colour, fold, ipf_colour, off_key_share
from microgen_jax.crystal.orientations import from_axis_angle, from_euler, multiply, random_uniform, rotate
from microgen_jax.crystal.symmetry import LAUE_GROUPS, rotations
from microgen_jax.errors import UserError

FIXTURE = Path(__file__).parent.parent / "fixtures" / "ipf_colours.npz"
Z = np.array([0.0, 0.0, 1.0])


def unit(*vector: float) -> np.ndarray:
    return np.array(vector) / np.linalg.norm(vector)


def key_rotations(group: str, key: str) -> np.ndarray:
    if (group, key) == ("2/m", "edax"):
        return np.stack([[1.0, 0, 0, 0], from_axis_angle(np.array([0.0, 1.0, 0.0]), np.pi)])
    return rotations(group)


def test_tsl_is_orix() -> None:
    with np.load(FIXTURE, allow_pickle=False) as stored:
        groups, directions = stored["groups"].tolist(), stored["directions"]
        colours, euler, quaternions = stored["colours"], stored["euler"], stored["quaternions"]
    assert sorted(groups) == sorted(LAUE_GROUPS)
    np.testing.assert_allclose(np.abs(np.sum(from_euler(euler) * quaternions, axis=1)), 1, atol=1e-12)
    for group, by_direction in zip(groups, colours):
        for direction, expected in zip(directions, by_direction):
            found = ipf_colour(quaternions, direction, group)
            np.testing.assert_allclose(found / 255, expected, atol=0.5 / 255 + 1e-6, err_msg=group)


EDAX_SECTORS = {  # EbsdLib's eta_min, eta_max in degrees
    "-1": (0, 180),
    "2/m": (0, 180),
    "mmm": (0, 90),
    "4/m": (0, 90),
    "4/mmm": (0, 45),
    "-3": (-120, 0),
    "-3m": (-90, -30),
    "6/m": (0, 60),
    "6/mmm": (0, 30),
    "m-3": (0, 90),
    "m-3m": (0, 45),
}


def edax_by_search(quaternion: np.ndarray, group: str) -> np.ndarray:
    """EbsdLib's way: try each symmetry until the direction lies in the sector, then its formula."""
    low, high = np.radians(EDAX_SECTORS[group])
    for element in key_rotations(group, "edax"):
        p = rotate(multiply(element, quaternion), Z)
        p = -p if p[2] < 0 else p
        chi, eta = np.arccos(p[2]), np.arctan2(p[1], p[0])
        chi_max = np.pi / 2
        if group in ("m-3", "m-3m"):
            tangent = np.tan(eta) if np.degrees(eta) <= 45 else np.tan(np.pi / 2 - eta)
            chi_max = np.arccos(np.sqrt(1 / (2 + tangent**2)))
        if low <= eta <= high and chi <= chi_max:
            break
    r, b = 1 - chi / chi_max, abs(eta - low) / (high - low)
    rgb = np.sqrt([r, (1 - b) * chi / chi_max, b * chi / chi_max])
    return rgb / rgb.max()


@pytest.mark.parametrize("group", LAUE_GROUPS)
def test_edax_is_ebsdlib(group: str) -> None:
    quaternions = random_uniform(np.random.default_rng(0), 60)
    expected = np.array([edax_by_search(q, group) for q in quaternions]) * 255
    found = ipf_colour(quaternions, "Z", group, "edax")
    assert np.all((expected - found > -1e-6) & (expected - found < 1 + 1e-6))


@pytest.mark.parametrize("key", KEYS)
def test_corners_are_red_green_and_blue(key: str) -> None:
    corners = np.stack([unit(0, 0, 1), unit(1, 0, 1), unit(1, 1, 1)])
    # tsl: the table of 1000 azimuths meets a corner to 2 of 255
    np.testing.assert_allclose(direction_colour(corners, "m-3m", key), 255 * np.eye(3), atol=2)


def test_keys_differ_as_published() -> None:
    quaternions = random_uniform(np.random.default_rng(1), 20_000)
    tsl, edax = [ipf_colour(quaternions, "Z", "m-3m", key).astype(int) for key in ("tsl", "edax")]
    assert 20 < np.median(np.abs(tsl - edax).max(axis=-1)) < 40


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("group", LAUE_GROUPS)
def test_equivalent_crystals_and_opposite_directions_have_one_colour(group: str, key: str) -> None:
    quaternions = random_uniform(np.random.default_rng(2), 200)
    colours = ipf_colour(quaternions, "Z", group, key).astype(int)
    assert len(np.unique(colours, axis=0)) > 150
    for element in key_rotations(group, key):
        turned = ipf_colour(multiply(element, quaternions), (0.0, 0.0, -2.0), group, key).astype(int)
        assert np.abs(turned - colours).max() <= 1


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("group", LAUE_GROUPS)
def test_colour_gives_the_direction_back(group: str, key: str) -> None:
    directions = rotate(random_uniform(np.random.default_rng(3), 5000), Z)
    folded = fold(directions, group, key)
    if (group, key) == ("-1", "edax"):
        folded = folded * [1, np.nan, 1]
        folded[:, 1] = np.sqrt(np.maximum(0, 1 - folded[:, 0] ** 2 - folded[:, 2] ** 2))
    colours = direction_colour(directions, group, key)
    assert off_key_share(colours) == 0
    back = colour_direction(colours, group, key)
    away = np.degrees(np.arccos(np.clip(np.sum(back * folded, axis=1), -1, 1)))
    assert np.median(away) < 0.5
    assert away.max() < 2.0


@pytest.mark.parametrize("key", KEYS)
def test_colours_off_the_key_are_projected_and_black_is_no_direction(key: str) -> None:
    colours = np.array([[200, 100, 50], [0, 0, 0]], np.uint8)
    brighter = np.array([[255, 128, 64]], np.uint8)
    found = colour_direction(colours, "m-3m", key)
    np.testing.assert_allclose(found[0], colour_direction(brighter, "m-3m", key)[0], atol=0.01)
    assert np.isnan(found[1]).all()


def test_off_key_share_leaves_out_black() -> None:
    image = np.array([[[255, 0, 0], [254, 0, 0]], [[0, 0, 0], [10, 255, 3]]], np.uint8)
    assert off_key_share(image) == pytest.approx(1 / 3)
    assert off_key_share(np.zeros((2, 2, 3), np.uint8)) == 0


def test_a_million_orientations_are_quick_and_small() -> None:
    quaternions = random_uniform(np.random.default_rng(4), 1_000_000)
    start = time.process_time()
    ipf_colour(quaternions, "Z", "m-3m")
    assert time.process_time() - start < 1
    tracemalloc.start()
    ipf_colour(quaternions, "Z", "m-3m")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


def test_wrong_names_are_refused() -> None:
    one = np.array([[1.0, 0, 0, 0]])
    for arguments, where in (
        ((one, "Z", "m-3m", "tls"), "key"),
        ((one, "W", "m-3m"), "direction"),
        ((one, (0.0, 0.0, 0.0), "m-3m"), "direction"),
        ((one, "Z", "m4m"), "laue_group"),
    ):
        with pytest.raises(UserError) as error:
            ipf_colour(*arguments)
        assert error.value.where == where


@pytest.mark.parametrize("scan", ["EdaxNi_h5", "twinsMg_mtex"])
@pytest.mark.parametrize("direction", ["X", "Z"])
def test_real_maps_are_met_to_the_byte(shared: Path, scan: str, direction: str) -> None:
    with np.load(shared / "scans" / "npz" / f"{scan}.npz", allow_pickle=False) as stored:
        euler, phase, group = stored["euler"], stored["phase"], str(stored["phases"][0]).split(":")[-1]
    expected = np.array(Image.open(shared / "ipf_maps" / f"{scan}_{direction}.png"))[..., :3]
    found = ipf_colour(from_euler(euler.astype(np.float64)), direction, group)
    different = np.abs(found.astype(int) - expected)[phase > 0].max(axis=-1)
    assert different.max() <= 1
    assert np.mean(different > 0) < 1e-3
