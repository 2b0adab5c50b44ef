"""Tiles of one map on both sides of the split, found by shifted overlaps of their pixels and by their names."""

import re
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from microgen_jax.data.catalogue import CatalogueSource
from microgen_jax.data.sources.table_names import normal
from microgen_jax.types import Source

MAX_COMPARED_PIXELS = 2**22  # of either part, a few seconds
MAX_COMPARED_IMAGES = 1000  # of either part
MAX_SECONDS = 5  # for either part, where decoding is slow
_BLOCK = 8  # px
_PLACES = 5  # blocks a side of a held-out image that are looked for
_MIN_SHARE = 0.1  # of the smaller image that two tiles have in common
_MIN_CHANGES = 32  # neighbours that differ in what two tiles have in common
_TILE_NAMES = tuple(
    rf"(?P<map>[^/]+)_{numbers}(?=[^0-9/]|$)"
    for numbers in (
        "r(?:ow)?[0-9]+_c(?:ol)?[0-9]+",
        "x[0-9]+_y[0-9]+",
        "y[0-9]+_x[0-9]+",
    )
) + (r"(?P<map>[^/]*(?:tile|patch|crop|window)[^/]*?)_[0-9]+_[0-9]+(?=[.]|$)",)


class Overlap(NamedTuple):
    """A held-out image and a training image that show the same pixels in part.

    Attributes:
      a: name of the held-out image.
      b: name of the training image.
      shift: rows, columns in px from the corner of `b` to the corner of `a`.
      share: share of the smaller image that both show.
    """

    a: str
    b: str
    shift: tuple[int, int]
    share: float


class _Block(NamedTuple):
    image: int
    row: int
    column: int


def overlaps(train: Source, holdout: Source, budget: int = MAX_COMPARED_PIXELS) -> list[Overlap]:
    """Find held-out images that show a part of a training image, shifted; one training image for each.

    Blocks of 8 x 8 px that occur once in a held-out image are looked for, by a hash, at every place of the
    training images; then all pixels in common are compared. Flat and periodic images have no such block.
    Only pixels that are equal to the bit are found: tiles that were resampled or stored as JPEG are not.

    Args:
      train: the training images.
      holdout: the held-out images.
      budget: number of pixels of either part that are compared at most, spread evenly over the images.
    """
    if not (isinstance(train, CatalogueSource) and isinstance(holdout, CatalogueSource)):
        return []
    held = dict(_codes(holdout, budget))
    blocks: dict[int, list[_Block]] = {}
    for index, codes in held.items():
        for value, row, column in _landmarks(codes):
            blocks.setdefault(value, []).append(_Block(index, row, column))
    if not blocks:
        return []
    wanted = np.sort(np.array(list(blocks), np.uint64))
    found: dict[int, Overlap] = {}
    for index, codes in _codes(train, budget):
        hashes = _hashes(codes)
        nearest = wanted[np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)]
        tried = set()
        for row, column in np.argwhere(nearest == hashes).tolist():
            for block in blocks[int(hashes[row, column])]:
                shift = row - block.row, column - block.column
                if block.image in found or (block.image, shift) in tried:
                    continue
                tried.add((block.image, shift))
                if share := _common(held[block.image], codes, shift):
                    names = holdout.name(block.image), train.name(index)
                    found[block.image] = Overlap(*names, shift, share)
    return [found[index] for index in sorted(found)]


def tile_pattern(train: Sequence[str], holdout: Sequence[str]) -> tuple[str, list[str]]:
    """Find the pattern of names that count tiles, and the maps that have tiles on both sides of the split.

    Args:
      train: names of the training images.
      holdout: names of the held-out images.

    Returns:
      A regular expression with the group `map` that every name fits, '' where there is none, and the maps.
    """
    for pattern in _TILE_NAMES:
        sides = [[re.search(pattern, normal(name)) for name in names] for names in (train, holdout)]
        if all(match is not None for side in sides for match in side):
            first, second = ({match["map"] for match in side if match} for side in sides)
            return pattern, sorted(first & second)
    return "", []


