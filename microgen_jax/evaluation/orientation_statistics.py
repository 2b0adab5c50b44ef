"""Statistics of orientation maps, by name, ready to be pooled and compared (`baseline`).

  (1) ODF: the share of the pixels in each cell of orientation space over the share of the cell, in multiples of a
      random distribution (MRD; Bunge 1982, Texture Analysis in Materials Science, section 4.2). The cells are those of
      evenly spread orientations, about 10 degrees apart; a pixel is in the cell of the nearest one.
  (2) Texture index J = sum over cells of share f^2, f being the ODF (Bunge 1982, eq. 4.212): 1 without texture.
  (3) Misorientation distributions: of neighbouring pixels in different grains, so weighted by boundary length; and of
      random pairs of pixels of one map (Mackenzie 1958 for random textures, doi:10.1093/biomet/45.1-2.229).
  (4) Sigma 3: share of those boundaries within 15 / sqrt(3) degrees of 60 degrees about <111> (Brandon 1966,
      doi:10.1016/0001-6160(66)90168-4); of m-3m and m-3.
  (5) Low-angle share: neighbours 2 to 15 degrees apart, over those at least 2 degrees apart.
  (6) KAM: mean misorientation of a pixel to its four neighbours, those more than 5 degrees away left out.

Pixels are compared within one phase; unindexed ones (phase -1) are left out.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from microgen_jax.crystal.embedding import embedding
from microgen_jax.crystal.orientations import from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.evaluation import baseline
from microgen_jax.evaluation.baseline import Statistic

DESCRIPTIONS = {
    "odf": "orientation distribution, multiples of random",
    "texture_index": "texture index",
    "misorientation_neighbours": "misorientation across boundaries",
    "misorientation_random": "misorientation of random pairs",
    "sigma3_share": "share of boundaries that are sigma 3",
    "low_angle_share": "share of low-angle boundaries",
    "kam": "kernel average misorientation",
}
CELL_DEGREES = 10.0
GRAIN_DEGREES = 5.0
LOW_ANGLES = (2.0, 15.0)  # degrees
KAM_STEP = 0.1  # degrees
RANDOM_PAIRS = 256  # of each map
_CANDIDATES, _PROBES = 20_000, 200_000


class OrientationCells(NamedTuple):
    """The orientation space of a Laue group in cells.

    Attributes:
      tree: embeddings of the cells' centres.
      share: float64 [K], the part of orientation space in each cell.
    """

    tree: KDTree
    share: np.ndarray


@cache
def cells(laue_group: str) -> OrientationCells:
    """Return evenly spread cells about CELL_DEGREES apart: each new centre is the candidate farthest from the others.

    Args:
      laue_group: Laue group.
    """
    random = np.random.default_rng(0)
    space = embedding(laue_group)
    candidates = space.embed(random_uniform(random, _CANDIDATES))
    apart = space.per_radian * np.radians(CELL_DEGREES)
    chosen, distance = [0], np.linalg.norm(candidates - candidates[0], axis=-1)
    while distance.max() > apart:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[chosen[-1]], axis=-1))
    tree = KDTree(candidates[chosen])
    probes = tree.query(space.embed(random_uniform(random, _PROBES)))[1]
    return OrientationCells(tree, np.bincount(probes, minlength=len(chosen)) / _PROBES)


def measure(
    orientations: Float[np.ndarray, "N H W 4"],
    phase: Int[np.ndarray, "N H W"],
    laue_groups: Sequence[str],
) -> dict[str, Statistic]:
    """Return the statistics of real and generated maps together, by name.

    The ODF, its index and sigma 3 are those of the first phase's Laue group; pixels of other groups are left out.

    Args:
      orientations: unit quaternions, sample -> crystal.
      phase: number of the phase of each pixel, -1 where it is unindexed.
      laue_groups: Laue group of each phase.
    """
    orientations = orientations.astype(np.float64)
    first = [number for number, group in enumerate(laue_groups) if group == laue_groups[0]]
    rows = [
        _measure_map(*pair, tuple(laue_groups), first, n) for n, pair in enumerate(zip(orientations, phase))
    ]
    table = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    degrees = np.arange(table["neighbours"].shape[1]) + 0.5
    share = cells(laue_groups[0]).share
    odf = {"grid": np.arange(len(share)), "axis": "cell of orientation space", "denominator": table["pixels"]}
    found = {
        "odf": baseline.curve(table["cells"] / share, unit="multiples of random", **odf),
        "texture_index": baseline.curve(
            table["cells"], unit="1", transform=lambda f: (f**2 / share).sum(-1, keepdims=True), **odf
        ),
        "misorientation_neighbours": baseline.histogram(
            table["neighbours"], degrees, "degrees", "misorientation in degrees"
        ),
        "misorientation_random": baseline.histogram(
            table["random"], degrees, "degrees", "misorientation in degrees"
        ),
        "low_angle_share": baseline.scalar(table["low"][:, 0], "1", denominator=table["low"][:, 1]),
        "kam": baseline.histogram(
            table["kam"], KAM_STEP * (np.arange(table["kam"].shape[1]) + 0.5), "degrees", "KAM in degrees"
        ),
    }
    if laue_groups[0] in ("m-3m", "m-3"):
        found["sigma3_share"] = baseline.scalar(table["sigma3"][:, 0], "1", denominator=table["sigma3"][:, 1])
    return {name: found[name] for name in DESCRIPTIONS if name in found}


def _measure_map(
    orientations: np.ndarray, phase: np.ndarray, groups: tuple[str, ...], first: list[int], number: int
) -> dict[str, np.ndarray]:
    """Return the sums of one map, by name."""
    steps = [_steps(orientations, phase, groups, axis) for axis in (0, 1)]
    angles = np.degrees(np.concatenate([step[~np.isnan(step)] for step in steps]))
    across = angles[angles > GRAIN_DEGREES]
    low = np.array(
        [np.sum((angles >= LOW_ANGLES[0]) & (angles < LOW_ANGLES[1])), np.sum(angles >= LOW_ANGLES[0])]
    )
    own = orientations[np.isin(phase, first)]
    space = cells(groups[0])
    cell = space.tree.query(embedding(groups[0]).embed(own))[1] if len(own) else np.zeros(0, int)
    return {
        "cells": np.bincount(cell, minlength=len(space.share)),
        "pixels": np.full(1, len(own)),
        "neighbours": _histogram(across, 1.0, 180),
        "random": _histogram(_random_pairs(own, groups[0], number), 1.0, 180),
        "low": low,
        "kam": _histogram(_kam(*steps), KAM_STEP, round(GRAIN_DEGREES / KAM_STEP)),
        "sigma3": _sigma3(orientations, phase, first, steps, groups[0]),
    }


def _steps(orientations: np.ndarray, phase: np.ndarray, groups: tuple[str, ...], axis: int) -> np.ndarray:
    """Return the misorientation, in radians, to the next pixel along an axis; NaN where there is none to take."""
    a, b = _neighbours(orientations, axis)
    here, there = _neighbours(phase, axis)
    angle = np.full(here.shape, np.nan)
    for number, group in enumerate(groups):
        both = (here == number) & (there == number)
        angle[both] = misorientation_angle(a[both], b[both], group)
    return angle


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    length = values.shape[axis]
    return np.take(values, range(length - 1), axis), np.take(values, range(1, length), axis)


def _kam(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return KAM in degrees of the pixels that have a neighbour in their grain."""
    height, width = across.shape[0], down.shape[1]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for angle, here, there in (
        (down, np.s_[:-1], np.s_[1:]),
        (across, np.s_[:, :-1], np.s_[:, 1:]),
    ):
        inside = np.degrees(angle) <= GRAIN_DEGREES  # NaN is not
        for side in (here, there):
            total[side] += np.where(inside, np.degrees(angle), 0)
            count[side] += inside
    return total[count > 0] / count[count > 0]


