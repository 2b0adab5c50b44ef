"""What the readers of HDF5 scans share: columns of equal length, positions, phases and short header entries."""

from collections.abc import Callable

import h5py
import numpy as np
from jaxtyping import Float, Shaped

from microgen_jax.crystal.readers.points import Phase
from microgen_jax.crystal.readers.text_parsing import count, length
from microgen_jax.crystal.readers.untrusted_hdf5 import (
    column,
    has,
    names,
    numbers,
    scalar,
    subgroup,
    subgroups,
    text,
)
from microgen_jax.crystal.symmetry import twofold_axis
from microgen_jax.errors import UserError

NO_POSITION = -1e6  # EDAX: "Grid points with invalid data: x & y = -1111111.0"
MAX_NUMBERS = 16  # a point; patterns and spectra hold more


def table_of(
    data: h5py.Group, points: int, cells: tuple[int, ...] = ()
) -> tuple[dict[str, Shaped[np.ndarray, "N ..."]], tuple[str, ...]]:
    """Return every column of numbers as stored, [N] or [N, K], and lines on the data sets that are none.

    Args:
      data: the group of the columns.
      points: number of points.
      cells: shape in which points are stored, as in DREAM.3D; () = in a row.
    """
    table, unused = {}, []
    for name in names(data):
        try:
            table[name] = _values(data, name, points, cells)
        except UserError as fault:
            unused.append(f"data set {name[:80]!r}: {fault.problem[:200]}")
    return table, tuple(unused)


def _values(data: h5py.Group, name: str, points: int, cells: tuple[int, ...]) -> Shaped[np.ndarray, "N ..."]:
    values = numbers(data, name, most=points * MAX_NUMBERS)
    if values is None:
        raise UserError("path", "is a group")
    leading = len(cells) or 1
    if values.shape[:leading] != (cells or (points,)):
        raise UserError("path", f"has the shape {values.shape}, which is not one value a point")
    values = values.reshape(points, -1)
    return values[:, 0] if values.shape[1] == 1 else values


def single(table: dict[str, Shaped[np.ndarray, "N ..."]], *aliases: str) -> Shaped[np.ndarray, "N"] | None:
    """Return the first column of some names that has one number a point; None where there is none.

    Args:
      table: columns by name.
      *aliases: names of the column.
    """
    return next((table[name] for name in aliases if name in table and table[name].ndim == 1), None)


def stack(data: h5py.Group, angles: list[str], points: int = 0) -> Float[np.ndarray, "N 3"]:
    """Return three angles a point; of several orientations a point (orix) the first, which is the best.

    Args:
      data: the group of the columns.
      angles: names of the three columns.
      points: number of points; 0 = as many as there are angles.

    Raises:
      UserError: one of them is missing or of another length.
    """
    columns = [column(data, name) for name in angles]
    if len({len(angle) for angle in columns}) > 1:
        raise UserError(
            "path", f"has {' / '.join(f'{len(a)} {n}' for a, n in zip(columns, angles))} for the same points"
        )
    if points and len(columns[0]) % points == 0:
        columns = [angle.reshape(points, -1)[:, 0] for angle in columns]
    return np.stack(columns, axis=-1)


def require_same_length(euler: Float[np.ndarray, "N 3"], **columns: np.ndarray | None) -> None:
    """Refuse columns of another length than the angles.

    Args:
      euler: Euler angles.
      **columns: columns by name; None is left out.

    Raises:
      UserError: a column is longer or shorter.
    """
    for name, values in columns.items():
        if values is not None and len(values) != len(euler):
            raise UserError("path", f"has {len(values)} values of {name} for {len(euler)} points")


def positions(
    data: h5py.Group, points: int, *axes: str
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]] | tuple[None, None]:
    """Return x and y, NaN where EDAX says that there is none; an axis left out or of one number is 0.

    Args:
      data: the group of the columns.
      points: number of points.
      *axes: names of x and of y.

    Raises:
      UserError: an axis of another length.
    """
    if not any(has(data, axis) for axis in axes):
        return None, None
    found = []
    for axis in axes:
        values = column(data, axis) if has(data, axis) else np.zeros(1)
        values = np.zeros(points) if values.size == 1 else np.where(values < NO_POSITION, np.nan, values)
        if len(values) != points:
            raise UserError("path", f"has {len(values)} values of {axis} for {points} points")
        found.append(values)
    return found[0], found[1]


def phases_of(
    header: h5py.Group, name: str, group_of: Callable[[h5py.Group], str], title: str
) -> tuple[Phase, ...]:
    """Return the phases under a group of the header, by number.

    Args:
      header: the header.
      name: name of the group that lists the phases.
      group_of: function from a phase's group to its Laue group.
      title: data set that holds a phase's name.

    Raises:
      UserError: there is no such group.
    """
    listed = subgroup(header, name)
    if listed is None:
        raise UserError("path", f"names no phase, as it has no {header.name}/{name}")
    found = [(key, group) for key, group in subgroups(listed) if key.lstrip("-").isdecimal() and len(key) < 7]
    return tuple(
        Phase(int(key), text(group, title), group_of(group), _twofold_axis(group))
        for key, group in sorted(found, key=lambda pair: int(pair[0]))
        if int(key) >= 0
    )


def entries_of_phases(header: h5py.Group, name: str) -> list[str]:
    """Return the names of all entries of the phases.

    Args:
      header: the header.
      name: name of the group that lists the phases.
    """
    listed = subgroup(header, name)
    groups = [] if listed is None else subgroups(listed)[:256]
    return list(dict.fromkeys(entry for _, group in groups for entry in names(group)))


def _twofold_axis(phase: h5py.Group) -> str:
    """Return `symmetry.twofold_axis` of the number that EDAX and Oxford, Bruker or orix give, or orix' point group."""
    space = whole(phase, "Space Group") or whole(phase, "IT") or count(text(phase, "space_group"))
    return twofold_axis(text(phase, "point_group"), space)


def whole(group: h5py.Group, name: str) -> int:
    """Return a whole number of a header; 0 where there is none.

    Args:
      group: the group.
      name: name of the data set.
    """
    value = scalar(group, name)
    return int(value) if abs(value) < 1e6 else 0


def cells_of(header: h5py.Group, name: str) -> int:
    """Return a count of a header; 0 where there is none.

    Args:
      header: the header.
      name: name of the data set.
    """
    return count(f"{scalar(header, name):f}")


def step_of(header: h5py.Group, name: str) -> float:
    """Return a step of a header; 0 where there is none.

    Args:
      header: the header.
      name: name of the data set.
    """
    return length(repr(scalar(header, name)))


def texts_of(header: h5py.Group, *keys: str) -> dict[str, str | float]:
    """Return the texts of a header that are there.

    Args:
      header: the header.
      *keys: names of the data sets.
    """
    return {key: value for key in keys if (value := text(header, key))}
