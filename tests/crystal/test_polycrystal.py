import os
import subprocess
import sys

import numpy as np
import pytest

from microgen_jax.crystal.ipf import ipf_colour, off_key_share
from microgen_jax.crystal.orientations import conjugate, rotate
from microgen_jax.crystal.polycrystal import CLASSES, TEXTURES, TWIN_AXES, Polycrystal, polycrystal
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.errors import UserError

Z = np.array([0.0, 0.0, 1.0])
SERIES_CLASSES = ["bimodal", "textured", "textured", "elongated"]
SERIES_DIAMETERS = [17.92359, 22.77622, 19.67287, 20.12401]


def neighbour_differences(image: np.ndarray) -> np.ndarray:
    signed = image.astype(int)
    across, down = [np.abs(np.diff(signed, axis=axis)).max(axis=-1) for axis in (1, 0)]
    return np.concatenate([across.ravel(), down.ravel()])


def pooled(tiles: list[Polycrystal], name: str) -> float:
    return float(np.mean([tile.descriptors[name] for tile in tiles]))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_tile_is_a_function_of_seed_and_index(kind: str) -> None:
    first, again = [polycrystal(3, 5, 32, kind=kind, twins=0.5) for _ in range(2)]
    for a, b in zip(first[:3], again[:3]):
        np.testing.assert_array_equal(a, b)
    assert first.descriptors == again.descriptors
    for seed, index in ((3, 6), (4, 5), (5, 3)):
        assert not np.array_equal(polycrystal(seed, index, 32, kind=kind).image, first.image)


