"""The channels of orientation maps: exact back, consistent under moves, on the manifold after reconstruction."""

import numpy as np
import pytest

from microgen_jax.crystal.embedding import embedding
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.orientations import from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.crystal.segmentation import grains_from_orientations
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.data.representations import Orientations, PhaseName

CUBIC = Orientations((PhaseName("Ni", "m-3m"),), min_pixels=1)
TWO_PHASES = Orientations((PhaseName("alpha", "m-3m"), PhaseName("beta", "6/mmm")), min_pixels=1)


def windows(count: int, size: int = 16) -> np.ndarray:
    out = []
    for index in range(count):
        made = polycrystal(1, index, size, kind="equiaxed")
        quaternions = made.orientations[made.grains]
        grains = grains_from_orientations(quaternions, "m-3m")
        out.append(np.concatenate([quaternions, 0 * grains[..., None], grains[..., None]], axis=-1))
    return np.stack(out).astype(np.float32)


def degrees_apart(a: np.ndarray, b: np.ndarray, group: str = "m-3m") -> np.ndarray:
    return np.degrees(misorientation_angle(a.astype(np.float64), b.astype(np.float64), group))


@pytest.mark.parametrize("reconstruct", ["grains", "none"])
def test_maps_come_back(reconstruct):
    window = windows(4)
    found = CUBIC.decode(CUBIC.encode(window), reconstruct)
    assert degrees_apart(found.quaternions, window[..., :4]).max() < 0.1
    assert found.residual.max() < 1e-3
    np.testing.assert_allclose(found.length, 1, atol=1e-3)
    for grains, expected in zip(found.grains, window[..., 5]):
        pairs = np.unique(np.stack([grains.ravel(), expected.ravel()]), axis=1).shape[1]
        assert pairs == len(np.unique(grains)) == len(np.unique(expected))


def test_channels_are_named_and_lie_in_the_range_of_a_network():
    channels = CUBIC.encode(windows(4))
    (first, structure), (second, values) = CUBIC.stages
    assert (first, second) == ("structure", "values")
    assert channels.shape[-1] == len(structure) + len(values) == 3 + embedding("m-3m").channels
    assert np.abs(channels).max() <= 1
    two = TWO_PHASES.stages[1][1]
    assert len(set(two)) == len(two) == embedding("m-3m").channels + embedding("6/mmm").channels + 2


def test_equivalent_orientations_have_the_same_channels():
    window = windows(1)
    turned = window.copy()
    symmetry = from_axis_angle(np.array([1.0, 1, 1]), 2 * np.pi / 3)
    turned[..., :4] = multiply(symmetry, window[..., :4].astype(np.float64))
    np.testing.assert_allclose(CUBIC.encode(turned), CUBIC.encode(window), atol=1e-5)


def test_two_phases_keep_theirs():
    random = np.random.default_rng(0)
    grains = np.repeat(np.arange(4), 4)[:, None].repeat(8, 1)
    phase = grains % 2
    quaternions = random_uniform(random, 4)[grains]
    window = np.concatenate([quaternions, phase[..., None], grains[..., None]], -1)[None].astype(np.float32)
    channels = TWO_PHASES.encode(window)
    hexagonal = channels[..., 3 + embedding("m-3m").channels : -2]
    assert not hexagonal[0][phase == 0].any()
    for reconstruct in ("grains", "none"):
        found = TWO_PHASES.decode(channels, reconstruct)
        np.testing.assert_array_equal(found.phase[0], phase)
        for number, group in enumerate(("m-3m", "6/mmm")):
            inside = phase == number
            assert degrees_apart(found.quaternions[0][inside], quaternions[inside], group).max() < 0.1


def test_noise_is_reconstructed_to_grains_of_one_orientation():
    window = windows(6, 24)
    channels = CUBIC.encode(window)
    noisy = channels + 0.2 * np.random.default_rng(0).standard_normal(channels.shape).astype(np.float32)
    found = Orientations(CUBIC.phases).decode(noisy)
    for grains, quaternions in zip(found.grains, found.quaternions):
        for grain in np.unique(grains):
            assert len(np.unique(quaternions[grains == grain], axis=0)) == 1
    close = degrees_apart(found.quaternions, window[..., :4]) < 5
    assert close.mean() > 0.95
    pixels = CUBIC.decode(noisy, "none")
    assert np.median(degrees_apart(pixels.quaternions, window[..., :4])) > np.median(
        degrees_apart(found.quaternions, window[..., :4])
    )


def test_no_two_neighbouring_grains_are_alike():
    """Regions that the structure parts and the values do not are one grain."""
    window = windows(1)
    window[..., 5] = 16 * window[..., 5] + np.arange(16)[:, None] // 4
    found = CUBIC.decode(CUBIC.encode(window))
    labels = grains_from_orientations(window[0, ..., :4].astype(np.float64), "m-3m")
    assert len(np.unique(found.grains)) == len(np.unique(labels))


def test_what_the_second_stage_is_given_is_a_structure():
    channels = CUBIC.encode(windows(2))[..., :3]
    noisy = channels + 0.3 * np.random.default_rng(0).standard_normal(channels.shape).astype(np.float32)
    given = CUBIC.given(noisy)
    assert set(np.unique(given[..., :2])) == {-1.0, 1.0}
    np.testing.assert_array_equal(CUBIC.given(given), given)


def test_maps_are_shown_in_ipf_colours():
    window = windows(2)
    expected = ipf_colour(window[..., :4].astype(np.float64), "Z", "m-3m").astype(int)
    assert np.abs(CUBIC.render(CUBIC.encode(window)).astype(int) - expected).max() <= 3
    np.testing.assert_array_equal(CUBIC.render_window(window), expected)
