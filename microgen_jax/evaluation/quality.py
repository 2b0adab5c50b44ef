"""Quality of a few generated images in one number, for use while a model is trained."""

import numpy as np
from jaxtyping import UInt8

from microgen_jax.evaluation import baseline, statistics
from microgen_jax.evaluation.image_kind import classify_images

QUALITY_STATISTICS = (
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
MAX_RATIO = 1e3  # a ratio counts as no more, also where the baseline is 0


def quality(
    generated: UInt8[np.ndarray, "M H W C"],
    real: UInt8[np.ndarray, "N H W C"],
    *,
    ipf_maps: bool | None = None,
) -> dict[str, float]:
    """Return distances over their real-against-real baseline.

    Args:
      generated: generated images, two at least.
      real: held-out images, `baseline.MIN_REAL_TILES` at least.
      ipf_maps: whether colours are IPF colours; None decides by the colours.

    Returns:
      `quality/NAME` for those of QUALITY_STATISTICS that the images have, and `quality`, the geometric mean of the
      ratios, none counted below 1: 1 is as good as real images.
    """
    kind = classify_images(real, ipf_maps=ipf_maps)
    measured = statistics.measure(np.concatenate([real, generated]), kind)
    plan = baseline.plan_splits(np.arange(len(real)), len(generated), splits=SPLITS, resamples=0)
    ratios = {}
    for name in QUALITY_STATISTICS:
        found = baseline.distances(measured[name], plan) if name in measured else None
        if found is None:
            continue
        value, usual = found
        by_chance = usual == 0 and baseline.chance(measured[name], plan) > 1 - baseline.CONFIDENCE
        ratios[f"quality/{name}"] = 1.0 if by_chance else float(value / max(usual, value / MAX_RATIO, 1e-12))
    if ratios:
        ratios["quality"] = float(np.exp(np.mean(np.log(np.maximum(list(ratios.values()), 1)))))
    return ratios
