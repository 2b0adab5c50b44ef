"""Tables of text, a pixel a row."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped


def rows(columns: Mapping[str, Shaped[np.ndarray, "H W"]], separator: str, end: str) -> str:
    """Return a table of text, a pixel a row, each number in as few digits as give it back.

    Args:
      columns: values by name.
      separator: text between two values.
      end: text at the end of a row.
    """
    texts = [_texts(values.ravel()) for values in columns.values()]
    return "".join(separator.join(row) + end for row in zip(*texts))


def _texts(values: np.ndarray) -> list[str]:
    if (
        values.dtype.kind == "f"
        and np.array_equal(values, np.rint(values))
        and np.abs(values).max(initial=0) < 2**53
    ):
        values = values.astype(np.int64)
    return values.astype(str).tolist()
