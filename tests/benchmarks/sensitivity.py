"""How far each statistic rises over its baseline with graded faults of built-in polycrystals; prints the table of docs.

python -m tests.benchmarks.sensitivity [tiles] [size]

The statistic that should see a fault is named here, beforehand. Tiles of all grades come from the same random
streams, so that only the fault differs between them. Real tiles of the last four faults have a little of what is
broken, as scans do; without any, the baseline would be 0.
"""

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import baseline, classify_images, memorisation, statistics
from microgen_jax.evaluation.baseline import BaselineRatio, Statistic

MADE = 100_000  # index of the first generated tile; training tiles start at twice that
PLAIN = {"kind": "equiaxed", "sigma": 0.3}
TEXTURE = {**PLAIN, "texture": "fibre100", "sharpness": 12.0}


class Fault(NamedTuple):
    """A fault in grades.

    Attributes:
      seen_by: the statistic named beforehand.
      unit: of the grades.
      grades: rising.
      tiles: `(grade, first index, count, size) -> uint8 [count, size, size, 3]`; grade 0 is real.
    """

    seen_by: str
    unit: str
    grades: tuple[float, ...]
    tiles: Callable[[float, int, int, int], np.ndarray]


def _drawn(count: int, first: int, size: int, diameter: float = 0.0, **descriptors) -> Iterator:
    for n in range(first, first + count):
        yield polycrystal(7, n, size, diameter=diameter or size / 5, **descriptors)


def more_grains(grade: float, first: int, count: int, size: int) -> np.ndarray:
    diameter = size / 5 / np.sqrt(1 + grade / 100)
    return np.stack([tile.image for tile in _drawn(count, first, size, diameter, **PLAIN)])


