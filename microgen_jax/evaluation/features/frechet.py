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
(5) Inception Score: exp of the mean over the samples of KL(p(y|x) || p(y)), p(y|x) the class probabilities of the
    network and p(y) their mean (Salimans et al. 2016).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.errors import UserError


class Moments(NamedTuple):
    """First and second moments of a set of any size.

    Attributes:
      count: number of vectors.
      mean: float64 [D].
      scatter: float64 [D, D], the sum of outer products of deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, float64 [D, D]."""
        return self.scatter / (self.count - 1)


class Kernel(NamedTuple):
    """A kernel distance, its standard error over subsets, and the p-value of its permutation test."""

    value: float
    standard_error: float
    p_value: float


class Scores(NamedTuple):
    """Eqs. 3 and 4."""

    precision: float
    recall: float
    density: float
    coverage: float


def moments(batches: Iterable[Float[np.ndarray, "_ D"]]) -> Moments:
    """Return the moments of all batches together, one pass (Chan et al. 1983).

    Raises:
      UserError: fewer than two vectors.
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
        raise UserError("batches", f"{count} vectors", "a covariance needs at least two")
    return Moments(count, mean, scatter)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return eq. 1. The trace of the root is that of the symmetric (A^(1/2) B A^(1/2))^(1/2), and so is real."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ b.covariance @ root)
    traces = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sum(np.sqrt(np.maximum(mixed, 0)))
    return float(np.sum((a.mean - b.mean) ** 2) + traces)


def frechet_between(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]) -> float:
    """Return eq. 1 between sets; where they have fewer vectors than dimensions, from their products with each other.

    With the centred vectors as rows of A and B, tr (S1 S2)^(1/2) is the sum of the singular values of A B^T, over
    the root of (N - 1)(M - 1).
    """
    if min(len(a), len(b)) >= a.shape[1]:
        return frechet_distance(moments([a]), moments([b]))
    (away_a, mean_a), (away_b, mean_b) = (_centred(rows) for rows in (a, b))
    scale = np.sqrt((len(a) - 1) * (len(b) - 1))
    root_trace = np.linalg.svd(away_a @ away_b.T, compute_uv=False).sum() / scale
    traces = np.sum(away_a**2) / (len(a) - 1) + np.sum(away_b**2) / (len(b) - 1)
    return float(np.sum((mean_a - mean_b) ** 2) + traces - 2 * root_trace)


def kernel_distance(
    a: Float[np.ndarray, "N D"],
    b: Float[np.ndarray, "M D"],
    *,
    permutations: int = 200,
    subsets: int = 50,
    subset_size: int = 500,
    seed: int = 0,
) -> Kernel:
    """Return eq. 2 over all pairs of both sets; holds (N + M)^2 numbers, so give some thousands of vectors at most.

    Args:
      a: vectors of the first set.
      b: vectors of the second set.
      permutations: permutations of the test that both sets come from one distribution; 0 leaves it out (p_value is
        NaN).
      subsets: random subsets whose spread gives the standard error, scaled to the full size.
      subset_size: vectors of a subset, half of a set at most.
      seed: seed of subsets and permutations.

    Raises:
      UserError: fewer than four vectors on a side.
    """
    if min(len(a), len(b)) < 4:
        raise UserError("a", f"{len(a)} and {len(b)} vectors", "give at least four a side")
    rng = np.random.default_rng(seed)
    table = kernel(np.concatenate([a, b]))
    first, second = np.arange(len(a)), len(a) + np.arange(len(b))
    value = discrepancy(table, first, second)
    size = min(subset_size, len(a) // 2, len(b) // 2)
    spread = [
        discrepancy(table, rng.permutation(first)[:size], rng.permutation(second)[:size])
        for _ in range(subsets)
    ]
    error = float(np.std(spread, ddof=1) * np.sqrt(size / min(len(a), len(b))))
    if not permutations:
        return Kernel(value, error, float("nan"))
    marks = np.zeros((len(table), permutations))
    for column in marks.T:
        column[rng.permutation(len(table))[: len(a)]] = 1
    beyond = int(np.sum(_discrepancies(table, marks, 1 - marks) >= value))
    return Kernel(value, error, (1 + beyond) / (1 + permutations))


def kernel(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
    """Return the kernel k of eq. 2 between all pairs."""
    rows = vectors.astype(np.float64)
    return (rows @ rows.T / rows.shape[1] + 1) ** 3


def discrepancy(table: Float[np.ndarray, "P P"], a: Int[np.ndarray, "N"], b: Int[np.ndarray, "M"]) -> float:
    """Eq. 2 between the vectors a and b of a kernel's table."""
    inside = sum(_off_diagonal_mean(table[np.ix_(part, part)]) for part in (a, b))
    return float(inside - 2 * table[np.ix_(a, b)].mean())


def squared_distances(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
    """Squared distances between all pairs, 0 on the diagonal."""
    rows = vectors.astype(np.float64)
    products = rows @ rows.T
    own = np.diag(products)
    squares = np.maximum(own[:, None] + own[None] - 2 * products, 0)
    np.fill_diagonal(squares, 0)
    return squares


def scores(
    squares: Float[np.ndarray, "P P"],
    real: Int[np.ndarray, "N"],
    generated: Int[np.ndarray, "M"],
    k: tuple[int, int] = (3, 5),
) -> Scores:
    """Eqs. 3 and 4 between vectors of a table of squared distances.

    Args:
      squares: squared distances between all vectors.
      real: rows of the real vectors.
      generated: rows of the generated vectors.
      k: number of the neighbour that a ball reaches, for precision and recall, and for density and coverage.

    Raises:
      UserError: a side has no such neighbour.
    """
    if min(len(real), len(generated)) <= max(k):
        raise UserError(
            "k", f"{max(k)} neighbours of {len(real)} and {len(generated)} vectors", "give more vectors"
        )
    across = squares[np.ix_(generated, real)]
    inside = squares[np.ix_(real, real)]
    own = squares[np.ix_(generated, generated)]
    held = across <= _reach(inside, k[1])
    return Scores(
        precision=float((across <= _reach(inside, k[0])).any(axis=1).mean()),
        recall=float((_reach(own, k[0]) >= across.T).any(axis=1).mean()),
        density=float(held.sum() / (k[1] * len(generated))),
        coverage=float(held.any(axis=0).mean()),
    )


def inception_score(logits: Float[np.ndarray, "N K"]) -> float:
    """Eq. 5 over all samples at once."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    return float(np.exp(np.mean(np.sum(p * (log_p - np.log(p.mean(axis=0))[None]), axis=1))))


def _centred(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    return rows - mean, mean


def _reach(squares: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each vector to its k-th nearest other one, [1, N]."""
    return np.partition(squares, k, axis=1)[None, :, k]


def _discrepancies(table: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Eq. 2 for many pairs of sets, marked by the columns of a and b, [N, P] of 0 and 1."""
    to_a, to_b = table @ a, table @ b
    diagonal = np.diag(table)
    sizes = a.sum(axis=0), b.sum(axis=0)
    inside = [
        (np.sum(marks * to, axis=0) - diagonal @ marks) / (size * (size - 1))
        for marks, to, size in zip((a, b), (to_a, to_b), sizes)
    ]
    return inside[0] + inside[1] - 2 * np.sum(a * to_b, axis=0) / (sizes[0] * sizes[1])


def _off_diagonal_mean(square: np.ndarray) -> float:
    n = len(square)
    return (square.sum() - np.trace(square)) / (n * (n - 1))
