"""How near each image is to the training data: copies are found, and set against what held-out images do.

The distance of two tiles is

  (1) d = rms(a - b) / (sqrt(2) s),   s the standard deviation of the training pixels round their channel's mean:

1 for unrelated tiles, 0 for a copy; it is about sqrt(1 - correlation). Training images may be larger than a tile
and are searched at every place; tiles are compared in each way that the data's transform group allows.

The search first compares thumbnails (block means) with windows cut every quarter of a tile. The CANDIDATES nearest are
then verified on all pixels, at every shift of up to half that stride. Block means are never farther apart than the
tiles are, so a tile that fills its training image is ranked by a lower bound of (1).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import fft

from microgen_jax.errors import UserError

COPY = 0.3  # of eq. 1; below it a tile is a copy (correlation about 0.9)
CANDIDATES = 8  # verified for each tile
SIDE = 8  # of a thumbnail, px


class Nearest(NamedTuple):
    """The nearest training window of each tile.

    Attributes:
      distance: float64 [N], eq. 1.
      image: int [N], the training image.
      corner: int [N, 2], (y, x) of the window in it.
      variant: int [N], the transform under which the tile is nearest.
    """

    distance: np.ndarray
    image: np.ndarray
    corner: np.ndarray
    variant: np.ndarray


class Windows(NamedTuple):
    """Training windows as thumbnails.

    Attributes:
      thumbnail: float32 [M, SIDE * SIDE * C].
      image: int [M].
      corner: int [M, 2], (y, x).
      stride: (y, x) between windows.
    """

    thumbnail: np.ndarray
    image: np.ndarray
    corner: np.ndarray
    stride: tuple[int, int]


def nearest(
    blocks: Iterable[np.ndarray],
    images: Sequence[UInt8[np.ndarray, "_ _ C"]],
    size: tuple[int, int],
    allowed: Bool[np.ndarray, "P T"] | None = None,
) -> Iterator[Nearest]:
    """The nearest training window of tiles, block by block.

    Args:
      blocks: tiles under each transform, uint8 [T, n, H, W, C]; some hundreds at a time.
      images: training images, no smaller than a tile.
      size: (height, width) of a tile.
      allowed: which transforms keep each image true; None allows all.

    Raises:
      UserError: no images, or one that is smaller than a tile.
    """
    if not images or any(p.shape[0] < size[0] or p.shape[1] < size[1] for p in images):
        raise UserError(
            "images",
            f"{len(images)} training images, one smaller than {size[0]}x{size[1]} px, or none",
            "give images no smaller than a tile",
        )
    windows = cut(images, size)
    spread = pixel_spread(images)
    for block in blocks:
        variant, window = _prescreen(block, windows, allowed)
        yield _verify(block, images, windows, variant, window, spread)


def cut(images: Sequence[np.ndarray], size: tuple[int, int]) -> Windows:
    """Thumbnails of the windows of every image, a quarter of a tile apart and flush with the far edges."""
    stride = max(1, size[0] // 4), max(1, size[1] // 4)
    thumbnail, image, corner = [], [], []
    for number, pixels in enumerate(images):
        for y in _places(pixels.shape[0] - size[0], stride[0]):
            for x in _places(pixels.shape[1] - size[1], stride[1]):
                thumbnail.append(_thumbnails(pixels[None, y : y + size[0], x : x + size[1]])[0])
                image.append(number)
                corner.append((y, x))
    return Windows(np.stack(thumbnail), np.array(image), np.array(corner), stride)


def pixel_spread(images: Sequence[UInt8[np.ndarray, "_ _ C"]]) -> float:
    """Return the spread s of eq. 1, at least one level."""
    count = sum(p.shape[0] * p.shape[1] for p in images)
    total = sum(p.sum(axis=(0, 1), dtype=np.float64) for p in images)
    squares = sum(np.square(p, dtype=np.float64).sum(axis=(0, 1)) for p in images)
    variance = squares / count - (total / count) ** 2
    return max(float(np.sqrt(max(variance.mean(), 0.0))), 1.0)


def best_shift(
    tile: UInt8[np.ndarray, "h w C"], image: UInt8[np.ndarray, "H W C"]
) -> tuple[float, tuple[int, int]]:
    """The least mean squared difference of a tile to any window of an image, and that window's corner (y, x)."""
    (height, width), (rows, columns) = tile.shape[:2], image.shape[:2]
    if (height, width) == (rows, columns):
        return float(np.mean((tile.astype(np.float32) - image) ** 2)), (0, 0)
    a, b = tile.astype(np.float64), image.astype(np.float64)
    shape = fft.next_fast_len(rows, real=True), fft.next_fast_len(columns, real=True)
    spectrum = np.conj(fft.rfft2(a, s=shape, axes=(0, 1))) * fft.rfft2(b, s=shape, axes=(0, 1))
    free = rows - height + 1, columns - width + 1
    product = fft.irfft2(spectrum.sum(axis=-1), s=shape, axes=(0, 1))[: free[0], : free[1]]
    squares = np.pad(np.cumsum(np.cumsum((b * b).sum(axis=-1), axis=0), axis=1), ((1, 0), (1, 0)))
    inside = squares[height:, width:] - squares[:-height, width:] - squares[height:, :-width]
    inside = inside + squares[:-height, :-width]
    error = inside - 2 * product + np.sum(a * a)
    y, x = np.unravel_index(np.argmin(error), error.shape)
    window = b[y : y + height, x : x + width]
    return float(np.mean((a - window) ** 2)), (int(y), int(x))


