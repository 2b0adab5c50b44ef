"""Structure channels: exact on real maps, consistent under moves, forgiving of noise, closed on any input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.crystal.segmentation import join
from microgen_jax.crystal.structure import CUT_OFF, grains_from_structure, structure_channels
from microgen_jax.errors import UserError

LABELS = arrays(np.int32, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 4))


def regions(grains: np.ndarray) -> np.ndarray:
    return join(grains[:, 1:] == grains[:, :-1], grains[1:] == grains[:-1])


@settings(max_examples=60, deadline=None)
@given(LABELS)
def test_every_region_comes_back(grains):
    found = grains_from_structure(structure_channels(grains), min_pixels=1)
    np.testing.assert_array_equal(found, regions(grains))


def test_distance_is_the_euclidean_distance_to_another_grain():
    grains = polycrystal(2, 3, 32).grains
    expected = np.zeros(grains.shape)
    for grain in np.unique(grains):
        expected[grains == grain] = distance_transform_edt(grains == grain)[grains == grain]
    found = 1 + (structure_channels(grains)[..., 2] + 1) * (CUT_OFF - 1) / 2
    np.testing.assert_allclose(found, np.minimum(expected, CUT_OFF), atol=1e-6)


def test_a_stack_is_its_maps_and_names_of_grains_do_not_matter():
    grains = np.stack([polycrystal(1, index, 16).grains for index in range(3)])
    each = np.stack([structure_channels(one) for one in grains])
    np.testing.assert_array_equal(structure_channels(grains), each)
    np.testing.assert_array_equal(structure_channels(7 - 3 * grains), each)


def test_moderate_noise_changes_next_to_no_pixel():
    """A threshold at 0 loses every second map at this noise: one wrong edge of a boundary joins two grains."""
    random = np.random.default_rng(0)
    wrong = []
    for index in range(20):
        grains = regions(polycrystal(1, index, 32, kind="equiaxed").grains)
        noisy = structure_channels(grains) + 0.5 * random.standard_normal((32, 32, 3)).astype(np.float32)
        wrong.append(differing(grains, grains_from_structure(noisy)))
    assert np.mean(wrong) < 0.01


def differing(grains: np.ndarray, found: np.ndarray) -> float:
    """Return the share of pixels outside the largest overlap of their found region with a grain."""
    overlap = np.zeros((grains.max() + 1, found.max() + 1))
    np.add.at(overlap, (grains, found), 1)
    return 1 - overlap.max(axis=0).sum() / grains.size


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_any_input_gives_a_closed_network_of_regions_of_the_least_size(seed, least):
    noise = np.random.default_rng(seed).uniform(-1.5, 1.5, (12, 12, 3)).astype(np.float32)
    found = grains_from_structure(noise, min_pixels=least)
    np.testing.assert_array_equal(found, regions(found))
    assert np.bincount(found.ravel()).min() >= least


def test_what_is_no_structure_is_refused():
    with pytest.raises(UserError) as error:
        grains_from_structure(np.zeros((4, 4, 1), np.float32))
    assert error.value.where == "structure"
    with pytest.raises(UserError) as error:
        grains_from_structure(np.full((4, 4, 2), np.nan, np.float32))
    assert error.value.where == "structure"
