"""Distances between two sets of feature vectors, whatever network the features come from.

(1) Frechet distance of the Gaussians that share the sets' moments: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))
    (Dowson and Landau 1982; Heusel et al. 2017, section 3). It falls with the number of samples: compare sets of
    equal size only.
(2) Kernel distance: the unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 4) with
    the kernel k(x, y) = (x . y / d + 1)^3 (Binkowski et al. 2018, "KID").
(3) Improved precision and recall: the share of samples inside the union of balls round the other set's points,
    each reaching its k-th neighbour in its own set (Kynkaanniemi et al. 2019, eqs. 1 and 2; k = 3).
(4) Density and coverage (Naeem et al. 2020, eqs. 3 and 4; k = 5): how many real balls hold a sample, over k; the
    share of real balls that hold any sample.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

BLOCK = 1024  # rows of the distance matrix held at once


class Moments(NamedTuple):
    """First and second moments of a set of any size.

    Attributes:
      count: of vectors.
      mean: float64 [D].
      scatter: float64 [D, D], the sum of outer products of deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return self.scatter / (self.count - 1)


class Kernel(NamedTuple):
    """A kernel distance, its standard error over subsets, and the p-value of its permutation test."""

    value: float
    standard_error: float
    p_value: float


def moments(batches: Iterable[Float[np.ndarray, "_ D"]]) -> Moments:
    """Moments of all batches together, one pass (Chan et al. 1983).

    Raises:
      ValueError: fewer than two vectors.
    """
    count, mean, scatter = 0, 0.0, 0.0
    for batch in batches:
        rows = np.asarray(batch, np.float64)
        centre = rows.mean(axis=0)
        away = rows - centre
        step = centre - mean
        total = count + len(rows)
        scatter = scatter + away.T @ away + np.outer(step, step) * (count * len(rows) / total)
        mean, count = mean + step * (len(rows) / total), total
    if count < 2:
        raise ValueError(f"{count} vectors have no covariance: two are the least")
    return Moments(count, mean, scatter)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Eq. 1. The trace of the root is that of the symmetric (A^(1/2) B A^(1/2))^(1/2), and so is real."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ b.covariance @ root)
    traces = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sum(np.sqrt(np.maximum(mixed, 0)))
    return float(np.sum((a.mean - b.mean) ** 2) + traces)


def kernel_distance(
    a: Float[np.ndarray, "N D"],
    b: Float[np.ndarray, "M D"],
    *,
    permutations: int = 200,
    subsets: int = 50,
    subset_size: int = 500,
    seed: int = 0,
) -> Kernel:
    """Eq. 2 over all pairs of both sets; holds (N + M)^2 numbers, so give some thousands of vectors at most.

    Args:
      permutations: of the test that both sets are drawn from one distribution; 0 leaves it out (p_value is NaN).
      subsets, subset_size: of the standard error: the spread of the estimate over random halves-or-smaller
        subsets, scaled to the full size.

    Raises:
      ValueError: fewer than four vectors on a side.
    """
    if min(len(a), len(b)) < 4:
        raise ValueError(f"{len(a)} and {len(b)} vectors: four a side are the least")
    rng = np.random.default_rng(seed)
    both = np.concatenate([a, b]).astype(np.float64)
    kernel = (both @ both.T / both.shape[1] + 1) ** 3
    first, second = np.arange(len(a)), len(a) + np.arange(len(b))
    value = _discrepancy(kernel, first, second)
    size = min(subset_size, len(a) // 2, len(b) // 2)
    drawn = [
        _discrepancy(kernel, rng.permutation(first)[:size], rng.permutation(second)[:size])
        for _ in range(subsets)
    ]
    error = float(np.std(drawn, ddof=1) * np.sqrt(size / min(len(a), len(b))))
    if not permutations:
        return Kernel(value, error, float("nan"))
    beyond = 0
    for _ in range(permutations):
        order = rng.permutation(len(both))
        beyond += _discrepancy(kernel, order[: len(a)], order[len(a) :]) >= value
    return Kernel(value, error, (1 + beyond) / (1 + permutations))


def precision_recall(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"], k: int = 3
) -> tuple[float, float]:
    """Precision and recall of eq. 3.

    Raises:
      ValueError: no more than k vectors on a side.
    """
    real_reach, generated_reach = reach(real, k), reach(generated, k)
    precision = np.concatenate([(d <= real_reach).any(axis=1) for d in _distances(generated, real)])
    recall = np.concatenate([(d <= generated_reach).any(axis=1) for d in _distances(real, generated)])
    return float(precision.mean()), float(recall.mean())


def density_coverage(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"], k: int = 5
) -> tuple[float, float]:
    """Density and coverage of eq. 4; both are 1 at most in expectation where the sets are alike.

    Raises:
      ValueError: no more than k real vectors.
    """
    real_reach = reach(real, k)
    held, covered = 0, np.zeros(len(real), bool)
    for distances in _distances(generated, real):
        inside = distances <= real_reach
        held += int(inside.sum())
        covered |= inside.any(axis=0)
    return held / (k * len(generated)), float(covered.mean())


def reach(points: Float[np.ndarray, "N D"], k: int) -> Float[np.ndarray, "N"]:
    """Distance of each point to its k-th nearest other point.

    Raises:
      ValueError: no more than k points.
    """
    if len(points) <= k:
        raise ValueError(f"{len(points)} vectors have no {k}-th neighbour")
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for d in _distances(points, points)])


def _distances(rows: np.ndarray, columns: np.ndarray) -> Iterable[np.ndarray]:
    for start in range(0, len(rows), BLOCK):
        yield cdist(rows[start : start + BLOCK], columns)


def _discrepancy(kernel: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    inside = sum(_off_diagonal_mean(kernel[np.ix_(part, part)]) for part in (a, b))
    return float(inside - 2 * kernel[np.ix_(a, b)].mean())


def _off_diagonal_mean(square: np.ndarray) -> float:
    n = len(square)
    return (square.sum() - np.trace(square)) / (n * (n - 1))
