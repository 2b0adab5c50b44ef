"""A quick look at generated images while a model is being trained: a few ratios, and one number to rank by."""

import numpy as np
from jaxtyping import UInt8

from microgen_jax.evaluation import baseline, statistics

WATCHED = (
    "grain_diameter",
    "boundary_fraction",
    "dead_ends",
    "floating_pieces",
    "colour_gradient",
    "two_point_x",
    "two_point_y",
    "phase_fraction",
    "colour_density",
    "intensity",
    "power_spectrum",
)
SPLITS = 8
MOST = 1e3  # a ratio counts as no more, also where the baseline is 0


def quality(
    generated: UInt8[np.ndarray, "M H W C"], real: UInt8[np.ndarray, "N H W C"], *, maps: bool | None = None
) -> dict[str, float]:
    """Distances over their real-against-real baseline.

    Args:
      generated: two at least.
      real: held-out images, `baseline.LEAST_TILES` at least.
      maps: whether colours are IPF colours; None looks.

    Returns:
      `quality/NAME` for those of WATCHED that the images have, and `quality`, the geometric mean of the ratios,
      none counted below 1: 1 is as good as real images.
    """
    images = statistics.classify_images(real, maps=maps)
    measured = statistics.measure(np.concatenate([real, generated]), images)
    plan = baseline.plan(np.arange(len(real)), len(generated), splits=SPLITS, resamples=0)
    ratios = {}
    for name in WATCHED:
        found = baseline.distances(measured[name], plan) if name in measured else None
        if found is None:
            continue
        value, usual = found
        by_chance = usual == 0 and baseline.chance(measured[name], plan) > 1 - baseline.LEVEL
        ratios[f"quality/{name}"] = 1.0 if by_chance else float(value / max(usual, value / MOST, 1e-12))
    if ratios:
        ratios["quality"] = float(np.exp(np.mean(np.log(np.maximum(list(ratios.values()), 1)))))
    return ratios