def blurred(grade: float, first: int, count: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(first)
    tiles = []
    for tile in _drawn(count, first, size, **PLAIN):
        soft = tile.image.astype(float) + rng.normal(0, 2, tile.image.shape)  # a detector's noise
        soft = ndimage.gaussian_filter(soft, (grade, grade, 0)) if grade else soft
        tiles.append(np.clip(np.rint(soft), 0, 255).astype(np.uint8))
    return np.stack(tiles)


def turned(grade: float, first: int, count: int, size: int) -> np.ndarray:
    angle = np.radians(grade)
    seen = np.array([np.sin(angle), 0.0, np.cos(angle)])
    tiles = _drawn(count, first, size, **TEXTURE)
    return np.stack([ipf_colour(tile.orientations, seen, "m-3m")[tile.grains] for tile in tiles])


def false_colours(grade: float, first: int, count: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(first)
    tiles = []
    for tile in _drawn(count, first, size, **PLAIN):
        false = rng.random((size, size)) < rng.uniform(0, 0.01) + grade / 100
        tiles.append(np.where(false[..., None], tile.image // 2, tile.image))
    return np.stack(tiles)


def broken(grade: float, first: int, count: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(first)
    tiles = []
    for tile in _drawn(count, first, size, **PLAIN):
        edge = np.argwhere(ndimage.morphological_gradient(tile.grains, 3) > 0)
        places = edge[rng.permutation(len(edge))]
        image = tile.image.astype(float)
        soft = ndimage.gaussian_filter(image, (5, 5, 0))
        for y, x in places[: rng.poisson(0.2) + rng.poisson(grade)]:
            distance = np.hypot(*(np.indices((size, size)) - np.array([y, x])[:, None, None]))
            share = np.clip(1.5 - distance / 6, 0, 1)[..., None]
            image = share * soft + (1 - share) * image
        tiles.append(np.rint(image).astype(np.uint8))
    return np.stack(tiles)


def copied(grade: float, first: int, count: int, size: int) -> np.ndarray:
    tiles = np.stack([tile.image for tile in _drawn(count, first, size, **PLAIN)])
    stolen = np.arange(count) < round(count * grade / 100)
    training = np.stack([tile.image for tile in _drawn(int(stolen.sum()) or 1, 2 * MADE, size, **PLAIN)])
    tiles[stolen] = training[: stolen.sum(), :, ::-1]
    return tiles


FAULTS = {
    "more grains": Fault("triple_junctions", "%", (5, 10, 20, 40), more_grains),
    "blur": Fault("power_spectrum", "px", (0.5, 1, 1.5, 2), blurred),
    "turned texture": Fault("colour_density", "degrees", (5, 10, 20, 40), turned),
    "false colours": Fault("off_key", "%", (1, 2, 5, 10), false_colours),
    "broken boundaries": Fault("dead_ends", "per tile", (0.5, 1, 2, 4), broken),
    "copies": Fault("training_distance", "%", (5, 10, 20, 50), copied),
}


def measured(fault: Fault, tiles: int, size: int) -> tuple[np.ndarray, dict[str, Statistic]]:
    """All tiles, the real ones first, then those of each grade, and their statistics."""
    sets = [fault.tiles(0, 0, tiles, size), *(fault.tiles(g, MADE, tiles, size) for g in fault.grades)]
    images = np.concatenate(sets)
    return images, compared_statistics(images, sets[0])


def compared_statistics(images: np.ndarray, real: np.ndarray) -> dict[str, Statistic]:
    """Statistics of images that have a baseline, by name."""
    table = statistics.measure(images, classify_images(real, ipf_maps=True))
    return {name: table[name] for name in table if name not in statistics.MEANS_ONLY}


def nearest_training(images: np.ndarray, tiles: int, size: int) -> Statistic:
    """Distance of every tile to the nearest of as many training tiles, flips allowed."""
    training = list(copied(0, 2 * MADE, tiles, size))
    variants = np.stack([images, images[:, :, ::-1]])
    found = memorisation.nearest([variants], training, (size, size))
    distance = np.concatenate([part.distance for part in found])
    return baseline.distribution(distance, np.arange(len(images)), len(images), "1", "distance")


def rise(
    fault: Fault, tiles: int, size: int, names: tuple[str, ...] | None = None
) -> dict[str, list[BaselineRatio | None]]:
    """BaselineRatio of every statistic, or of those named, at every grade."""
    images, table = measured(fault, tiles, size)
    if fault.tiles is copied:
        table["training_distance"] = nearest_training(images, tiles, size)
    plan = baseline.plan_splits(np.arange(tiles), tiles)
    found = {}
    for name in names or table:
        rows = [np.r_[:tiles, (k + 1) * tiles : (k + 2) * tiles] for k in range(len(fault.grades))]
        found[name] = [baseline.compare(baseline.take(table[name], row), plan) for row in rows]
    return found


def covered(tiles: int, trials: int, size: int) -> dict[str, float]:
    """Share of trials in which the interval of real against real holds 1, by statistic."""
    pool = 20 * tiles
    images = more_grains(0, 0, pool, size)
    table = compared_statistics(images, images)
    inside: dict[str, list[bool]] = {}
    for trial in range(trials):
        rows = np.random.default_rng(trial).permutation(pool)[: 3 * tiles]
        plan = baseline.plan_splits(np.arange(2 * tiles), tiles, seed=trial)
        for name, statistic in table.items():
            compared = baseline.compare(baseline.take(statistic, rows), plan)
            if compared is not None:
                inside.setdefault(name, []).append(compared.interval[0] <= 1 <= compared.interval[1])
    return {name: float(np.mean(values)) for name, values in inside.items()}


def main(tiles: int, size: int) -> None:
    print(
        f"| fault | grades | named | its ratio | first seen by others ({tiles} real, {tiles} made, {size} px) |"
    )
    print("|---|---|---|---|---|")
    for name, fault in FAULTS.items():
        found = rise(fault, tiles, size)
        ratios = ", ".join("–" if c is None else f"{c.ratio:.3g}" for c in found[fault.seen_by])
        first = {}
        for other, compared in found.items():
            seen = [g for g, c in zip(fault.grades, compared) if c is not None and c.interval[0] > 1]
            if seen:
                first.setdefault(seen[0], []).append(other)
        others = "; ".join(f"{grade:g}: {', '.join(first[grade])}" for grade in sorted(first))
        grades = ", ".join(f"{g:g}" for g in fault.grades)
        print(f"| {name} | {grades} {fault.unit} | {fault.seen_by} | {ratios} | {others} |", flush=True)
    for name, share in covered(60, 100, size).items():
        print(f"{name}: {share:.0%}", flush=True)


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:], *("300", "64")[len(sys.argv) - 1 :]]))
