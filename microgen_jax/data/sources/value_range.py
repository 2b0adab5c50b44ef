"""What the numbers of images stand for: black to white, or which grain a pixel belongs to.

Arrays in HDF5 and npz files carry no such information, and 16-bit, 32-bit and float image files little. One
rule, `range_of`, serves them all: a range is found from the type and the values of one array, or of the
files of one folder that have one type, never from those of its neighbours. Where several are possible, these
are refused and the choices are listed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from microgen_jax.data.decoding import BadFile, ImageFile
from microgen_jax.errors import UserError

RANGE_SAMPLE = (
    64  # images that a range is found from where not all are decoded; the others are checked when read
)
DARK = 127  # floats that stay below are no certain 8-bit images
Extremes = tuple[float, float]  # smallest and largest value


class Range(NamedTuple):
    """Black and white of an array.

    Attributes:
      low, high: values of black and white.
      ids: whether its numbers are grain ids, which become a boundary network.
      inverted: whether white is the low value.
    """

    low: float
    high: float
    ids: bool = False
    inverted: bool = False

    def __str__(self) -> str:
        if self.ids:
            return "grain ids"
        return f"[{self.low:g}, {self.high:g}]" + (", the low value white" if self.inverted else "")


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


def range_of(
    given: Range | None,
    dtype: np.dtype,
    extremes: Callable[[], Extremes],
    *,
    white: float = 0.0,
    inverted: bool = False,
) -> Range:
    """Return the range of an array, or of image files of one type.

    Args:
      given: range that was asked for; None = to be found. One above 255 does not concern 8-bit integers.
      dtype: their dtype.
      extremes: function that returns their smallest and largest value; called where these are needed.
      white: value of white that a file names; 0 = none.
      inverted: whether the low value is white.

    Raises:
      BadFile: several ranges are possible; the choices are listed.
    """
    if given and not (dtype == np.uint8 and given.high > 255):
        found = given
    else:
        low, high = extremes()
        found = Range(0, white) if white and low >= 0 and high <= white else find_range(dtype, low, high)
    return found._replace(inverted=inverted)


def find_range(dtype: np.dtype, low: float, high: float) -> Range:
    """Return the range of an array whose smallest and largest values are known.

    16-bit integers that stay below 4096 are 12-bit images or grain ids, and nearly black between 0 and 65535; so
    are floats that stay below 127 between 0 and 255.

    Args:
      dtype: dtype of the array.
      low: smallest value.
      high: largest value.

    Raises:
      BadFile: several ranges are possible; the choices are listed.
    """
    if not np.isfinite([low, high]).all():
        raise BadFile("holds values that are no numbers (NaN or infinite)")
    if dtype == np.uint8 and high != 1:
        return Range(0, 255)
    if dtype == np.uint16 and high == 0:
        return Range(0, 65535)  # black, whichever
    if dtype.kind == "b" or (low >= 0 and high <= 1):
        return Range(0, 1)
    if dtype == np.uint16 and high >= 4096:
        return Range(0, 65535)
    if np.issubdtype(dtype, np.floating) and low >= 0 and DARK < high <= 255:
        return Range(0, 255)
    if np.issubdtype(dtype, np.floating) and low >= -1 and high <= 1:
        return Range(-1, 1)
    raise BadFile(_choices(dtype, low, high))


def _choices(dtype: np.dtype, low: float, high: float) -> str:
    if not np.issubdtype(dtype, np.integer):
        return f"values from {low:g} to {high:g}: set data.value_range to 'black,white'"
    bits = max(8, math.ceil(math.log2(max(high, 1) + 1)))
    likely = [f"'0,{2**n - 1}' ({n} bits)" for n in sorted({bits, 16} if dtype == np.uint16 else {bits})]
    choices = ", ".join([*(likely if low >= 0 else ["'black,white'"]), "ids (of grains)"])
    return f"integers from {low:g} to {high:g}: set data.value_range to one of {choices}"


def ranges_of_files(
    files: Mapping[str, ImageFile], given: Range | None, measure: Callable[[str], Extremes]
) -> tuple[dict[str, Range], list[tuple[str, str]]]:
    """Return the range of every image file, those of one folder and one type alike.

    Args:
      files: what each file holds, by its name.
      given: range that was asked for; None = to be found.
      measure: function that decodes a file for its smallest and largest value; raises BadFile.

    Returns:
      The ranges by name, and (name, reason) of files that cannot be decoded, or whose numbers may stand for several.
    """
    broken: dict[str, str] = {}
    alike: dict[tuple, list[str]] = {}
    for name, file in files.items():
        alike.setdefault((name.rpartition("/")[0], file.header.dtype, file.white, file.inverted), []).append(
            name
        )
    sample = max(-(-RANGE_SAMPLE // max(len(alike), 1)), 2)

    def extremes(names: Sequence[str]) -> Extremes:
        known = [(files[name].low, files[name].high) for name in names]
        if math.isnan(sum(low for low, _ in known)):
            known = _measured(names[:: -(-len(names) // sample)], measure, broken)
        return min(low for low, _ in known), max(high for _, high in known)

    ranges: dict[str, Range] = {}
    doubtful: dict[str, str] = {}
    for (_, dtype, white, inverted), names in alike.items():
        try:
            found = range_of(
                given, np.dtype(dtype), lambda n=names: extremes(n), white=white, inverted=inverted
            )
        except BadFile as error:
            doubtful |= dict.fromkeys(names, str(error))
        else:
            ranges |= dict.fromkeys((name for name in names if name not in broken), found)
    return ranges, list((doubtful | broken).items())


def _measured(
    names: Sequence[str], measure: Callable[[str], Extremes], broken: dict[str, str]
) -> list[Extremes]:
    """Return the extremes of the files that can be decoded; `broken` gets the reasons of the others."""
    known = []
    for name in names:
        try:
            known.append(measure(name))
        except BadFile as error:
            broken[name] = str(error)
    if not known:
        raise BadFile(f"its values are not known: {broken[names[0]]} in {names[0]}")
    return known


@lru_cache(maxsize=64)
def stored_as(dtype: np.dtype, values: Range) -> str:
    """Return the dtype of an array's images once they are `scaled`."""
    return scaled(np.full((1, 1, 1), values.low, dtype), values).dtype.name


