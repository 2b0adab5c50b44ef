"""What the numbers of an array stand for: black to white, or which grain a pixel belongs to.

Arrays in HDF5 and npz files carry no such information. A range is found from one dataset's own type and
values, never from those of its neighbours, and is always reported; where several are possible, the dataset is
refused and the choices are listed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from microgen_jax.data.decoding import BadFile
from microgen_jax.errors import UserError


class Range(NamedTuple):
    """Black and white of a dataset; `ids` where its numbers are grain ids, which become a boundary network."""

    low: float
    high: float
    ids: bool = False

    def __str__(self) -> str:
        return "grain ids" if self.ids else f"[{self.low:g}, {self.high:g}]"


def parse_range(text: str) -> Range | None:
    """Return the range that a text names: 'auto' (None), 'ids', or 'low,high'.

    Raises:
      UserError: another text.
    """
    if text in ("", "auto"):
        return None
    if text == "ids":
        return Range(0, 0, ids=True)
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise UserError(
            "value_range", f"{text!r} is not known", "choose auto, ids, or low,high (as in '0,255')"
        )
    return Range(low, high)


def find_range(dtype: np.dtype, low: float, high: float) -> Range:
    """Return the range of a dataset whose smallest and largest values are known.

    16-bit integers that stay below 4096 are 12-bit images or grain ids, and nearly black between 0 and 65535.

    Args:
      dtype: dtype of the dataset.
      low: smallest value.
      high: largest value.

    Raises:
      BadFile: several ranges are possible; the choices are listed.
    """
    if not np.isfinite([low, high]).all():
        raise BadFile("holds values that are no numbers (NaN or infinite)")
    if dtype.kind == "b" or (low >= 0 and high <= 1):
        return Range(0, 1)
    if dtype == np.uint16 and high >= 4096:
        return Range(0, 65535)
    if dtype == np.uint8 or (np.issubdtype(dtype, np.floating) and low >= 0 and high <= 255):
        return Range(0, 255)
    if np.issubdtype(dtype, np.floating) and low >= -1 and high <= 1:
        return Range(-1, 1)
    what = "integers" if np.issubdtype(dtype, np.integer) else "values"
    raise BadFile(f"{what} from {low:g} to {high:g}: set data.value_range to ids, or to 'black,white'")


def scaled(pixels: Shaped[np.ndarray, "H W C"], values: Range) -> Shaped[np.ndarray, "H W C"]:
    """Return numbers of a dataset as an image: uint8 and uint16 where they fill their type, else float32 [0, 1].

    Args:
      pixels: the numbers.
      values: their range.

    Raises:
      BadFile: values outside the range.
    """
    if values.ids:
        return boundaries(pixels)
    if pixels.dtype in (np.uint8, np.uint16) and (values.low, values.high) == (0, np.iinfo(pixels.dtype).max):
        return pixels
    out = (pixels.astype(np.float64) - values.low) / (values.high - values.low)
    if not (np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1):
        raise BadFile(f"values outside {values}")
    return out.astype(np.float32)


def boundaries(ids: Shaped[np.ndarray, "H W C"]) -> Shaped[np.ndarray, "H W C"]:
    """Return grain ids as uint8: 0 where the right or the lower neighbour is another grain, 255 elsewhere."""
    out = np.full(ids.shape, 255, np.uint8)
    out[:-1][ids[:-1] != ids[1:]] = 0
    out[:, :-1][ids[:, :-1] != ids[:, 1:]] = 0
    return out