def _sigma3(
    orientations: np.ndarray, phase: np.ndarray, first: list[int], steps: list[np.ndarray], group: str
) -> np.ndarray:
    """Return the number of sigma 3 boundaries, and of all boundaries of the first phase's group."""
    if group not in ("m-3m", "m-3"):
        return np.zeros(2)
    found = np.zeros(2)
    for axis, angle in enumerate(steps):
        a, b = _neighbours(orientations, axis)
        here, _ = _neighbours(phase, axis)
        boundary = (np.degrees(angle) > GRAIN_DEGREES) & np.isin(here, first)
        twins = np.min(
            [misorientation_angle(multiply(turn, a[boundary]), b[boundary], group) for turn in _twins()],
            axis=0,
        )
        found += np.sum(twins <= np.radians(15 / np.sqrt(3))), np.sum(boundary)
    return found


@cache
def _twins() -> Float[np.ndarray, "4 4"]:
    """Return the turns of 60 degrees about the four <111>."""
    axes = np.array([[1.0, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    return from_axis_angle(axes, np.full(4, np.pi / 3))


def _random_pairs(orientations: np.ndarray, group: str, number: int) -> np.ndarray:
    """Return misorientations in degrees of random pixels; the pairs of a map depend on its number only."""
    if len(orientations) < 2:
        return np.zeros(0)
    pairs = np.random.default_rng(number).integers(len(orientations), size=(2, RANDOM_PAIRS))
    return np.degrees(misorientation_angle(orientations[pairs[0]], orientations[pairs[1]], group))


def _histogram(values: np.ndarray, step: float, count: int) -> np.ndarray:
    return np.bincount(np.minimum((values / step).astype(int), count - 1), minlength=count)
