"""8-bit images: conversion, grids, PNG and GIF files."""

import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def to_uint8(images: np.ndarray) -> UInt8[np.ndarray, "... H W C"]:
    """Return float images in [-1, 1] as uint8; values outside are clipped.

    Args:
      images: float images [..., H, W, C].
    """
    return np.clip(np.rint((np.asarray(images, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def displayable(image: np.ndarray) -> np.ndarray:
    """Return an image as RGB: grey is repeated, of more than three channels the first three are taken.

    Args:
      image: uint8 [H, W, C].
    """
    return np.repeat(image[..., :1], 3, -1) if image.shape[-1] < 3 else image[..., :3]


def grid(images: UInt8[np.ndarray, "N H W C"], columns: int = 0, gap: int = 2) -> UInt8[np.ndarray, "Y X 3"]:
    """Return images side by side on white, row by row.

    Args:
      images: one or more images of one size.
      columns: number of columns; 0 makes the grid about square.
      gap: distance of neighbours in px.
    """
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = displayable(image)
    return sheet


def png(image: np.ndarray) -> bytes:
    """Return the bytes of a PNG file.

    Args:
      image: uint8 [H, W, 1] or [H, W, 3].
    """
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def gif(frames: list[np.ndarray], milliseconds: int = 400) -> bytes:
    """Return the bytes of an endless GIF whose last frame is shown five times as long.

    Args:
      frames: RGB images of one size, uint8 [H, W, 3].
      milliseconds: time for which each frame is shown.
    """
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    times = [milliseconds] * len(rest) + [5 * milliseconds]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=times, loop=0)
    return buffer.getvalue()


def read(path: Path) -> np.ndarray:
    """Return an image file as RGB, uint8 [H, W, 3].

    Args:
      path: a file that `png` wrote.
    """
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
