"""Images in a few numbers each, and the distance of two sets of images by these; without a network.

Of every image: shares of pixels by intensity; shares of pixels by sign and by how many of the eight neighbours are
bright, which distinguishes lines, their ends and their crossings from specks; shares of pixel corners by how many
boundaries meet there; and the root of the power in octaves of frequency. A distance needs sums over images only:

  (1) d² = mean over the numbers of  [(m - m')² + (s - s')²] / max(s', MIN_SPREAD)²

m and s being mean and standard deviation over the generated, m' and s' over the real images: the Fréchet distance
of independent normal distributions, in units of the real images' spread.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LEVELS = 8  # of intensity
STEP = 24 * 2 / 255  # between neighbours, above which there is a boundary, as in crystal.segment
MIN_SPREAD = 0.05  # spread below which a number does not weigh more


def descriptors(images: Float[Array, "B H W C"]) -> Float[Array, "B F"]:
    """Return the numbers of every image, float32.

    Args:
      images: images in [-1, 1].
    """
    grey = images.mean(axis=-1)
    return jnp.concatenate(
        [_intensity(images), _neighbourhood(grey), _corners(images), _power(grey)], axis=-1
    )


def distance(generated: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the distance (1) between two sets of images.

    Args:
      generated: means of the generated images' numbers and of their squares, [F] each.
      real: means of the real images' numbers and of their squares.
    """
    mean, spread = _moments(*generated)
    real_mean, real_spread = _moments(*real)
    unit = np.maximum(real_spread, MIN_SPREAD)
    return float(np.sqrt(np.mean(((mean - real_mean) ** 2 + (spread - real_spread) ** 2) / unit**2)))


def _moments(mean: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _intensity(images: Array) -> Array:
    """Return shares of pixels in LEVELS even bins, of each channel: [B, C LEVELS]."""
    level = jnp.clip(jnp.floor((images + 1.0) * (LEVELS / 2)), 0, LEVELS - 1).astype(jnp.int32)
    return jax.nn.one_hot(level, LEVELS).mean(axis=(1, 2)).reshape(len(images), -1)


def _neighbourhood(grey: Array) -> Array:
    """Return shares of inner pixels by (dark or bright, bright ones among the eight neighbours): [B, 18]."""
    bright = (grey > 0).astype(jnp.int32)
    rows = bright[:, :-2] + bright[:, 1:-1] + bright[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    centre = bright[:, 1:-1, 1:-1]
    return jax.nn.one_hot(9 * centre + around - centre, 18).mean(axis=(1, 2))


def _corners(images: Array) -> Array:
    """Return shares of pixel corners where 0, 1, ... 4 boundaries meet: [B, 5]; where just one does, it ends."""
    across = (jnp.abs(jnp.diff(images, axis=2)).max(axis=-1) > STEP).astype(jnp.int32)
    down = (jnp.abs(jnp.diff(images, axis=1)).max(axis=-1) > STEP).astype(jnp.int32)
    meeting = across[:, :-1] + across[:, 1:] + down[:, :, :-1] + down[:, :, 1:]
    return jax.nn.one_hot(meeting, 5).mean(axis=(1, 2))


def _power(grey: Array) -> Array:
    """Return the root of the mean power in octaves of frequency, from one period an image up: [B, octaves]."""
    height, width = grey.shape[1:]
    side = min(height, width)
    cycles = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * side
    octave = np.floor(np.log2(np.maximum(cycles, 0.5))).astype(int)
    bands = [octave == n for n in range(int(math.log2(side)))]
    power = jnp.abs(jnp.fft.fft2(grey)) ** 2 / (height * width)
    means = jnp.einsum("bhw,nhw->bn", power, np.float32([band / band.sum() for band in bands]))
    return jnp.sqrt(means)
