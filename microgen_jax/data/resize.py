"""From an image of any size to an array of one size: window, resampling, padding, and the change to [-1, 1].

Every way of resampling but `area` picks source rows and source columns, so every colour was in the image: averaged
IPF colours would be those of orientations that are not there.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int, Shaped
from PIL import Image

from microgen_jax.errors import UserError

SAME_SCALE = 0.05  # relative difference of two scales that count as one
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def step_sizes(shape: tuple[int, int], size: tuple[int, int], resample: str) -> tuple[float, float]:
    """Return source px per output px along height and width: 1 for `none`, the fit of the short side otherwise."""
    height, width = shape[0] / size[0], shape[1] / size[1]
    if resample == "none":
        return 1.0, 1.0
    if resample == "stretch":
        return height, width
    return min(height, width), min(height, width)


def common_scale(
    shapes: Iterable[tuple[int, int]], size: tuple[int, int], resample: str
) -> tuple[float, float, float]:
    """Return source px per output px of all images, 0 where it differs by more than 5 %, and its least and greatest.

    Args:
      shapes: height, width of each image in px.
      size: height, width in px that they are brought to.
      resample: none | nearest | area | stretch.
    """
    steps = [step for shape in set(shapes) for step in step_sizes(shape, size, resample)]
    low, high = min(steps), max(steps)
    return (low + high) / 2 if high <= low * (1 + SAME_SCALE) else 0.0, low, high


def too_small(shape: tuple[int, int], size: tuple[int, int], resample: str) -> bool:
    """Return whether the image must be padded."""
    return resample == "none" and (shape[0] < size[0] or shape[1] < size[1])


def fit(
    image: Shaped[np.ndarray, "H W C"],
    size: tuple[int, int],
    *,
    resample: str = "none",
    pad: str = "reflect",
    rng: np.random.Generator | None = None,
) -> Shaped[np.ndarray, "h w C"]:
    """Return a window of the image.

    Args:
      image: the image.
      size: height, width of the window in px.
      resample: none = at the original pixel size; nearest | area = the short side fitted, a window of the long side
        taken; stretch = the whole image by nearest sampling, whatever that does to its aspect ratio.
      pad: what surrounds an image that is smaller than the window: its mirror image, or the median
        of its border (`background`).
      rng: generator of the window's place; None = the middle window.

    Returns:
      The image's own dtype, but float32 in the same units for `area`.
    """
    steps = step_sizes(image.shape[:2], size, resample)
    starts = [_start(n, m * step, rng) for n, m, step in zip(image.shape[:2], size, steps)]
    if resample == "area":
        return _area(image, size, starts, steps)
    if resample == "none" and not too_small(image.shape[:2], size, resample):
        top, left = (int(start) for start in starts)
        return image[top : top + size[0], left : left + size[1]]
    rows, columns = (
        np.floor(start + (np.arange(n) + 0.5) * step).astype(np.int64)
        for start, n, step in zip(starts, size, steps)
    )
    picked = image[reflect(rows, image.shape[0])[:, None], reflect(columns, image.shape[1])]
    if pad == "background" and resample == "none":
        inside = np.ix_(_inside(rows, image.shape[0]), _inside(columns, image.shape[1]))
        filled = np.broadcast_to(background(image), picked.shape).copy()
        filled[inside] = picked[inside]
        return filled
    return picked


def _start(length: int, window: float, rng: np.random.Generator | None) -> float:
    slack = round(length - window, 6)
    if rng is None or slack <= 0:
        return float(np.floor(slack / 2))
    if slack == int(slack):
        return float(rng.integers(int(slack) + 1))
    return rng.uniform(0.0, slack)


def _inside(indices: np.ndarray, length: int) -> np.ndarray:
    return (indices >= 0) & (indices < length)


def reflect(indices: Int[np.ndarray, "N"], length: int) -> Int[np.ndarray, "N"]:
    """Mirror indices beyond either end of an axis back, as often as needed; the end is not repeated."""
    period = max(2 * (length - 1), 1)
    folded = indices % period
    return np.where(folded < length, folded, period - folded)


def background(image: Shaped[np.ndarray, "H W C"]) -> Shaped[np.ndarray, "C"]:
    """Return the median of the border of each channel."""
    border = [image[0], image[-1], image[:, 0], image[:, -1]]
    return np.median(np.concatenate(border), axis=0).astype(image.dtype)


def _area(image: np.ndarray, size: tuple[int, int], starts: list[float], steps: tuple) -> np.ndarray:
    top, left = starts
    box = (
        left,
        top,
        min(left + size[1] * steps[1], image.shape[1]),
        min(top + size[0] * steps[0], image.shape[0]),
    )
    channels = (Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(image, -1, 0))
    return np.stack([np.asarray(c.resize(size[::-1], Image.Resampling.BOX, box)) for c in channels], axis=-1)


def to_channels(
    image: Shaped[np.ndarray, "H W C"], channels: int, *, to_grey: bool = False
) -> Shaped[np.ndarray, "H W c"]:
    """Turn grey images into colour ones of three equal channels, and colour ones into grey where nothing is lost.

    Args:
      image: the image.
      channels: number of channels wanted.
      to_grey: whether colour images whose channels differ become their luminance (ITU-R BT.601, rounded for
        integers).

    Raises:
      UserError: the image has other channels, or colours would be lost and `to_grey` is False.
    """
    found = image.shape[-1]
    if found == channels:
        return image
    if found == 1 and channels == 3:
        return np.broadcast_to(image, (*image.shape[:2], 3))
    if found == 3 and channels == 1:
        if (image == image[..., :1]).all():
            return image[..., :1]
        if to_grey:
            grey = image.astype(np.float32) @ LUMINANCE
            return (grey if image.dtype == np.float32 else np.rint(grey).astype(image.dtype))[..., None]
    raise UserError("channels", *channel_fault(found, channels))


def channel_fault(found: int, channels: int) -> tuple[str, str]:
    """Return problem and fix of an image whose channels do not fit."""
    if (found, channels) == (3, 1):
        return "in colour, and data.channels=1", "set data.channels=3, or data.to_grey=True"
    return f"{found} channels, and data.channels={channels}", f"set data.channels={found}"


def to_float(image: Shaped[np.ndarray, "H W C"], dtype: np.dtype | None = None) -> Float[np.ndarray, "H W C"]:
    """Convert uint8, uint16 and float images to float32 [-1, 1].

    Args:
      image: the image.
      dtype: dtype of the image as it was stored, where `image` is float32 in its units (after `area`).
    """
    dtype = image.dtype if dtype is None else dtype
    span = 1.0 if np.issubdtype(dtype, np.floating) else float(np.iinfo(dtype).max)
    out = np.multiply(image, np.float32(2.0 / span), dtype=np.float32, order="C")
    out -= np.float32(1.0)
    return out
