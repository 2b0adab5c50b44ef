from dataclasses import replace

import numpy as np
import pytest

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.readers.points import OXFORD, Phase


@pytest.fixture
def scan() -> EbsdMap:
    """A map of 40 x 64 pixels, cubic and hexagonal, of grains 8 pixels wide with one marked pixel in each corner."""
    height, width = 40, 64
    rng = np.random.default_rng(0)
    grain = (np.arange(height)[:, None] // 8) * 8 + np.arange(width) // 8
    orientations = random_uniform(rng, 40)[grain]
    phase = np.where(grain % 3 == 0, 2, 1).astype(np.int32)
    for number, (row, column) in enumerate(((0, 0), (0, -1), (-1, 0), (-1, -1))):
        mark = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(15 + 5 * number))
        orientations[row, column] = multiply(mark, np.array([1.0, 0.0, 0.0, 0.0]))
        phase[row, column] = 1 + number % 2
    return EbsdMap(
        orientations=orientations,
        phase=phase,
        indexed=np.ones(phase.shape, bool),
        phases=(Phase(1, "Nickel", "m-3m"), Phase(2, 'Mg "alpha"', "6/mmm")),
        pixel_size=(0.25, 0.5),
        unit="um",
        frame=OXFORD,
        columns=Columns({}, np.full(phase.shape, -1)),
        metadata={},
        notes=(),
    )


@pytest.fixture
def measured(scan: EbsdMap) -> EbsdMap:
    """The map with square pixels, a cube orientation and three unindexed pixels, one of them in a corner."""
    indexed = scan.indexed.copy()
    indexed[0, -1] = indexed[7, 9] = indexed[-1, 3] = False
    orientations = scan.orientations.copy()
    orientations[5, 5] = (1.0, 0.0, 0.0, 0.0)
    phase = np.where(indexed, scan.phase, -1).astype(np.int32)
    return replace(scan, orientations=orientations, indexed=indexed, phase=phase, pixel_size=(0.5, 0.5))
