"""The columns of a scan as its file has them, laid on the map when they are asked for."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Int, Shaped


class Columns(Mapping[str, np.ndarray]):
    """Every column of a file, bit for bit, in the file's own units and order.

    `columns['CI']` is [H, W], or [H, W, K] where a point has K numbers: the value of the point in each pixel, 0
    where a pixel has none. A writer that keeps the points in the order of the file takes `table` and `index`.

    Attributes:
      table: each column as read [N] or [N, K], by its name in the file.
      index: number of the point in each pixel [H, W]; -1 where there is none.
    """

    def __init__(self, table: dict[str, Shaped[np.ndarray, "N ..."]], index: Int[np.ndarray, "H W"]) -> None:
        """Keep the columns of a file and where their points lie.

        Args:
          table: each column as read, by its name in the file.
          index: number of the point in each pixel; -1 where there is none.
        """
        self.table = table
        self.index = index

    @property
    def points(self) -> int:
        """Number of points in the file."""
        return len(next(iter(self.table.values()), ()))

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "H W ..."]:
        """Return a column on the map."""
        on_map = self.table[name][self.index]
        on_map[self.index < 0] = np.zeros((), on_map.dtype)
        return on_map

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of the file."""
        return iter(self.table)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.table)
