"""Whether generated images show the continuous conditions that were requested.

A condition (a strain, a temperature, a grain size) is read off an image by a ridge regression on its microstructure
statistics, fitted to real images whose condition is known:

  (1) y_hat = m_y + (x - m_x) (X^T X + lambda I)^-1 X^T y,  X, y centred, the columns of X of unit spread
  (2) leave-one-out prediction of a real image: y_i - (y_i - y_hat_i) / (1 - h_i - 1/N), h the diagonal of
      X (X^T X + lambda I)^-1 X^T (Allen 1974, PRESS)
  (3) R^2 = 1 - sum (y - y_hat)^2 / sum (y - mean y)^2

R^2 of requested against measured in generated images stands beside R^2 of eq. 2 in real ones, which is all that
the statistics can tell; lambda is the one that makes it largest.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from microgen_jax.evaluation.baseline import CONFIDENCE, Statistic

POINTS = 6  # of a curve that enter the regression
PENALTIES = np.logspace(-1, 4, 11)  # lambda
MIN_IMAGES = 20  # real images with a known condition
RESAMPLES = 400


class ConditioningAccuracy(NamedTuple):
    """How well generated images follow the conditions that were requested.

    Attributes:
      value: R^2 of requested against measured in generated images.
      baseline: R^2 of known against measured in real ones, eq. 2.
      interval: interval of the ratio of both, by bootstrap over images.
      requested: requested value of each generated image, [M].
      measured: value measured in each generated image, [M].
    """

    value: float
    baseline: float
    interval: tuple[float, float]
    requested: np.ndarray
    measured: np.ndarray


def summaries(statistics: Mapping[str, Statistic]) -> Float[np.ndarray, "N P"]:
    """A few numbers for each tile: means and spreads of distributions, points of curves; what a tile lacks is NaN."""
    columns = []
    for statistic in statistics.values():
        below = np.where(statistic.denominator > 0, statistic.denominator, np.nan)
        if statistic.distribution:
            mean = np.asarray(statistic.numerator @ statistic.grid) / below[:, 0]
            square = np.asarray(statistic.numerator @ statistic.grid**2) / below[:, 0]
            columns.append(np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))], axis=1))
            continue
        values = statistic.numerator / below
        values = values if statistic.transform is None else statistic.transform(values)
        chosen = np.unique(np.linspace(0, values.shape[1] - 1, POINTS).round().astype(int))
        columns.append(values[:, chosen])
    return np.concatenate(columns, axis=1)


def conditioning_accuracy(
    real: Float[np.ndarray, "N P"],
    known: Float[np.ndarray, "N"],
    generated: Float[np.ndarray, "M P"],
    requested: Float[np.ndarray, "M"],
    *,
    seed: int = 0,
) -> ConditioningAccuracy | None:
    """Compare requested with measured conditions; rows with NaN as their condition are left out.

    Returns:
      None where fewer than MIN_IMAGES images of a side have a condition, or all have the same.
    """
    real, known = real[np.isfinite(known)], known[np.isfinite(known)]
    generated, requested = generated[np.isfinite(requested)], requested[np.isfinite(requested)]
    if min(len(known), len(requested)) < MIN_IMAGES or not np.ptp(known) or not np.ptp(requested):
        return None
    mean = np.nan_to_num(np.nanmean(np.where(np.isfinite(real).any(axis=0), real, 0), axis=0))
    spread = np.nanstd(np.where(np.isfinite(real).any(axis=0), real, 0), axis=0)
    used = spread > 1e-12
    x, other = (
        np.nan_to_num((rows[:, used] - mean[used]) / spread[used], posinf=0, neginf=0)
        for rows in (real, generated)
    )
    left_out, weights = max(
        (_ridge(x, known, penalty) for penalty in PENALTIES), key=lambda fit: r2(known, fit[0])
    )
    measured = known.mean() + (other - x.mean(axis=0)) @ weights
    value, usual = r2(requested, measured), r2(known, left_out)
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(RESAMPLES):
        a, b = (rng.integers(len(rows), size=len(rows)) for rows in (requested, known))
        if np.ptp(requested[a]) and np.ptp(known[b]):
            ratios.append(r2(requested[a], measured[a]) / max(r2(known[b], left_out[b]), 0.01))
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ConditioningAccuracy(value, usual, (float(low), float(high)), requested, measured)


def r2(truth: Float[np.ndarray, "n"], found: Float[np.ndarray, "n"]) -> float:
    """Return R², eq. 3."""
    return float(1 - np.sum((truth - found) ** 2) / np.sum((truth - truth.mean()) ** 2))


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Leave-one-out predictions of eq. 2, and the weights of eq. 1."""
    centred = x - x.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    shrunk = values**2 / (values**2 + penalty)
    away = y - y.mean()
    fitted = left @ (shrunk * (left.T @ away))
    leverage = (left**2) @ shrunk + 1 / len(y)
    weights = right.T @ (values / (values**2 + penalty) * (left.T @ away))
    return y - (away - fitted) / np.maximum(1 - leverage, 1e-6), weights
