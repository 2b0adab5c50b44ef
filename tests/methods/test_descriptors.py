"""Images in numbers: shares add up, a set is at no distance from itself, and faults move it away."""

import jax
import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.data.sources.value_range import boundaries
from microgen_jax.methods.descriptors import descriptors, distance


def drawn(first: int, count: int = 24) -> np.ndarray:
    grains = [polycrystal(0, first + n, 32, kind="equiaxed").grains for n in range(count)]
    return np.float32([boundaries(g[..., None]) for g in grains]) / 127.5 - 1


def moments(images):
    numbers = np.asarray(jax.jit(descriptors)(images), np.float64)
    return numbers.mean(0), (numbers**2).mean(0)


@pytest.fixture(scope="module")
def real():
    return drawn(0)


def test_shares_add_up(real):
    numbers = np.asarray(jax.jit(descriptors)(real[:3]))
    for start, stop in ((0, 8), (8, 26), (26, 31)):
        np.testing.assert_allclose(numbers[:, start:stop].sum(1), np.ones(3), rtol=1e-5)


def test_three_channels_have_a_histogram_each(real):
    shapes = [jax.eval_shape(descriptors, images).shape for images in (real, np.repeat(real, 3, -1))]
    assert shapes[1][1] == shapes[0][1] + 16


def test_faults_are_farther_away_than_other_images_of_the_kind(real):
    fresh = distance(moments(drawn(100)), moments(real))
    assert distance(moments(real), moments(real)) == 0
    rng = np.random.default_rng(0)
    line = real < 0
    holes = np.where(line & (rng.random(real.shape) < 0.1), 1, real).astype(np.float32)
    grey = (0.8 * real).astype(np.float32)
    one = np.repeat(real[:1], len(real), 0)
    negative = -real
    for fault in (holes, grey, one, negative):
        assert distance(moments(fault), moments(real)) > 2 * fresh
