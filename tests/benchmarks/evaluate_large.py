"""Seconds and memory of the default statistics and of the search for copies on many tiles; prints a table.

python -m tests.benchmarks.evaluate_large [tiles] [size]

Processor seconds are given beside those of the clock: on a machine that does other things only the first count.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.data import augment
from microgen_jax.evaluation import baseline, classify_images, memorisation, statistics

BLOCK = 512


@contextmanager
def timed(name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"| {name} | {time.process_time() - cpu:.1f} | {time.perf_counter() - wall:.1f} |", flush=True)


def drawn(first: int, count: int, size: int) -> np.ndarray:
    images = np.empty((count, size, size, 3), np.uint8)
    for n in range(count):
        images[n] = polycrystal(11, first + n, size).image
    return images


def main(tiles: int, size: int) -> None:
    print("| part | processor seconds | seconds |\n|---|---|---|")
    with timed("(drawing the tiles, no part of an evaluation)"):
        both, training = drawn(0, 2 * tiles, size), drawn(2 * tiles, tiles, size)
    with timed("measuring all statistics"):
        measured = statistics.measure(both, classify_images(both[:tiles]))
    plan = baseline.plan_splits(np.arange(tiles), tiles)
    for name, statistic in measured.items():
        with timed(name):
            baseline.compare(statistic, plan)
    with timed("search for copies"):
        blocks = (
            np.stack(
                [
                    np.stack([augment.apply(image, e) for image in both[n : n + BLOCK]])
                    for e in augment.DIHEDRAL
                ]
            )
            for n in range(0, len(both), BLOCK)
        )
        found = memorisation.nearest(blocks, list(training), (size, size))
        distance = np.concatenate([part.distance for part in found])
    print(f"| copies found | {np.sum(distance < memorisation.COPY)} | |")
    print(f"| largest memory | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB | |")


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:], *("10000", "64")[len(sys.argv) - 1 :]]))