def test_the_series_never_changes() -> None:
    found = [polycrystal(0, i, 64).descriptors for i in range(4)]
    assert [d["class"] for d in found] == SERIES_CLASSES
    np.testing.assert_allclose([d["grain_diameter"] for d in found], SERIES_DIAMETERS, rtol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("size", [32, (24, 40)])
def test_image_shows_the_orientations(kind: str, size: int | tuple[int, int]) -> None:
    tile = polycrystal(0, 1, size, kind=kind, twins=0.3)
    assert tile.image.shape == ((32, 32, 3) if size == 32 else (24, 40, 3))
    assert set(np.unique(tile.grains)) == set(range(len(tile.orientations)))
    np.testing.assert_array_equal(tile.image, ipf_colour(tile.orientations, "Z", "m-3m")[tile.grains])
    assert off_key_share(tile.image) == 0
    assert tile.descriptors["class"] == kind


def test_giving_one_descriptor_leaves_the_random_values_of_the_others() -> None:
    free, given = polycrystal(1, 2, 48).descriptors, polycrystal(1, 2, 48, diameter=9).descriptors
    assert given["grain_diameter"] == 9
    for name in ("class", "grain_sigma", "aspect_ratio", "texture", "sharpness"):
        assert given[name] == free[name]


@pytest.mark.parametrize(
    ("diameter", "sigma", "aspect_ratio"), [(9, 0.15, 1.0), (12.0, 0.45, 1.0), (10.0, 0.3, 3.0)]
)
def test_measured_descriptors_follow_those_given(diameter: float, sigma: float, aspect_ratio: float) -> None:
    tiles = [
        polycrystal(0, i, 64, kind="equiaxed", diameter=diameter, sigma=sigma, aspect_ratio=aspect_ratio)
        for i in range(20)
    ]
    assert pooled(tiles, "measured_grain_diameter") == pytest.approx(diameter, rel=0.05)
    assert pooled(tiles, "measured_grain_sigma") == pytest.approx(sigma, abs=0.05)
    assert pooled(tiles, "measured_aspect_ratio") == pytest.approx(aspect_ratio, rel=0.08)


def test_the_image_has_the_grains_that_were_measured() -> None:
    tile = polycrystal(0, 0, 96, kind="equiaxed", diameter=10.0, sigma=0.2, periodic=True)
    area = np.bincount(tile.grains.ravel())
    diameter = np.sqrt(4 / np.pi * area)
    assert diameter.mean() == pytest.approx(tile.descriptors["measured_grain_diameter"], rel=0.02)
    assert np.log(diameter).std() == pytest.approx(tile.descriptors["measured_grain_sigma"], abs=0.03)


def test_voronoi_has_no_chosen_width() -> None:
    tiles = [polycrystal(0, i, 64, tessellation="voronoi", diameter=8.0) for i in range(20)]
    assert all(tile.descriptors["class"] != "bimodal" for tile in tiles)
    assert pooled(tiles, "measured_grain_sigma") == pytest.approx(0.29, abs=0.04)


def test_bimodal_is_wider_than_either_population() -> None:
    tiles = [polycrystal(0, i, 64, kind="bimodal") for i in range(20)]
    assert pooled(tiles, "measured_grain_sigma") > 0.35


@pytest.mark.parametrize("aspect_ratio", [1.0, 3.0])
def test_periodic_tiles_continue_across_their_edges(aspect_ratio: float) -> None:
    def seam(periodic: bool) -> float:
        tiles = [
            polycrystal(
                0, i, (40, 60), kind="equiaxed", aspect_ratio=aspect_ratio, periodic=periodic, twins=0.5
            )
            for i in range(12)
        ]
        pairs = [
            np.concatenate([t.grains[0] == t.grains[-1], t.grains[:, 0] == t.grains[:, -1]]) for t in tiles
        ]
        return float(np.mean(np.concatenate(pairs)))

    assert seam(True) > 0.75
    assert seam(False) < 0.15


def test_neighbours_are_distinct_and_interiors_flat() -> None:
    for kind in ("bimodal", "elongated", "equiaxed"):
        tiles = [polycrystal(0, i, 32, kind=kind) for i in range(30)]
        colour = np.concatenate([neighbour_differences(t.image) for t in tiles])
        edge = np.concatenate([neighbour_differences(t.grains[..., None]) for t in tiles]) > 0
        assert np.mean(colour[edge] > 24) > 0.9
        assert np.all(colour[~edge] == 0)


def test_flat_share_of_the_default_mix_at_32_px() -> None:
    shares = [np.mean(neighbour_differences(polycrystal(0, i, 32).image) <= 24) for i in range(200)]
    assert 0.86 < np.mean(shares) < 0.89


def test_classes_are_chosen_evenly() -> None:
    kinds = [polycrystal(0, i, 8).descriptors["class"] for i in range(200)]
    assert np.all(np.abs([kinds.count(kind) - 50 for kind in CLASSES]) < 25)


def test_fibre_tilts_by_rayleigh() -> None:
    tile = polycrystal(0, 0, 400, kind="textured", texture="fibre111", sharpness=6.0, diameter=8.0)
    in_crystal = rotate(tile.orientations, Z)
    tilt = np.degrees(np.arccos(np.minimum(np.abs(in_crystal @ TWIN_AXES.T).max(axis=1), 1)))
    assert len(tilt) > 1500
    assert tilt.mean() == pytest.approx(6 * np.sqrt(np.pi / 2), rel=0.05)
    across = rotate(tile.orientations, np.array([1.0, 0.0, 0.0]))
    assert np.abs(across.mean(axis=0)).max() < 0.06


def test_cube_stays_near_the_samples_axes() -> None:
    tile = polycrystal(0, 0, 300, texture="cube", sharpness=5.0, diameter=8.0)
    angle = np.degrees(misorientation_angle(tile.orientations, np.array([1.0, 0, 0, 0]), "m-3m"))
    assert np.sqrt(np.mean(angle**2)) == pytest.approx(5 * np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("texture", TEXTURES)
def test_perfect_textures_are_known(texture: str) -> None:
    tile = polycrystal(0, 0, 32, texture=texture, sharpness=0)
    red, green, blue = np.diag([255, 255, 255])
    known = {"cube": red, "fibre100": red, "fibre110": green, "fibre111": blue}
    if texture in known:
        assert np.abs(tile.image.astype(int) - known[texture]).max() <= 2
    else:
        assert len(np.unique(tile.image.reshape(-1, 3), axis=0)) > 5


def test_twins_are_sigma_3_bands_along_a_111_trace() -> None:
    plain, tile = [polycrystal(2, 0, 96, kind="equiaxed", diameter=60.0, sigma=0, twins=t) for t in (0, 1)]
    rows, columns = np.nonzero(plain.grains == np.argmax(np.bincount(plain.grains.ravel())))
    inside = tile.grains[rows, columns]
    assert len(np.unique(inside)) == 2
    parent, twin = tile.orientations[np.unique(inside)]
    assert np.degrees(misorientation_angle(parent, twin, "m-3m")) == pytest.approx(60)

    normals = rotate(conjugate(parent), TWIN_AXES)[:, :2]
    changes = [np.count_nonzero(np.diff(inside[np.argsort(columns * x + rows * y)])) for x, y in normals]
    assert min(changes) < 10
    assert np.median(changes) > 50


def test_twins_share_one_111_plane_with_their_grain() -> None:
    tile = polycrystal(1, 0, 64, kind="equiaxed", twins=1)
    plain = polycrystal(1, 0, 64, kind="equiaxed")
    count = len(plain.orientations)
    angle = np.degrees(misorientation_angle(tile.orientations[:, None], plain.orientations[None], "m-3m"))
    assert len(tile.orientations) > 1.5 * count
    assert np.mean(np.any(np.abs(angle[count:] - 60) < 1e-4, axis=1)) == 1


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"kind": "equiaxial"}, "kind"),
        ({"texture": "fiber111"}, "texture"),
        ({"tessellation": "poisson"}, "tessellation"),
        ({"diameter": 0}, "diameter"),
        ({"sigma": float("nan")}, "sigma"),
        ({"twins": 2}, "twins"),
        ({"tessellation": "voronoi", "sigma": 0.2}, "tessellation"),
        ({"tessellation": "voronoi", "kind": "bimodal"}, "tessellation"),
    ],
)
def test_wrong_requests_are_refused(wrong: dict, where: str) -> None:
    with pytest.raises(UserError) as error:
        polycrystal(0, 0, 32, **wrong)
    assert error.value.where == where


def test_a_size_out_of_range_is_named_size() -> None:
    with pytest.raises(UserError) as error:
        polycrystal(0, 0, (32, 2))
    assert error.value.where == "size"


@pytest.mark.slow
def test_a_tile_takes_no_longer_than_a_few_decompositions() -> None:
    """A tile of 64 px takes as long as 1.3 singular value decompositions of 128 x 128 numbers, on any machine."""
    code = """
import time
import numpy as np
from microgen_jax.crystal.polycrystal import polycrystal

def seconds(function):
    function(0)
    start = time.process_time()
    for i in range(200):
        function(i)
    return time.process_time() - start

matrix = np.random.default_rng(0).normal(size=(128, 128))
print(seconds(lambda i: polycrystal(0, i, 64)) / seconds(lambda i: np.linalg.svd(matrix)))
"""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=one_thread, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 4
