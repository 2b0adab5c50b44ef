"""Images of images: grids, PNG and GIF bytes."""

import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def to_uint8(images: np.ndarray) -> UInt8[np.ndarray, "... H W C"]:
    """Float images in [-1, 1] as bytes; what lies outside is clipped."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def displayable(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] as RGB [H, W, 3]: grey is repeated, of more than three channels the first three are shown."""
    return np.repeat(image[..., :1], 3, -1) if image.shape[-1] < 3 else image[..., :3]


def grid(images: UInt8[np.ndarray, "N H W C"], columns: int = 0, gap: int = 2) -> UInt8[np.ndarray, "Y X 3"]:
    """Images side by side on white, row by row.

    Args:
      images: at least one.
      columns: 0 makes the grid about square.
      gap: px between neighbours.
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
    """uint8 [H, W, 1 | 3] as a PNG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def gif(frames: list[np.ndarray], milliseconds: int = 400) -> bytes:
    """Grids of one size as an endless GIF; the last frame stands five times as long."""
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    times = [milliseconds] * len(rest) + [5 * milliseconds]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=times, loop=0)
    return buffer.getvalue()


def read(path: Path) -> np.ndarray:
    """An image that `png` wrote, as RGB uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