def _places(free: int, stride: int) -> list[int]:
    return sorted({*range(0, free + 1, stride), free})


def _thumbnails(tiles: np.ndarray) -> np.ndarray:
    """float32 [N, SIDE * SIDE * C]: block means, weighted so that distances are mean squares' roots."""
    height, width = tiles.shape[1:3]
    rows, columns = (np.linspace(0, side, min(SIDE, side) + 1).astype(int) for side in (height, width))
    sums = np.add.reduceat(tiles.astype(np.float32), rows[:-1], axis=1)
    sums = np.add.reduceat(sums, columns[:-1], axis=2)
    pixels = np.outer(np.diff(rows), np.diff(columns))[None, :, :, None]
    means = sums / np.sqrt(pixels * (height * width * tiles.shape[3])).astype(np.float32)
    return means.reshape(len(tiles), -1)


def _prescreen(
    block: np.ndarray, windows: Windows, allowed: np.ndarray | None
) -> tuple[Int[np.ndarray, "n K"], Int[np.ndarray, "n K"]]:
    """Variant and window of the candidates of each tile, the nearest thumbnails first or last."""
    number = block.shape[1]
    kept = min(CANDIDATES, len(windows.thumbnail))
    own = np.sum(windows.thumbnail**2, axis=1)
    distances, found = [], []
    for n, tiles in enumerate(block):
        squares = own - 2 * (_thumbnails(tiles) @ windows.thumbnail.T)
        squares += np.sum(_thumbnails(tiles) ** 2, axis=1)[:, None]
        if allowed is not None:
            squares[:, ~allowed[windows.image, n]] = np.inf
        best = np.argpartition(squares, kept - 1, axis=1)[:, :kept]
        distances.append(np.take_along_axis(squares, best, axis=1))
        found.append(best)
    distance, window = np.concatenate(distances, axis=1), np.concatenate(found, axis=1)
    variant = np.repeat(np.arange(len(block)), kept)[None].repeat(number, axis=0)
    best = np.argpartition(distance, kept - 1, axis=1)[:, :kept]
    return np.take_along_axis(variant, best, axis=1), np.take_along_axis(window, best, axis=1)


def _verify(
    block: np.ndarray,
    images: Sequence[np.ndarray],
    windows: Windows,
    variant: Int[np.ndarray, "n K"],
    window: Int[np.ndarray, "n K"],
    spread: float,
) -> Nearest:
    height, width = block.shape[2:4]
    reach = windows.stride[0] // 2, windows.stride[1] // 2
    best = []
    for n in range(block.shape[1]):
        found = []
        for v, w in zip(variant[n], window[n]):
            y, x = np.maximum(windows.corner[w] - reach, 0)
            bottom, right = windows.corner[w] + reach + (height, width)
            number = int(windows.image[w])
            error, (dy, dx) = best_shift(block[v, n], images[number][y:bottom, x:right])
            found.append((error, number, (y + dy, x + dx), v))
        best.append(min(found, key=lambda one: one[0]))
    error, image, corner, chosen = zip(*best)
    return Nearest(np.sqrt(np.array(error) / 2) / spread, np.array(image), np.array(corner), np.array(chosen))


def distances_to(
    tiles: UInt8[np.ndarray, "N H W C"], windows: UInt8[np.ndarray, "N H W C"], spread: float
) -> Float[np.ndarray, "N"]:
    """Eq. 1 for pairs of tiles."""
    errors = np.square(tiles.astype(np.float64) - windows).mean(axis=(1, 2, 3))
    return np.sqrt(errors / 2) / spread
