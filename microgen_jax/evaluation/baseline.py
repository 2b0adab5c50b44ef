"""How far generated images are from real ones, measured against how far real ones are from each other.

A statistic is kept as sums over tiles, so that any set of tiles, each taken w times, is pooled by

  (1) pooled = sum_i w_i numerator_i / sum_i w_i denominator_i

Two sets are compared at the same size of n tiles. K times the real tiles are split at random into disjoint halves A
and B, groups kept together, and n tiles are taken from either and, as G, from the generated ones:

  (2) value = mean d(A, G),   baseline = mean d(A, B),   ratio = value / baseline

so that the ratio is about 1 where generated and real tiles come from one distribution. The distance d
is the Wasserstein-1 distance of distributions (the integral of |F - G|, in the statistic's unit) and the root mean
square difference of curves and of single numbers.

  (3) Interval of the ratio: tiles (of real data: groups) are sampled with replacement, and value* and baseline* taken
      over the same splits of them. A resample adds noise of its own and lies farther off, so that only its deviations
      from the median resample are used (bias and spread: Efron and Tibshirani 1993, chapters 10 and 13):
      ratio* = (value + value* - median value*) / (baseline baseline* / median baseline*).
      Nearer than real to real means nothing for a distance, so that its interval reaches up to 1 at least.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csr_array

from microgen_jax.errors import UserError

SPLITS = 24  # K of eq. 2
RESAMPLES = 120  # of eq. 3
RESAMPLED_SPLITS = 6  # of the K, that each resample is taken over
CONFIDENCE = 0.98  # some twenty intervals are read side by side
MIN_BASELINE = 0.01  # of the baseline; a resample in which real tiles agree by chance counts as this
MIN_REAL_TILES = 4  # real; below it no two halves can be compared
BLOCK = 512  # tiles looked at one by one at once
MAX_NODES = 4096  # of a distribution's values; beyond it values are shared out to evenly spaced nodes


class Statistic(NamedTuple):
    """A statistic of many tiles.

    Attributes:
      numerator: [N, L], dense or sparse rows, one a tile.
      denominator: float64 [N, 1] or [N, L].
      grid: float64 [L], where the curve's points or the distribution's masses lie, ascending.
      distribution: whether the pooled values are a distribution's masses; if not they are a curve's points.
      unit: unit of the distance.
      axis: quantity on the grid, with its unit.
      transform: function of pooled values [B, L], applied before curves are compared.
    """

    numerator: np.ndarray | csr_array
    denominator: np.ndarray
    grid: np.ndarray
    distribution: bool
    unit: str
    axis: str
    transform: Callable[[np.ndarray], np.ndarray] | None = None


class SplitPlan(NamedTuple):
    """Which tiles are compared, the same for all statistics.

    Attributes:
      real, other, generated: A, B and G of eq. 2, float32 [K, N], 1 for the tiles of each split.
      times: float32 [resamples, N], how often each resample of eq. 3 has each tile.
      halves: bool [resamples, N], tiles of a random half of the real groups and of the generated tiles, for
        statistics that cannot bear a tile twice.
      size: n, tiles a side.
      tiles: real ones.
      groups: how many they come from.
    """

    real: np.ndarray
    other: np.ndarray
    generated: np.ndarray
    times: np.ndarray
    halves: np.ndarray
    size: int
    tiles: int
    groups: int


class BaselineRatio(NamedTuple):
    """A distance with its baseline and their ratio; curves are [3, L]: low, middle and high at CONFIDENCE.

    Attributes:
      value: distance of generated to real tiles, eq. 2.
      baseline: distance of real to real tiles, eq. 2.
      ratio: value over baseline.
      interval: interval of the ratio, eq. 3.
      real: pooled statistic of the real tiles, cumulated where it is a distribution.
      generated: pooled statistic of the generated tiles, likewise.
    """

    value: float
    baseline: float
    ratio: float
    interval: tuple[float, float]
    real: np.ndarray
    generated: np.ndarray


def curve(
    rows: Shaped[np.ndarray, "N L"],
    grid: Shaped[np.ndarray, "L"],
    unit: str,
    axis: str,
    *,
    denominator: Shaped[np.ndarray, "N _"] | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Statistic:
    """Return a statistic whose curve is the mean of the tiles' curves, or the ratio of their sums.

    Args:
      rows: curve of each tile.
      grid: positions of the points, ascending.
      unit: unit of the values.
      axis: quantity on the grid, with its unit.
      denominator: sums that the rows are divided by after pooling; None divides by the number of tiles.
      transform: function of pooled values [B, L] that is applied before curves are compared.
    """
    below = np.ones((len(rows), 1)) if denominator is None else np.asarray(denominator, np.float64)
    rows, grid = np.asarray(rows, np.float64), np.asarray(grid, np.float64)
    return Statistic(rows, below, grid, False, unit, axis, transform)


def scalar(
    numerator: Shaped[np.ndarray, "N"],
    unit: str,
    *,
    denominator: Shaped[np.ndarray, "N"] | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Statistic:
    """Return a statistic of a single number, a curve of one point.

    Args:
      numerator: value of each tile, or its numerator.
      unit: unit of the value.
      denominator: sums that the numerators are divided by after pooling; None divides by the number of tiles.
      transform: function of pooled values [B, 1] that is applied before they are compared.
    """
    below = None if denominator is None else denominator[:, None]
    return curve(numerator[:, None], np.zeros(1), unit, unit, denominator=below, transform=transform)


def distribution(
    values: Shaped[np.ndarray, "M"],
    tile: Int[np.ndarray, "M"],
    tiles: int,
    unit: str,
    axis: str,
    *,
    weights: Shaped[np.ndarray, "M"] | None = None,
) -> Statistic:
    """Return a distribution pooled over tiles.

    Args:
      values: values of all tiles; exact up to MAX_NODES different ones, then shared out between the two nearest of
        that many evenly spaced nodes, which keeps the mean.
      tile: number of the tile that each value comes from.
      tiles: number of tiles, N.
      unit: unit of the values.
      axis: quantity on the grid, with its unit.
      weights: weight of each value; None counts each once.
    """
    values = np.asarray(values, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    grid, place = np.unique(values, return_inverse=True)
    if len(grid) > MAX_NODES:
        grid = np.linspace(grid[0], grid[-1], MAX_NODES)
        position = (values - grid[0]) / (grid[1] - grid[0])
        place = np.minimum(position.astype(int), MAX_NODES - 2)
        upper = position - place
        weights = np.concatenate([weights * (1 - upper), weights * upper])
        place, tile = np.concatenate([place, place + 1]), np.concatenate([tile, tile])
    masses = csr_array((weights, (tile, place)), shape=(tiles, len(grid)))
    return Statistic(masses, np.asarray(masses.sum(axis=1))[:, None], grid, True, unit, axis)


def histogram(
    counts: Shaped[np.ndarray, "N L"], grid: Shaped[np.ndarray, "L"], unit: str, axis: str
) -> Statistic:
    """Return a distribution from counts.

    Args:
      counts: counts of each tile at each place of the grid.
      grid: values, ascending.
      unit: unit of the values.
      axis: quantity on the grid, with its unit.
    """
    counts = np.asarray(counts, np.float64)
    return Statistic(
        counts, counts.sum(axis=1, keepdims=True), np.asarray(grid, np.float64), True, unit, axis
    )


def plan_splits(
    groups: Shaped[np.ndarray, "R"],
    generated: int,
    *,
    seed: int = 0,
    splits: int = SPLITS,
    resamples: int = RESAMPLES,
) -> SplitPlan:
    """Return random splits and resamples.

    Args:
      groups: group of each real tile, real tiles being first in every statistic; where all are the same, each tile
        counts as a group of its own.
      generated: number of generated tiles, which follow.
      seed: seed of the splits and resamples.
      splits: number of splits, K of eq. 2.
      resamples: number of resamples of eq. 3.

    Raises:
      UserError: fewer than MIN_REAL_TILES real tiles, or fewer than two generated ones.
    """
    number = len(groups)
    if number < MIN_REAL_TILES:
        raise UserError("groups", f"{number} real tiles", f"give at least {MIN_REAL_TILES}")
    if generated < 2:
        raise UserError("generated", f"{generated} generated tiles", "give at least 2")
    names, group = np.unique(groups, return_inverse=True)
    if len(names) == 1:
        group = np.arange(number)
    count = len(np.unique(group))
    rng = np.random.default_rng(seed)
    halves = [_halves(rng, group, count) for _ in range(splits)]
    size = min(generated, *(len(half) for pair in halves for half in pair))
    chosen = np.zeros((3, splits, number + generated), np.float32)
    for k, (a, b) in enumerate(halves):
        chosen[0, k, rng.permutation(a)[:size]] = 1
        chosen[1, k, rng.permutation(b)[:size]] = 1
        chosen[2, k, number + rng.permutation(generated)[:size]] = 1
    times = np.concatenate(
        [
            rng.multinomial(count, np.full(count, 1 / count), resamples)[:, group],
            rng.multinomial(generated, np.full(generated, 1 / generated), resamples),
        ],
        axis=1,
    )
    halves = [
        np.concatenate(
            [rng.permutation(count)[group] < (count + 1) // 2, rng.permutation(generated) < generated // 2]
        )
        for _ in range(resamples)
    ]
    return SplitPlan(*chosen, times.astype(np.float32), np.array(halves), size, number, count)


def compare(statistic: Statistic, plan: SplitPlan) -> BaselineRatio | None:
    """Return value, baseline and their ratio; None where the statistic does not exist for one side.

    The baseline is 0 where all real tiles agree exactly; the ratio is then 1 if the generated ones agree as well,
    and infinite if not, with an interval from 1 on where chance could have put all tiles that differ on their side.
    """
    found = distances(statistic, plan)
    if found is None:
        return None
    value, baseline = found
    a, g = (pool(statistic, chosen) for chosen in (plan.real, plan.generated))
    values, baselines, real, generated = _resampled(statistic, plan)
    bands = _band(statistic, a, real), _band(statistic, g, generated)
    if baseline <= 1e-12 * max(1.0, float(np.abs(statistic.grid).max())):
        ratio = 1.0 if value <= baseline else float("inf")
        by_chance = chance(statistic, plan) > 1 - CONFIDENCE
        return BaselineRatio(value, baseline, ratio, (1.0 if by_chance else ratio, ratio), *bands)
    low, high = interval(value, baseline, values, baselines)
    return BaselineRatio(value, baseline, value / baseline, (low, max(high, 1.0)), *bands)


def distances(statistic: Statistic, plan: SplitPlan) -> tuple[float, float] | None:
    """Value and baseline of eq. 2 alone; None where the statistic does not exist for one side."""
    if not len(statistic.grid):
        return None
    a, b, g = (pool(statistic, chosen) for chosen in (plan.real, plan.other, plan.generated))
    if not all(np.isfinite(part).all() for part in (a, b, g)):
        return None
    return float(distance(statistic, a, g).mean()), float(distance(statistic, a, b).mean())


def chance(statistic: Statistic, plan: SplitPlan) -> float:
    """Of tiles that differ where all real ones agree: the probability that chance puts all on the generated side."""
    number = len(statistic.denominator)
    usual = pool(statistic, (np.arange(number) < plan.tiles)[None].astype(float))
    least = 1e-12 * max(1.0, float(np.abs(statistic.grid).max()))
    there, differing = np.zeros(number, bool), 0
    for start in range(0, number, BLOCK):
        rows = np.arange(start, min(start + BLOCK, number))
        each = pool(take(statistic, rows), np.eye(len(rows)))
        there[rows] = np.isfinite(each).all(axis=1)
        each = each[there[rows]]
        differing += int(np.sum(distance(statistic, each, np.broadcast_to(usual, each.shape)) > least))
    generated, total = int(np.sum(there[plan.tiles :])), int(np.sum(there))
    n = np.arange(min(differing, generated))
    return float(np.prod((generated - n) / (total - n)))


def interval(
    value: float, baseline: float, values: Float[np.ndarray, "R"], baselines: Float[np.ndarray, "R"]
) -> tuple[float, float]:
    """Eq. 3: the interval of value / baseline from those of the resamples."""
    ratio = value / baseline
    relative = np.maximum(baselines / max(np.median(baselines), MIN_BASELINE * baseline), MIN_BASELINE)
    ratios = (value + values - np.median(values)) / (baseline * relative)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return max(0.0, min(ratio, float(low))), max(ratio, float(high))


def pool(statistic: Statistic, weights: Float[np.ndarray, "B N"]) -> Float[np.ndarray, "B L"]:
    """Eq. 1, transformed; NaN where nothing was counted."""
    weights = np.asarray(weights, np.float64)
    above = np.asarray((statistic.numerator.T @ weights.T).T)
    below = weights @ statistic.denominator
    pooled = above / np.where(below > 0, below, np.nan)
    return pooled if statistic.transform is None else statistic.transform(pooled)


def distance(
    statistic: Statistic, a: Float[np.ndarray, "B L"], b: Float[np.ndarray, "B L"]
) -> Float[np.ndarray, "B"]:
    """Return the distance d of eq. 2 between pooled values, row by row, in the statistic's unit."""
    if statistic.distribution:
        return np.abs(np.cumsum(a - b, axis=1)[:, :-1]) @ np.diff(statistic.grid)
    return np.sqrt(np.mean((a - b) ** 2, axis=1))


