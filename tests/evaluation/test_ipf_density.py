"""No texture has density one, a fibre has a peak, and resampled maps leave the key."""

import numpy as np
import pytest

from microgen_jax.crystal.ipf import direction_colour, ipf_colour
from microgen_jax.crystal.orientations import random_uniform
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import ipf_density


@pytest.mark.parametrize("group", ["m-3m", "6/mmm"])
def test_cells_fill_the_sector_and_no_texture_is_one(group: str) -> None:
    orientations = random_uniform(np.random.default_rng(0), 65536)
    images = ipf_colour(orientations, "Z", group).reshape(4, 128, 128, 3)
    density = ipf_density.density(*ipf_density.counts(images, group), group)
    share = ipf_density.sector(group).share
    assert share.sum() == pytest.approx(1, abs=0.01)
    assert np.sum(share * density) == pytest.approx(1, abs=0.02)
    assert np.sqrt(np.sum(share * (density - 1) ** 2)) < 0.2


def test_a_fibre_has_a_peak_where_it_points() -> None:
    images = np.stack(
        [polycrystal(0, i, 48, texture="fibre100", sharpness=6, kind="textured").image for i in range(4)]
    )
    density = ipf_density.density(*ipf_density.counts(images))
    corner = np.zeros((1, 1, 1, 3), np.uint8)
    corner[:] = direction_colour(np.array([[0.05, 0.02, 0.9986]]), "m-3m")
    place = ipf_density.counts(corner)[0][0].argmax()
    assert density[place] > 5
    assert np.nanmax(ipf_density.as_image(density)) == density.max()


def test_black_pixels_are_not_counted() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[0, 0, 0] = (255, 0, 0)
    found, indexed = ipf_density.counts(images)
    assert indexed.tolist() == [1, 0]
    assert found[1].sum() == 0
    assert np.isfinite(ipf_density.density(found[1:], indexed[1:])).all()


def test_averaging_neighbours_leaves_the_key() -> None:
    image = polycrystal(0, 0, 32).image
    blurred = ((image.astype(int) + np.roll(image, 1, axis=1)) // 2).astype(np.uint8)
    shares = ipf_density.off_key(np.stack([image, blurred]))
    assert shares[0] == 0
    assert shares[1] > 0.05
