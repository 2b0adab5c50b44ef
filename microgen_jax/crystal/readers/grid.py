"""From measured points, in any order and with gaps, to the cells of a square grid.

  (1) Square grids: column = round((x - min x) / dx), row = round((y - min y) / dy).
  (2) Hexagonal grids have every other row moved by dx / 2, and dy = dx sqrt(3) / 2. Counted in half steps,
      their points lie on the fields of one colour of a chess board. Their square grid has the pitch dx both
      ways, and each of its cells takes the nearest point.

Steps of the header are used where the positions agree with them, and measured from the positions otherwise.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.crystal.readers.points import Points
from microgen_jax.errors import UserError

CELLS_PER_POINT = 8  # a grid with fewer points than this in its cells is no grid
SAME_STEP = 1e-3  # relative difference of two steps that count as equal


class Grid(NamedTuple):
    """The cells of a square grid, with the point that lies in each.

    Attributes:
      index: row of the point in `Points` [H, W]; -1 where there is none.
      step: (dy, dx).
      notes: remarks on what did not fit the header.
    """

    index: Int[np.ndarray, "H W"]
    step: tuple[float, float]
    notes: tuple[str, ...]


def to_grid(points: Points) -> Grid:
    """Lay points on a square grid.

    Args:
      points: points of a reader.

    Raises:
      UserError: the positions lie on no grid, or the file ends before the last rows that its header promises.
    """
    if points.x is None:
        return _in_order(points, ())
    placed = np.flatnonzero(np.isfinite(points.x) & np.isfinite(points.y))
    if not len(placed):
        raise UserError("path", "gives no point a position")
    rows, dy = _count_steps(points.y[placed], points.step[0], "y")
    columns, dx = _count_steps(points.x[placed], points.step[1], "x")
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    if height * width > CELLS_PER_POINT * len(placed) + 1024:
        raise UserError(
            "path",
            f"has {len(placed)} points strewn over {width} x {height} cells",
            "its positions or steps are wrong",
        )
    table = np.full((height, width), -1, np.int64)
    table[rows, columns] = placed
    filled = table >= 0
    if 2 * filled.sum() < len(placed):
        return _in_order(points, ("all points have the same few positions: taken row by row",))
    _refuse_cut_off(filled, *points.shape)
    notes = _notes(points, len(placed), int(filled.sum()))
    parity = (rows + columns) & 1
    if len(placed) >= 8 and height > 1 and width > 2 and (parity == parity[0]).all():
        index, step = _stagger_to_square(table, dy, dx, int(parity[0]))
        return Grid(
            index, step, (*notes, f"hexagonal grid put on {index.shape[1]} x {index.shape[0]} square cells")
        )
    return _square(table, dy, dx, notes)


def _in_order(points: Points, notes: tuple[str, ...]) -> Grid:
    height, width = points.shape
    count = len(points.phase)
    if height * width != count:
        raise UserError("path", f"holds {count} points where its header promises {width} x {height}")
    return _square(np.arange(count).reshape(height, width), *points.step, notes)


def _square(table: Int[np.ndarray, "R C"], dy: float, dx: float, notes: tuple[str, ...]) -> Grid:
    """Return the grid as it is where its steps are equal, else on square cells of the finer step, by nearest."""
    dy, dx = dy or dx or 1.0, dx or dy or 1.0
    step = min(dy, dx)
    if max(dy, dx) <= step * (1 + SAME_STEP):
        return Grid(table, (dy, dx), notes)
    if max(dy, dx) > CELLS_PER_POINT * step:
        raise UserError("path", f"has steps of {dx:g} along x and {dy:g} along y", "no square grid fits them")
    rows, columns = (_nearest(cells, size / step) for cells, size in zip(table.shape, (dy, dx)))
    index = table[rows[:, None], columns]
    note = (
        f"steps of {dx:g} along x and {dy:g} along y: put on {index.shape[1]} x {index.shape[0]} square cells of"
        f" {step:g} by nearest"
    )
    return Grid(index, (step, step), (*notes, note))


def _nearest(cells: int, ratio: float) -> Int[np.ndarray, "n"]:
    """Return the cell in which each cell, `ratio` times finer, has its middle."""
    middles = (np.arange(max(1, round(cells * ratio))) + 0.5) / ratio
    return np.minimum(middles.astype(np.int64), cells - 1)


def _count_steps(
    values: Float[np.ndarray, "N"], hint: float, axis: str
) -> tuple[Int[np.ndarray, "N"], float]:
    """Return how many steps each position lies from the first, and the step."""
    first = float(values.min())
    span = float(values.max()) - first
    if span == 0:
        return np.zeros(len(values), np.int64), hint
    for step in (hint, *_measured_steps(values)):
        if step > 0 and 0.75 <= span / step < 1e8:
            steps = np.rint((values - first) / step)
            if np.abs(values - first - steps * step).max() <= 0.25 * step:
                steps = steps.astype(np.int64)
                steps //= np.gcd.reduce(steps)
                measured = span / int(steps.max())
                return steps, hint if abs(hint - measured) < 1e-3 * measured else measured
    raise UserError("path", f"has {axis} positions that lie on no regular grid")


def _measured_steps(values: Float[np.ndarray, "N"]) -> tuple[float, ...]:
    """Return candidates: all columns there, most columns there, any two neighbours there."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-6 * np.abs(distinct).max()]
    if not len(gaps):
        return ()
    return float(gaps.sum() / len(gaps)), float(np.median(gaps)), float(gaps.min())


def _refuse_cut_off(filled: np.ndarray, promised_rows: int, promised_columns: int) -> None:
    per_row = filled.sum(axis=1)
    usual = per_row[:-1].min() if len(per_row) > 1 else promised_columns
    if len(per_row) < promised_rows and per_row[-1] < usual:
        raise UserError(
            "path", f"is cut off inside row {len(per_row)} of the {promised_rows} that its header promises"
        )


def _notes(points: Points, placed: int, filled: int) -> tuple[str, ...]:
    count, promised = len(points.phase), points.shape[0] * points.shape[1]
    notes = []
    if promised and abs(promised - count) > points.shape[0]:
        notes.append(
            f"the header promises {points.shape[1]} x {points.shape[0]} points, the file holds {count}"
        )
    if placed < count:
        notes.append(f"{count - placed} points without a position left out")
    if filled < placed:
        notes.append(f"{placed - filled} points lie where another one does: the last one counts")
    return tuple(notes)


def _stagger_to_square(
    table: Int[np.ndarray, "R C"], dy: float, half: float, parity: int
) -> tuple[Int[np.ndarray, "H W"], tuple[float, float]]:
    """Return the nearest point of each square cell of pitch 2 half, and that pitch."""
    rows, columns = table.shape
    pitch = 2 * half
    height = int((rows - 1) * dy / pitch + 1e-6) + 1
    width = (columns - 1) // 2 + 1
    y = np.arange(height) * pitch / dy  # in rows
    near = np.stack([np.floor(y), np.floor(y) + 1]).astype(np.int64)
    moved = (near + parity) & 1  # whether the row's points lie half a step beside the cells
    distance = ((near - y) * dy) ** 2 + (moved * half) ** 2
    distance[near >= rows] = np.inf
    best = np.argmin(distance, axis=0)
    row, shift = (np.take_along_axis(pair, best[None], axis=0)[0] for pair in (near, moved))
    column = 2 * np.arange(width) + shift[:, None]
    column = np.where(column < columns, column, column - 2 * shift[:, None])
    return table[row[:, None], column], (pitch, pitch)
