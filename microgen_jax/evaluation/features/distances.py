"""Distances of feature vectors beside their real-against-real baseline, over the splits of `baseline`.

What compares neighbours, or estimates a rank, cannot bear a vector twice. The spread of these distances is therefore
that over random halves of the groups, which is as wide as that over fresh sets of the full size (the delete-half
jackknife: Shao and Wu 1989); it enters `baseline`'s equation 3 like the bootstrap does.

The kernel distance is unbiased, so that real against real scatters round 0: it has no ratio but a standard error and,
if the real tiles are groups of their own, the p-value of a permutation test. Precision, recall, density and coverage
are scores: their baseline is what one half of the real tiles scores against the other, and less than it is worse.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.errors import UserError
from microgen_jax.evaluation import baseline
from microgen_jax.evaluation.baseline import SplitPlan
from microgen_jax.evaluation.features import frechet

SPLITS = 6  # of the plan's
RESAMPLES = 36
PERMUTATIONS = 400
MAX_VECTORS = 1500  # vectors a side of what holds all pairs
BLOCK = 1024  # vectors whose distances to all known ones are held at once
MIN_VECTORS = 50  # vectors a side below which features are not compared
SCORES = frechet.Scores._fields
MEASURES = ("fd", "fd_mid", "kd", *SCORES, "score")


class FeatureDistance(NamedTuple):
    """A distance of features with its baseline.

    Attributes:
      value: distance of generated to real vectors, or their score.
      baseline: the same of real to real vectors.
      ratio: value over baseline, or None.
      interval: interval of the ratio, or None.
      standard_error: standard error of the kernel distance, else None.
      p_value: p-value of the kernel distance's permutation test, else None.
      size: number of vectors a side.
    """

    value: float
    baseline: float
    ratio: float | None
    interval: tuple[float, float] | None
    standard_error: float | None
    p_value: float | None
    size: int


class _Split(NamedTuple):
    a: np.ndarray
    b: np.ndarray
    g: np.ndarray

    def first(self, most: int) -> "_Split":
        return _Split(*(rows[:most] for rows in self))

    def among(self, kept: np.ndarray) -> "_Split":
        return _Split(*(rows[kept[rows]] for rows in self))


def compare(
    pooled: Float[np.ndarray, "N D"],
    mid: Float[np.ndarray, "N _"],
    logits: Float[np.ndarray, "N _"] | None,
    plan: SplitPlan,
    *,
    seed: int = 0,
) -> dict[str, FeatureDistance]:
    """Return all MEASURES of the features of real tiles and the generated ones after them; `score` needs logits.

    Args:
      pooled: features of the pooled tap.
      mid: features of the mid-level tap.
      logits: logits of the classes, or None.
      plan: splits of the tiles.
      seed: seed of the permutation test.

    Raises:
      UserError: the plan compares fewer than MIN_VECTORS tiles a side.
    """
    if plan.size < MIN_VECTORS:
        raise UserError("plan", f"{plan.size} tiles a side", f"compare at least {MIN_VECTORS} in features")
    splits = [
        _Split(*(np.flatnonzero(chosen[k]) for chosen in (plan.real, plan.other, plan.generated)))
        for k in range(min(SPLITS, len(plan.real)))
    ]
    rng = np.random.default_rng(seed)
    whole, halved = [], []
    for k, split in enumerate(splits):
        small = _Split(*(rng.permutation(rows)[:MAX_VECTORS] for rows in split))
        tables = _Tables(pooled, np.concatenate(small))
        whole.append(_measure(pooled, mid, logits, split, small, tables))
        for half in plan.halves[k : RESAMPLES : len(splits)]:
            part = split.among(half), small.among(half)
            if min(len(rows) for rows in (*part[0], *part[1])) > 5:
                halved.append(_measure(pooled, mid, logits, *part, tables))
    small = splits[0].first(MAX_VECTORS)
    alone = plan.groups == plan.tiles
    test = frechet.kernel_distance(
        pooled[small.a], pooled[small.g], permutations=PERMUTATIONS if alone else 0, seed=seed
    )
    return {name: _distance(name, whole, halved, test, plan.size) for name in whole[0]}


def nearest(vectors: Float[np.ndarray, "N D"], known: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "N"]:
    """FeatureDistance of each vector to the nearest known one, float64."""
    centre = known.mean(axis=0, dtype=np.float64)
    rows, columns = vectors - centre, known - centre
    own = np.sum(columns**2, axis=1)
    found = []
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        squares = own - 2 * (part @ columns.T) + np.sum(part**2, axis=1)[:, None]
        found.append(np.sqrt(np.maximum(squares.min(axis=1), 0)))
    return np.concatenate(found)


class _Tables:
    """Kernel and squared distances between all pairs of some rows, asked for by the rows' own numbers."""

    def __init__(self, vectors: np.ndarray, rows: Int[np.ndarray, "P"]) -> None:
        self.kernel = frechet.kernel(vectors[rows])
        self.squares = frechet.squared_distances(vectors[rows])
        self._place = np.full(len(vectors), -1)
        self._place[rows] = np.arange(len(rows))

    def places(self, split: _Split) -> _Split:
        return _Split(*(self._place[rows] for rows in split))


def _measure(
    pooled: np.ndarray,
    mid: np.ndarray,
    logits: np.ndarray | None,
    split: _Split,
    small: _Split,
    tables: _Tables,
) -> dict[str, tuple[float, float]]:
    """Value and baseline of every measure on one split."""
    a, b, g = tables.places(small)
    found = {
        name: tuple(frechet.frechet_between(vectors[split.a], vectors[rows]) for rows in (split.g, split.b))
        for name, vectors in (("fd", pooled), ("fd_mid", mid))
    }
    found["kd"] = tuple(frechet.discrepancy(tables.kernel, a, rows) for rows in (g, b))
    value, usual = (frechet.scores(tables.squares, a, rows) for rows in (g, b))
    found |= {name: (getattr(value, name), getattr(usual, name)) for name in SCORES}
    if logits is not None:
        found["score"] = tuple(frechet.inception_score(logits[rows]) for rows in (split.g, split.a))
    return found


def _distance(
    name: str, whole: list[dict], halved: list[dict], test: frechet.Kernel, size: int
) -> FeatureDistance:
    value, usual = np.mean([found[name] for found in whole], axis=0)
    if name == "kd":
        p_value = None if np.isnan(test.p_value) else test.p_value
        found = float(value), float(usual), None, None
        return FeatureDistance(*found, test.standard_error, p_value, min(size, MAX_VECTORS))
    size = min(size, MAX_VECTORS) if name in SCORES else size
    if usual <= 0 or not halved:
        return FeatureDistance(float(value), float(usual), None, None, None, None, size)
    values, baselines = np.array([found[name] for found in halved]).T
    between = baseline.interval(float(value), float(usual), values, baselines)
    return FeatureDistance(float(value), float(usual), float(value / usual), between, None, None, size)
