"""Voronoi and Laguerre tessellations of a torus, with grains of prescribed sizes.

  (1) Pixel x belongs to the seed i of least power |x - s_i|^2 - w_i, the difference taken round the torus.
      Equal weights give Voronoi's cells, others Laguerre's (Aurenhammer 1987, doi:10.1137/0216006).
  (2) Cells of prescribed areas a_i: repeat s_i <- s_i + m (centroid_i - s_i), w_i <- w_i + k (a_i - area_i),
      the relaxation of Bourne et al. 2020 (doi:10.1080/14786435.2020.1790053), a fixed step for Newton's.
  (3) D = sqrt(4 area / pi). Log-normal D of mean d and width sigma = std(ln D) has E[D^2] = d^2 exp(sigma^2).

Lengths are in px, in the order (y, x). Elongated grains come from a torus that is stretched by the caller.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from scipy.special import ndtri

VORONOI_SIGMA = 0.29  # std(ln D) of Voronoi's cells of random seeds, measured on 4409 of them
RELAXATIONS = 7  # rounds of eq. 2
MOVE, STEP = 0.5, 0.35  # m and k of eq. 2
POINTS_PER_GRAIN = 40  # of the grid on which areas and centroids are taken
BRUTE_SEEDS = 256  # up to here all distances are compared, above a tree is searched
BLOCK = 1 << 18  # distances compared at once


class Seeds(NamedTuple):
    """A tessellation of a torus.

    Attributes:
      points: float64 [N, 2] (y, x), in [0, period).
      weights: float64 [N], px^2.
      period: (height, width) of the torus, px.
    """

    points: np.ndarray
    weights: np.ndarray
    period: tuple[float, float]


class Cells(NamedTuple):
    """Sizes and shapes of the cells, [N] each; a hidden cell has no area and moments of zero.

    Attributes:
      area: area of each cell, px^2.
      offset: float64 [N, 2], centroid less seed, (y, x).
      moments: float64 [N, 2], variance of y and of x inside the cell.
    """

    area: np.ndarray
    offset: np.ndarray
    moments: np.ndarray


def label(y: Float[np.ndarray, "H"], x: Float[np.ndarray, "W"], seeds: Seeds) -> Int[np.ndarray, "H W"]:
    """Return the seed that owns each point of a grid, eq. 1; the grid may lie anywhere, it is wrapped.

    Args:
      y: rows of the grid, px.
      x: columns of the grid, px.
      seeds: the tessellation.
    """
    if len(seeds.points) > BRUTE_SEEDS:
        return _label_by_tree(y, x, seeds)
    rows = _wrapped(y[:, None] - seeds.points[:, 0], seeds.period[0]) ** 2 - seeds.weights
    columns = _wrapped(x[:, None] - seeds.points[:, 1], seeds.period[1]) ** 2
    labels = np.empty((len(y), len(x)), np.int32)
    step = max(1, BLOCK // columns.size)
    for start in range(0, len(y), step):
        part = slice(start, start + step)
        labels[part] = np.argmin(rows[part, None, :] + columns, axis=-1)
    return labels


def poisson_seeds(rng: np.random.Generator, period: tuple[float, float], diameter: float) -> Seeds:
    """Return seeds of equal weight at random places: Voronoi's cells of a mean diameter, VORONOI_SIGMA wide.

    Args:
      rng: source of the random numbers.
      period: height and width of the torus, px.
      diameter: mean of D (eq. 3), px.
    """
    count = period[0] * period[1] / (np.pi / 4 * diameter**2 * np.exp(VORONOI_SIGMA**2))
    number = max(1, int(count + rng.random()))
    return Seeds(rng.random((number, 2)) * period, np.zeros(number), period)


def laguerre_seeds(
    rng: np.random.Generator, period: tuple[float, float], diameters: Float[np.ndarray, "N"]
) -> Seeds:
    """Return a Laguerre tessellation of cells with these diameters, scaled to fill the torus (eq. 2).

    The largest cells of the random seeds become the largest grains, so that none is pushed out of sight; the
    seeds come in ascending size. std(ln D) is met to 0.05 up to 0.5, and is exceeded by 0.1 at 0.6.

    Args:
      rng: source of the random numbers.
      period: height and width of the torus, px.
      diameters: diameters of the grains (eq. 3), px.
    """
    target = np.sort(np.pi / 4 * diameters**2)
    target *= period[0] * period[1] / target.sum()
    start = rng.random((len(target), 2)) * period
    cells = measure(Seeds(start, np.zeros(len(target)), period))
    points = ((start + MOVE * cells.offset) % period)[np.argsort(cells.area, kind="stable")]
    weights = target / np.pi
    for _ in range(RELAXATIONS):
        cells = measure(Seeds(points, weights, period))
        points = (points + MOVE * cells.offset) % period
        weights = weights + STEP * (target - cells.area)
    return Seeds(points, weights, period)


def measure(seeds: Seeds) -> Cells:
    """Return areas, centroids and second moments, on a grid of POINTS_PER_GRAIN points a cell.

    Args:
      seeds: the tessellation.
    """
    number = len(seeds.points)
    height, width = seeds.period
    pitch = np.sqrt(height * width / (POINTS_PER_GRAIN * number))
    shape = max(1, round(height / pitch)), max(1, round(width / pitch))
    y, x = [(np.arange(n) + 0.5) * (length / n) for n, length in zip(shape, seeds.period)]
    owner = label(y, x, seeds).ravel()
    count = np.bincount(owner, minlength=number)
    filled = np.maximum(count, 1)
    offset, moments = np.empty((number, 2)), np.empty((number, 2))
    for axis, grid in enumerate((np.repeat(y, shape[1]), np.tile(x, shape[0]))):
        away = _wrapped(grid - seeds.points[owner, axis], seeds.period[axis])
        offset[:, axis] = np.bincount(owner, away, number) / filled
        moments[:, axis] = np.bincount(owner, away * away, number) / filled - offset[:, axis] ** 2
    return Cells(count * (height * width / owner.size), offset, moments)


def lognormal_diameters(
    rng: np.random.Generator, area: float, mean: float, sigma: float
) -> Float[np.ndarray, "N"]:
    """Return as many log-normal diameters (eq. 3) as fill `area` best, at least one.

    Args:
      rng: source of the random numbers.
      area: area of the torus, px^2.
      mean: mean of the diameters, px.
      sigma: standard deviation of ln D.
    """
    expected = area / (np.pi / 4 * mean**2 * np.exp(sigma**2))
    normal = ndtri(rng.random(int(2 * expected + 8 * np.sqrt(expected)) + 4))
    diameters = mean * np.exp(sigma * normal - sigma**2 / 2)
    covered = np.cumsum(np.pi / 4 * diameters**2)
    return diameters[: 1 + int(np.argmin(np.abs(covered - area)))]


def bimodal_diameters(
    rng: np.random.Generator, area: float, mean: float, sigma: float, ratio: float
) -> Float[np.ndarray, "N"]:
    """Return two log-normal populations, each of width sigma, that share `area` by halves.

    The larger is `ratio` times the smaller, so that 1 of 1 + ratio^2 grains is large; `mean` is that of all.

    Args:
      rng: source of the random numbers.
      area: area of the torus, px^2.
      mean: mean of all diameters, px.
      sigma: standard deviation of ln D within each population.
      ratio: ratio of the two mean diameters.
    """
    small = mean * (1 + ratio**2) / (ratio + ratio**2)
    large = lognormal_diameters(rng, area / 2, ratio * small, sigma)
    rest = max(area - np.pi / 4 * np.sum(large**2), area / 4)
    return np.concatenate([large, lognormal_diameters(rng, rest, small, sigma)])


def _wrapped(difference: np.ndarray, period: float) -> np.ndarray:
    return difference - period * np.rint(difference / period)


def _label_by_tree(y: np.ndarray, x: np.ndarray, seeds: Seeds) -> np.ndarray:
    """Return eq. 1 as a nearest point: a third coordinate sqrt(max w - w_i) adds what the weight takes away."""
    height = np.sqrt(seeds.weights.max() - seeds.weights)
    inside = seeds.points % seeds.period
    tree = KDTree(np.column_stack([inside, height]), boxsize=(*seeds.period, 0))
    grid = np.zeros((len(y), len(x), 3))
    grid[..., 0], grid[..., 1] = (y % seeds.period[0])[:, None], x % seeds.period[1]
    return tree.query(grid)[1].astype(np.int32)
