"""Scans in HDF5: EDAX's .h5, Oxford's .h5oina, orix' .h5 and .dream3d, distinguished by what they hold."""

from pathlib import Path

import h5py
import numpy as np

from microgen_jax.crystal.readers.ang import FRAME as TSL_FRAME
from microgen_jax.crystal.readers.ctf import FRAME as OXFORD_FRAME
from microgen_jax.crystal.readers.dream3d import read_dream3d
from microgen_jax.crystal.readers.points import (
    Phase,
    Points,
    tsl_indexed,
    tsl_phase,
    tsl_unassigned,
    whole_numbers,
)
from microgen_jax.crystal.readers.text_parsing import count, length
from microgen_jax.crystal.readers.untrusted_hdf5 import (
    column,
    has,
    names,
    numbers,
    open_hdf5,
    scalar,
    subgroup,
    subgroups,
    text,
)
from microgen_jax.crystal.symmetry import (
    laue_group,
    laue_group_of_channel,
    laue_group_of_space_group,
    laue_group_of_tsl,
)
from microgen_jax.errors import UserError

NO_POSITION = -1e6  # EDAX: "Grid points with invalid data: x & y = -1111111.0"


def read_hdf5(path: Path) -> Points:
    """Read the first scan of an HDF5 file; further ones are named in the notes.

    Args:
      path: the file.

    Raises:
      UserError: the file is broken, or holds no scan of a known program.
    """
    with open_hdf5(path) as file:
        if (group := subgroup(file, "crystal_map")) is not None:
            return _read_orix(group)
        if has(file, "DataContainers") or has(file, "DataStructure"):
            return read_dream3d(file)
        scans = [
            (name, ebsd) for name, group in subgroups(file) if (ebsd := subgroup(group, "EBSD")) is not None
        ]
        if not scans:
            raise UserError("path", f"holds no scan of EDAX, Oxford, orix or DREAM.3D, but {names(file)[:8]}")
        data, header = subgroup(scans[0][1], "Data"), subgroup(scans[0][1], "Header")
        if data is None or header is None:
            raise UserError("path", f"has no Data and Header in {scans[0][1].name}")
        left = (
            (f"read scan '{scans[0][0]}'; left out {[name for name, _ in scans[1:]]}",) if scans[1:] else ()
        )
        points = _read_oxford(data, header) if has(data, "Euler") else _read_edax(data, header)
        return Points(**{**vars(points), "notes": points.notes + left})


def _read_edax(data: h5py.Group, header: h5py.Group) -> Points:
    euler = _stack(data, ["Phi1", "Phi", "Phi2"])
    phases = _phases(
        header, "Phase", lambda group: laue_group_of_tsl(_whole(group, "Symmetry")), "MaterialName"
    )
    phase = tsl_phase(whole_numbers(column(data, "Phase"), "Phase"), phases)
    _same_length(euler, Phase=phase)
    confidence = column(data, "CI") if has(data, "CI") else None
    valid = column(data, "Valid") if has(data, "Valid") else np.zeros(len(phase))
    _same_length(euler, CI=phase if confidence is None else confidence, Valid=valid)
    indexed = tsl_indexed(euler, confidence) & (valid == 0) & ~tsl_unassigned(phase, phases)
    x, y = _positions(data, len(phase), "X Position", "Y Position")
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=x,
        y=y,
        shape=(_count(header, "nRows"), _count(header, "nColumns")),
        step=(_length(header, "Step Y"), _length(header, "Step X")),
        unit="um",
        frame=TSL_FRAME,
        metadata={"vendor": "EDAX"} | _texts(header, "Grid Type", "Operator", "Sample ID", "Scan ID"),
    )