def scaled(pixels: Shaped[np.ndarray, "H W C"], values: Range) -> Shaped[np.ndarray, "H W C"]:
    """Return numbers as an image: uint8 and uint16 where they fill their type, else float32 [0, 1].

    Args:
      pixels: the numbers.
      values: their range.

    Raises:
      BadFile: values outside the range, or grain ids in several channels.
    """
    if values.ids:
        if pixels.shape[-1] != 1:
            raise BadFile(f"{pixels.shape[-1]} channels, and grain ids (data.value_range) need one")
        return boundaries(pixels)
    if pixels.dtype in (np.uint8, np.uint16) and (values.low, values.high) == (0, np.iinfo(pixels.dtype).max):
        return ~pixels if values.inverted else pixels
    out = (pixels.astype(np.float64) - values.low) / (values.high - values.low)
    if not (np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1):
        raise BadFile(
            f"values from {pixels.min():g} to {pixels.max():g}, outside {values}: see data.value_range"
        )
    return (1 - out if values.inverted else out).astype(np.float32)


def boundaries(ids: Shaped[np.ndarray, "H W C"]) -> Shaped[np.ndarray, "H W C"]:
    """Return grain ids as uint8: 0 where the right or the lower neighbour is another grain, 255 elsewhere."""
    out = np.full(ids.shape, 255, np.uint8)
    out[:-1][ids[:-1] != ids[1:]] = 0
    out[:, :-1][ids[:, :-1] != ids[:, 1:]] = 0
    return out