def overlap_warnings(train: Source, holdout: Source, found: Sequence[Overlap]) -> list[str]:
    """Return what to say of tiles on both sides of the split, and what to set; nothing where there are none.

    Args:
      train: the training images.
      holdout: the held-out images.
      found: their overlaps.
    """
    if not (isinstance(train, CatalogueSource) and isinstance(holdout, CatalogueSource)):
        return []
    names = [[source.name(n) for n in range(len(source))] for source in (train, holdout)]
    pattern, shared = tile_pattern(*names)
    fix = "name the map of every tile in a column of metadata.csv and set data.split_by to it"
    if shared:
        fix = f"set data.filename_pattern='{pattern}' and data.split_by=map"
    lines = []
    if found:
        one = found[0]
        lines.append(
            f"{len(found)} held-out images overlap training images, such as {one.a} and {one.b} (shifted by"
            f" {one.shift[0]}, {one.shift[1]} px, {one.share:.0%} in common): {fix}"
        )
    elif shared:
        lines.append(
            f"names look like tiles of one map, and {shared[0]!r} ({len(shared)} maps in all) is on both sides of"
            f" the split: {fix}"
        )
    return lines


def report(train: Source, holdout: Source) -> dict[str, Any]:
    """Return the overlaps and the warnings, as `summary.json` holds them."""
    found = overlaps(train, holdout)
    return {
        "pairs": [one._asdict() for one in found],
        "warnings": overlap_warnings(train, holdout, found),
    }


def _codes(source: CatalogueSource, budget: int) -> Iterator[tuple[int, UInt64[np.ndarray, "H W"]]]:
    """A number a pixel, equal where all channels are, of images spread evenly over the source."""
    headers = [source.header(n) for n in range(len(source))]
    pixels = sum(header.height * header.width for header in headers)
    count = min(len(source), MAX_COMPARED_IMAGES, int(len(source) * budget / max(pixels, 1)))
    end = time.monotonic() + MAX_SECONDS
    for index in (n * len(source) // count for n in range(count)):
        if time.monotonic() > end:
            return
        image = np.ascontiguousarray(source[index].image)
        integers = image.view(f"u{image.dtype.itemsize}").astype(np.uint64)
        yield index, integers @ _multipliers(3, image.shape[-1])


def _multipliers(seed: int, count: int) -> UInt64[np.ndarray, "n"]:
    return np.random.default_rng(seed).integers(2**63, size=count, dtype=np.uint64) | np.uint64(1)


def _hashes(codes: UInt64[np.ndarray, "H W"]) -> UInt64[np.ndarray, "h w"]:
    """Hash of the block that begins at each pixel: its sum with fixed random weights, modulo 2^64."""
    height, width = (max(side - _BLOCK + 1, 0) for side in codes.shape)
    rows, columns = _multipliers(1, _BLOCK), _multipliers(2, _BLOCK)
    part = np.zeros((height, codes.shape[1]), np.uint64)
    for n in range(_BLOCK):
        part += rows[n] * codes[n : n + height]
    hashes = np.zeros((height, width), np.uint64)
    for n in range(_BLOCK):
        hashes += columns[n] * part[:, n : n + width]
    return hashes


def _landmarks(codes: UInt64[np.ndarray, "H W"]) -> Iterator[tuple[int, int, int]]:
    """Hash, row and column of blocks that occur once in the image, one near each place of a grid."""
    hashes = _hashes(codes)
    if not hashes.size:
        return
    _, first, count = np.unique(hashes, return_index=True, return_counts=True)
    once = np.zeros(hashes.size, bool)
    once[first[count == 1]] = True
    rows, columns = (np.linspace(0, side, _PLACES + 1).astype(int) for side in hashes.shape)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            inside = np.argwhere(once.reshape(hashes.shape)[top:bottom, left:right])
            if len(inside):
                row, column = (inside[len(inside) // 2] + (top, left)).tolist()
                yield int(hashes[row, column]), row, column


def _common(
    held: UInt64[np.ndarray, "H W"], trained: UInt64[np.ndarray, "h w"], shift: tuple[int, int]
) -> float:
    """Share of the smaller image in common at a shift; 0 where pixels differ, or are too few or too flat to tell."""
    here, there = [], []
    for own, other, step in zip(held.shape, trained.shape, shift):
        low, high = max(step, 0), min(step + own, other)
        there.append(slice(low, high))
        here.append(slice(low - step, high - step))
    part = held[tuple(here)]
    share = part.size / min(held.size, trained.size)
    changes = sum(int((np.diff(part, axis=axis) != 0).sum()) for axis in (0, 1))
    whole = shift == (0, 0) and held.shape == trained.shape
    if whole or share < _MIN_SHARE or changes < _MIN_CHANGES:
        return 0.0
    return share if np.array_equal(part, trained[tuple(there)]) else 0.0