def _read_oxford(data: h5py.Group, header: h5py.Group) -> Points:
    """Read Oxford's groups: radians, phase 0 unindexed, NaN outside the map.

    Specification: github.com/oinanoanalysis/h5oina.
    """
    euler = numbers(data, "Euler")
    if euler is None or euler.ndim != 2 or euler.shape[1] != 3:
        raise UserError("path", f"needs three Euler angles a point in {data.name}/Euler")
    phases = _phases(header, "Phases", _oxford_laue_group, "Phase Name")
    phase = whole_numbers(np.nan_to_num(column(data, "Phase")), "Phase")
    _same_length(euler, Phase=phase)
    x, y = _positions(data, len(phase), "X", "Y")
    metadata = {"vendor": "Oxford"} | _texts(header, "Project Label", "Specimen Label", "Site Label")
    surface = numbers(header, "Specimen Orientation Euler")
    if surface is not None and surface.size == 3:
        metadata |= {f"AcqE{i + 1}": float(np.degrees(angle)) for i, angle in enumerate(surface.flat)}
    return Points(
        euler=euler.astype(np.float64),
        phase=phase,
        indexed=phase > 0,
        phases=phases,
        x=x,
        y=y,
        shape=(_count(header, "Y Cells"), _count(header, "X Cells")),
        step=(_length(header, "Y Step"), _length(header, "X Step")),
        unit="um",
        frame=OXFORD_FRAME,
        metadata=metadata,
    )


def _read_orix(group: h5py.Group) -> Points:
    data, header = subgroup(group, "data"), subgroup(group, "header")
    if data is None or header is None:
        raise UserError("path", "has no data and header in /crystal_map")
    phase = whole_numbers(column(data, "phase_id"), "phase_id")
    euler = _stack(data, ["phi1", "Phi", "phi2"], len(phase))
    inside = column(data, "is_in_data") != 0 if has(data, "is_in_data") else np.ones(len(phase), bool)
    x, y = _positions(data, len(phase), "x", "y")
    _same_length(euler, phase_id=phase, is_in_data=inside)
    phases = _phases(header, "phases", _orix_laue_group, "name")
    return Points(
        euler=euler,
        phase=phase,
        indexed=inside & (phase >= 0),
        phases=tuple(entry for entry in phases if entry.id >= 0),
        x=x,
        y=y,
        shape=(0, 0),
        step=(_length(header, "y_step"), _length(header, "x_step")),
        unit=text(header, "scan_unit") or "um",
        frame="orix: as the file that orix read",
        metadata={"vendor": "orix"},
    )


def _stack(data: h5py.Group, angles: list[str], points: int = 0) -> np.ndarray:
    """Return three angles a point; of several orientations a point (orix) the first, which is the best."""
    columns = [column(data, name) for name in angles]
    if len({len(angle) for angle in columns}) > 1:
        raise UserError(
            "path", f"has {' / '.join(f'{len(a)} {n}' for a, n in zip(columns, angles))} for the same points"
        )
    if points and len(columns[0]) % points == 0:
        columns = [angle.reshape(points, -1)[:, 0] for angle in columns]
    return np.stack(columns, axis=-1)


def _same_length(euler: np.ndarray, **columns: np.ndarray) -> None:
    for name, values in columns.items():
        if len(values) != len(euler):
            raise UserError("path", f"has {len(values)} values of {name} for {len(euler)} points")


def _positions(data: h5py.Group, points: int, *axes: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return x and y, NaN where EDAX says that there is none; an axis that is left out or holds one number is 0."""
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


def _phases(header: h5py.Group, name: str, group_of, title: str) -> tuple[Phase, ...]:
    listed = subgroup(header, name)
    if listed is None:
        raise UserError("path", f"names no phase, as it has no {header.name}/{name}")
    found = [(key, group) for key, group in subgroups(listed) if key.lstrip("-").isdecimal() and len(key) < 7]
    return tuple(
        Phase(int(key), text(group, title), group_of(group))
        for key, group in sorted(found, key=lambda pair: int(pair[0]))
        if int(key) >= 0
    )


def _oxford_laue_group(phase: h5py.Group) -> str:
    space = _whole(phase, "Space Group")
    return laue_group_of_space_group(space) if space else laue_group_of_channel(_whole(phase, "Laue Group"))


def _orix_laue_group(phase: h5py.Group) -> str:
    point, space = text(phase, "point_group"), text(phase, "space_group")
    return laue_group(point) if point not in ("", "None") else laue_group_of_space_group(count(space))


def _whole(group: h5py.Group, name: str) -> int:
    value = scalar(group, name)
    return int(value) if abs(value) < 1e6 else 0


def _count(header: h5py.Group, name: str) -> int:
    return count(f"{scalar(header, name):f}")


def _length(header: h5py.Group, name: str) -> float:
    return length(repr(scalar(header, name)))


def _texts(header: h5py.Group, *keys: str) -> dict[str, str | float]:
    return {key: value for key in keys if (value := text(header, key))}
