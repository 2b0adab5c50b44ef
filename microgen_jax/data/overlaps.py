"""Tiles of one map on both sides of the split, found by shifted overlaps of their pixels and by their names."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from microgen_jax.data.catalogue import CatalogueSource
from microgen_jax.data.sources.table_names import normal
from microgen_jax.types import Source

MAX_PIXELS = 2**22  # of either part, a few seconds
MAX_IMAGES = 1000  # of either part
MAX_SHIFTS = 2**20  # of two images, a few seconds
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


class Search(NamedTuple):
    """What a search for overlaps found, and notes on what it left out."""

    pairs: list[Overlap]
    notes: tuple[str, ...]


class _Block(NamedTuple):
    image: int
    row: int
    column: int


class _Pixels(NamedTuple):
    codes: UInt64[np.ndarray, "H W"]  # a number a pixel, equal where all channels are
    hashes: UInt64[np.ndarray, "h w"]  # of the block that begins at each pixel


def search(
    train: Source, holdout: Source, *, max_pixels: int = MAX_PIXELS, max_shifts: int = MAX_SHIFTS
) -> Search:
    """Find held-out images that show a part of a training image, shifted; one training image for each.

    Blocks of 8 x 8 px that occur once in a held-out image are looked for, by a hash, at every place of the
    training images; then all pixels in common are compared. Flat and periodic images have no such block.
    Only pixels that are equal to the bit are found: tiles that were resampled or stored as JPEG are not.

    Args:
      train: the training images.
      holdout: the held-out images.
      max_pixels: number of pixels of either part that are compared at most, spread evenly over the images.
      max_shifts: number of pairs of images and shifts that are compared at most.
    """
    if not (isinstance(train, CatalogueSource) and isinstance(holdout, CatalogueSource)):
        return Search([], ())
    some_held, some_trained = (_spread(source, max_pixels) for source in (holdout, train))
    notes = []
    if (len(some_held), len(some_trained)) != (len(holdout), len(train)):
        notes.append(
            f"shifted overlaps were looked for in {len(some_trained)} of {len(train)} training images and"
            f" {len(some_held)} of {len(holdout)} held-out images"
        )
    held = {index: _pixels(holdout, index) for index in some_held}
    blocks: dict[int, list[_Block]] = {}
    for index, pixels in held.items():
        for value, row, column in _landmarks(pixels.hashes):
            blocks.setdefault(value, []).append(_Block(index, row, column))
    if not blocks:
        return Search([], tuple(notes))
    wanted = np.sort(np.array(list(blocks), np.uint64))
    found: dict[int, Overlap] = {}
    for index in some_trained:
        pixels = _pixels(train, index)
        nearest = wanted[np.minimum(np.searchsorted(wanted, pixels.hashes), len(wanted) - 1)]
        tried = set()
        for row, column in np.argwhere(nearest == pixels.hashes).tolist():
            for block in blocks[int(pixels.hashes[row, column])]:
                shift = row - block.row, column - block.column
                if block.image in found or (block.image, shift) in tried:
                    continue
                if not max_shifts:
                    notes.append(
                        f"shifted overlaps were looked for up to {train.name(index)}, as many places are alike"
                    )
                    return Search([found[index] for index in sorted(found)], tuple(notes))
                max_shifts -= 1
                tried.add((block.image, shift))
                if share := _common(held[block.image], pixels, shift):
                    names = holdout.name(block.image), train.name(index)
                    found[block.image] = Overlap(*names, shift, share)
    return Search([found[index] for index in sorted(found)], tuple(notes))


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
    """Return the overlaps, the warnings and the notes, as `summary.json` holds them."""
    found = search(train, holdout)
    return {
        "pairs": [one._asdict() for one in found.pairs],
        "warnings": overlap_warnings(train, holdout, found.pairs),
        "notes": list(found.notes),
    }


def _spread(source: CatalogueSource, max_pixels: int) -> list[int]:
    """Return images spread evenly over the source, up to a number of pixels in all."""
    headers = [source.header(n) for n in range(len(source))]
    pixels = sum(header.height * header.width for header in headers)
    count = min(len(source), MAX_IMAGES, int(len(source) * max_pixels / max(pixels, 1)))
    return [n * len(source) // count for n in range(count)]


def _pixels(source: CatalogueSource, index: int) -> _Pixels:
    image = np.ascontiguousarray(source[index].image)
    integers = image.view(f"u{image.dtype.itemsize}").astype(np.uint64)
    codes = integers @ _multipliers(3, image.shape[-1])
    return _Pixels(codes, _hashes(codes))


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


def _landmarks(hashes: UInt64[np.ndarray, "h w"]) -> Iterator[tuple[int, int, int]]:
    """Hash, row and column of blocks that occur once in the image, one near each place of a grid."""
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


def _common(held: _Pixels, trained: _Pixels, shift: tuple[int, int]) -> float:
    """Share of the smaller image in common at a shift; 0 where pixels differ, or are too few or too flat to tell."""
    (height, width), (top, left) = held.codes.shape, shift
    rows = range(max(top, 0), min(top + height, trained.codes.shape[0]))
    columns = range(max(left, 0), min(left + width, trained.codes.shape[1]))
    corners = product((rows[0], rows[-_BLOCK]), (columns[0], columns[-_BLOCK]))
    if any(trained.hashes[y, x] != held.hashes[y - top, x - left] for y, x in corners):
        return 0.0
    there = trained.codes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    here = held.codes[rows[0] - top :, columns[0] - left :][: len(rows), : len(columns)]
    share = there.size / min(held.codes.size, trained.codes.size)
    whole = shift == (0, 0) and held.codes.shape == trained.codes.shape
    if whole or share < _MIN_SHARE or not np.array_equal(here, there):
        return 0.0
    changes = sum(int((np.diff(there, axis=axis) != 0).sum()) for axis in (0, 1))
    return share if changes >= _MIN_CHANGES else 0.0