def _halves(rng: np.random.Generator, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of two disjoint sets of groups, as even in tiles as groups in a random order allow."""
    order = rng.permutation(count)
    sizes = np.bincount(group, minlength=count)
    filled = np.cumsum(sizes[order])
    cut = 1 + int(np.argmin(np.abs(filled[:-1] - len(group) / 2)))
    first = np.isin(group, order[:cut])
    return np.flatnonzero(first), np.flatnonzero(~first)


def _resampled(
    statistic: Statistic, plan: SplitPlan
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """value* and baseline* of eq. 3, and the pooled real and generated tiles of every resample that has them all."""
    k = min(RESAMPLED_SPLITS, len(plan.real))
    chosen = np.concatenate([plan.real[:k], plan.other[:k], plan.generated[:k]])
    rows = []
    for times in plan.times:
        a, b, g = pool(statistic, chosen * times).reshape(3, k, -1)
        rows.append(
            (distance(statistic, a, g).mean(), distance(statistic, a, b).mean(), a.mean(0), g.mean(0))
        )
    usable = [row for row in rows if np.isfinite(row[0]) and np.isfinite(row[1])]
    return tuple(np.array(column) for column in zip(*(usable or rows)))


def _band(statistic: Statistic, pooled: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    if statistic.distribution:
        pooled, resampled = np.cumsum(pooled, axis=1), np.cumsum(resampled, axis=1)
    middle = pooled.mean(axis=0)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return np.stack([np.minimum(low, middle), middle, np.maximum(high, middle)])


def take(statistic: Statistic, rows: Int[np.ndarray, "n"]) -> Statistic:
    """Return the statistic of some of the tiles.

    Args:
      statistic: statistic of all tiles.
      rows: numbers of the tiles.
    """
    return statistic._replace(numerator=statistic.numerator[rows], denominator=statistic.denominator[rows])
