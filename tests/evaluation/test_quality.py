"""Real images are near 1, blurred ones are not, and what cannot be measured is left out."""

import numpy as np
from scipy import ndimage

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation.quality import quality


def test_quality_ranks_images() -> None:
    real = np.stack([polycrystal(5, i, 32).image for i in range(48)])
    fresh = np.stack([polycrystal(5, 500 + i, 32).image for i in range(24)])
    soft, blurred = (ndimage.gaussian_filter(fresh, (0, sigma, sigma, 0)) for sigma in (0.5, 1.5))
    good, worse, worst = (quality(images, real) for images in (fresh, soft, blurred))
    assert 1 <= good["quality"] < 1.6
    assert good["quality"] < worse["quality"] < worst["quality"]
    assert set(good) == set(worst)
    assert "quality/colour_density" in good
    assert "quality/phase_fraction" not in good


def test_flat_images_have_what_can_be_had() -> None:
    real = np.stack([polycrystal(5, i, 32).image for i in range(12)])
    found = quality(np.full((6, 32, 32, 3), 200, np.uint8), real)
    assert found["quality"] > 2
    assert all(np.isfinite(value) for value in found.values())
