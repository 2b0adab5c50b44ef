"""Which crystal directions a set of IPF maps shows, and which colours no IPF map has.

The sector of the Laue group is laid flat by Lambert's equal-area projection of the upper half sphere,
(X, Y) = (x, y) sqrt(2 / (1 + |z|)), and cut into cells of equal side. Densities are in multiples of a random
distribution (MRD): the share of the pixels in a cell over the share of the sector's area that the cell covers
(Bunge 1982, Texture Analysis in Materials Science, section 4.2). A map without texture has 1 everywhere.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from microgen_jax.crystal.ipf import colour_direction, fold, off_key_share

CELLS = 24  # along each side of the projected square that holds the sector
MIN_CELL_SHARE = 0.2  # of an average cell's area; cells at the sector's rim that have less are left out
CORNERS = {
    "m-3m": {"[001]": (0, 0, 1), "[101]": (1, 0, 1), "[111]": (1, 1, 1)},
    "6/mmm": {"[0001]": (0, 0, 1), "[2-1-10]": (1, 0, 0), "[10-10]": (np.sqrt(3), 1, 0)},
}  # crystal directions in the Cartesian frame, x along a
_PROBES = 400_000  # directions that measure the cells


class ColourSector(NamedTuple):
    """A Laue group's sector in cells.

    Attributes:
      low, high: float64 [2], the projected square's corners.
      cell: int [CELLS * CELLS], number of each cell, -1 outside the sector or at its thin rim.
      share: float64 [K], the part of the sector's area in each cell.
    """

    low: np.ndarray
    high: np.ndarray
    cell: np.ndarray
    share: np.ndarray


@cache
def sector(laue_group: str, key: str = "tsl") -> ColourSector:
    """Measure the sector's cells with evenly spread directions (a Fibonacci spiral)."""
    n = np.arange(_PROBES) + 0.5
    z = 1 - 2 * n / _PROBES
    azimuth = np.pi * (1 + np.sqrt(5)) * n
    radius = np.sqrt(1 - z * z)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)
    flat = _project(fold(directions, laue_group, key))
    low, high = flat.min(axis=0), flat.max(axis=0)
    count = np.bincount(_square(flat, low, high), minlength=CELLS * CELLS)
    kept = count >= MIN_CELL_SHARE * count.max()
    cell = np.where(kept, np.cumsum(kept) - 1, -1)
    return ColourSector(low, high, cell, count[kept] / _PROBES)


def counts(
    images: UInt8[np.ndarray, "N H W 3"], laue_group: str = "m-3m", key: str = "tsl"
) -> tuple[Int[np.ndarray, "N K"], Int[np.ndarray, "N"]]:
    """Pixels of each image in each cell of the sector, and its indexed pixels.

    Black pixels (not indexed) are left out; colours off the key count where their projection onto it lies.
    """
    cells = sector(laue_group, key)
    found = np.zeros((len(images), len(cells.share)), np.int64)
    indexed = np.zeros(len(images), np.int64)
    for n, image in enumerate(images):
        colours, times = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
        seen = colours.max(axis=-1) > 0
        colours, times = colours[seen], times[seen]
        indexed[n] = times.sum()
        cell = cells.cell[
            _square(_project(colour_direction(colours, laue_group, key)), cells.low, cells.high)
        ]
        found[n] = np.bincount(cell[cell >= 0], times[cell >= 0], len(cells.share))
    return found, indexed


def density(
    found: Int[np.ndarray, "N K"], indexed: Int[np.ndarray, "N"], laue_group: str = "m-3m", key: str = "tsl"
) -> Float[np.ndarray, "K"]:
    """Density in MRD over the sector's cells, of all images together."""
    return found.sum(axis=0) / max(indexed.sum(), 1) / sector(laue_group, key).share


def as_image(
    values: Float[np.ndarray, "K"], laue_group: str = "m-3m", key: str = "tsl"
) -> Float[np.ndarray, "CELLS CELLS"]:
    """Values of the cells on the projected square, first axis Y from low to high, NaN outside the sector."""
    cell = sector(laue_group, key).cell
    return np.where(cell >= 0, np.append(values, np.nan)[cell], np.nan).reshape(CELLS, CELLS)


def corners(laue_group: str, key: str = "tsl") -> list[tuple[str, float, float]]:
    """Return name, X and Y of the sector's corners, X and Y in shares of the projected square's sides.

    Names are directions [hkl] of cubic crystals and [hkil] of hexagonal and trigonal ones; other groups have that of c.
    """
    cells = sector(laue_group, key)
    named = CORNERS.get(laue_group, {"[001]": (0, 0, 1)})
    directions = np.array(list(named.values()), float)
    flat = _project(fold(directions / np.linalg.norm(directions, axis=1, keepdims=True), laue_group, key))
    place = (flat - cells.low) / (cells.high - cells.low)
    return [(name, float(x), float(y)) for name, (x, y) in zip(named, place)]


def off_key(images: Shaped[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N"]:
    """Share of the indexed pixels of each image whose colour no IPF key has (largest channel below 255)."""
    return np.array([off_key_share(image) for image in images])


def _project(directions: np.ndarray) -> np.ndarray:
    scale = np.sqrt(2 / (1 + np.abs(directions[..., 2:])))
    return directions[..., :2] * scale


def _square(flat: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Number of the cell of each projected direction, row by row, Y first."""
    x, y = np.moveaxis(np.clip(((flat - low) / (high - low) * CELLS).astype(int), 0, CELLS - 1), -1, 0)
    return y * CELLS + x
