"""Tables of text, a pixel a row."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

BLOCK = 2**16  # rows made at once: numbers as text take twenty times the memory of the file


def rows(columns: Mapping[str, Shaped[np.ndarray, "H W"]], separator: str, end: str) -> str:
    """Return a table of text, a pixel a row, each number in as few digits as give it back.

    Args:
      columns: values by name.
      separator: text between two values.
      end: text at the end of a row.
    """
    table = [_whole(values.ravel()) for values in columns.values()]
    blocks = []
    for first in range(0, len(table[0]), BLOCK):
        texts = [values[first : first + BLOCK].astype(str).tolist() for values in table]
        blocks.append("".join(separator.join(row) + end for row in zip(*texts)))
    return "".join(blocks)


def _whole(values: np.ndarray) -> np.ndarray:
    """Return floats that are all whole numbers as integers, which have no '.0' in text."""
    if (
        values.dtype.kind == "f"
        and np.array_equal(values, np.rint(values))
        and np.abs(values).max(initial=0) < 2**53
    ):
        return values.astype(np.int64)
    return values
