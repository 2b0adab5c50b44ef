"""Scans in HDF5: EDAX, Oxford, Bruker, orix, kikuchipy and DREAM.3D, distinguished by what they hold."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.bruker import read_bruker
from microgen_jax.crystal.readers.ctf import turned_surface
from microgen_jax.crystal.readers.dream3d import read_dream3d
from microgen_jax.crystal.readers.hdf5_columns import (
    cells_of,
    entries_of_phases,
    phases_of,
    positions,
    require_same_length,
    single,
    stack,
    step_of,
    table_of,
    texts_of,
    whole,
)
from microgen_jax.crystal.readers.orix import read_orix
from microgen_jax.crystal.readers.points import (
    OXFORD,
    TSL,
    Points,
    oxford_notes,
    tsl_phase,
    tsl_unassigned,
    whole_numbers,
)
from microgen_jax.crystal.readers.unindexed import confidence_of, judge, oxford_failures, tsl_failures
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
    laue_group_of_channel,
    laue_group_of_space_group,
    laue_group_of_tsl,
)
from microgen_jax.errors import UserError

SUCCESS = 1  # Error of Oxford's HDF5 files, where 0 stands for "not analysed"
EDAX_COLUMNS = ("Phi1", "Phi", "Phi2", "Phase", "CI", "Valid", "X Position", "Y Position")
EDAX_FIELDS = ("nRows", "nColumns", "Step X", "Step Y", "Coordinate System", "Phase")
OXFORD_FIELDS = ("X Cells", "Y Cells", "X Step", "Y Step", "Phases", "Specimen Orientation Euler",
                 "Scanning Rotation Angle")  # fmt: skip
USUAL_SETTING = 2  # of EDAX' coordinate systems: the one that `points.TSL` is


def read_hdf5(path: Path) -> Points:
    """Read the first scan of an HDF5 file; further ones are named in the notes.

    Args:
      path: the file.

    Raises:
      UserError: the file is broken, or holds no scan of a known program.
    """
    with open_hdf5(path) as file:
        if (group := subgroup(file, "crystal_map")) is not None:
            return read_orix(group)
        if has(file, "DataContainers") or has(file, "DataStructure"):
            return read_dream3d(file)
        scans = [
            (name, ebsd) for name, group in subgroups(file) if (ebsd := subgroup(group, "EBSD")) is not None
        ]
        if not scans:
            raise UserError(
                "path", f"holds no scan of EDAX, Oxford, Bruker, orix or DREAM.3D, but {names(file)[:8]}"
            )
        name, ebsd = scans[0]
        points = _read_scan(file, ebsd)
        notes = points.notes
        if scans[1:]:
            notes += (f"read scan '{name}'; left out {[other for other, _ in scans[1:]]}",)
        beside = [entry for entry in names(file[name]) if entry not in ("EBSD", "SEM")]
        within = [entry for entry in names(ebsd) if entry not in ("Data", "Header", "SEM")]
        unused, passed = described.sort_out(
            [*beside, *within], (), "Index|Version", "group", "only EBSD is read"
        )
        return replace(
            points, notes=notes, unused=points.unused + unused, described=points.described + passed
        )


def _read_scan(file: h5py.File, ebsd: h5py.Group) -> Points:
    for path in (("CrystalMap", "crystal_map"), ("xmap", "crystal_map"), ("xmap",)):
        if (group := subgroup(ebsd, *path)) is not None:
            return read_orix(group)
    data, header = subgroup(ebsd, "Data"), subgroup(ebsd, "Header")
    maker = text(file, "Manufacturer") or text(file, "manufacturer") or text(file, " Manufacturer")
    if subgroup(ebsd, "ANG") is not None:
        raise UserError(
            "path", "is a file of EDAX APEX, which is not read", "export .oh5, .ang or .h5 from OIM"
        )
    if data is None or header is None:
        raise UserError("path", f"has no Data and Header in {ebsd.name}")
    if has(data, "Euler"):
        return _read_oxford(data, header)
    if has(data, "PHI"):
        return read_bruker(ebsd, data, header)
    if has(data, "patterns") or "kikuchipy" in maker.lower():
        raise UserError(
            "path",
            "is of kikuchipy and holds patterns without orientations",
            "save its crystal map with orix",
        )
    return _read_edax(data, header)


def _read_edax(data: h5py.Group, header: h5py.Group) -> Points:
    euler = stack(data, ["Phi1", "Phi", "Phi2"])
    phases = phases_of(header, "Phase", _edax_laue_group, "MaterialName")
    numbered = whole_numbers(column(data, "Phase"), "Phase")
    require_same_length(euler, Phase=numbered)
    table, unread = table_of(data, len(euler))
    confidence = column(data, "CI") if has(data, "CI") else None
    valid = column(data, "Valid") if has(data, "Valid") else np.zeros(len(euler))
    require_same_length(euler, CI=confidence, Valid=valid)
    failures = tsl_failures(euler, confidence, table.get("Fit")) | {"Valid not 0": valid != 0}
    phase, phase_notes = tsl_phase(numbered, phases, judge(failures)[0])
    failures["no phase"] = tsl_unassigned(phase, phases)
    indexed, notes = judge(failures)
    x, y = positions(data, len(euler), "X Position", "Y Position")
    unused, passed = described.left_over(
        described.EDAX,
        {
            "column": (table, EDAX_COLUMNS),
            "header field": (names(header), EDAX_FIELDS),
            "entry of a phase": (
                entries_of_phases(header, "Phase"),
                ("MaterialName", "Symmetry", "Space Group"),
            ),
        },
    )
    system = subgroup(header, "Coordinate System")
    setting = whole(system, "ID") if system is not None and has(system, "ID") else USUAL_SETTING
    if setting != USUAL_SETTING:
        unused += (f"Coordinate System {setting}: the sample frame of setting {USUAL_SETTING} is taken",)
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=x,
        y=y,
        shape=(cells_of(header, "nRows"), cells_of(header, "nColumns")),
        step=(step_of(header, "Step Y"), step_of(header, "Step X")),
        unit="um",
        frame=TSL,
        metadata={"vendor": "EDAX"} | texts_of(header, "Grid Type", "Operator", "Sample ID", "Scan ID"),
        notes=phase_notes + notes,
        unused=unread + unused,
        described=passed,
        table=table,
        confidence=confidence_of(ci=confidence),
    )


def _read_oxford(data: h5py.Group, header: h5py.Group) -> Points:
    """Read Oxford's groups: radians, phase 0 unindexed, Error 1 a success, NaN outside the map.

    Specification: github.com/oinanoanalysis/h5oina.
    """
    stored = numbers(data, "Euler")
    if stored is None or stored.ndim != 2 or stored.shape[1] != 3:
        raise UserError("path", f"needs three Euler angles a point in {data.name}/Euler")
    euler = stored.astype(np.float64)
    phases = phases_of(header, "Phases", _oxford_laue_group, "Phase Name")
    phase = whole_numbers(np.nan_to_num(column(data, "Phase")), "Phase")
    require_same_length(euler, Phase=phase)
    table, unread = table_of(data, len(euler))
    error, mad, bands = (single(table, name) for name in ("Error", "Mean Angular Deviation", "Bands"))
    if error is not None:
        error = np.where(error == SUCCESS, 0, error)
    indexed, notes = judge(oxford_failures(euler, phase, error, mad, bands))
    x, y = positions(data, len(euler), "X", "Y")
    metadata = {"vendor": "Oxford"} | texts_of(header, "Project Label", "Specimen Label", "Site Label")
    unused, passed = described.left_over(
        described.OXFORD,
        {
            "column": (table, ("Euler", "Phase", "X", "Y")),
            "header field": (names(header), OXFORD_FIELDS),
            "entry of a phase": (
                entries_of_phases(header, "Phases"),
                ("Phase Name", "Laue Group", "Space Group"),
            ),
        },
    )
    surface = numbers(header, "Specimen Orientation Euler")
    if surface is not None and surface.size == 3:
        angles = [float(np.degrees(angle)) for angle in surface.flat]
        metadata |= {f"AcqE{i + 1}": angle for i, angle in enumerate(angles)}
        unused += turned_surface(angles)
    if has(header, "Scanning Rotation Angle") and (turn := scalar(header, "Scanning Rotation Angle")):
        unused += (f"Scanning Rotation Angle of {turn:g} rad: orientations stay in the frame of the file",)
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=x,
        y=y,
        shape=(cells_of(header, "Y Cells"), cells_of(header, "X Cells")),
        step=(step_of(header, "Y Step"), step_of(header, "X Step")),
        unit="um",
        frame=OXFORD,
        metadata=metadata,
        notes=notes + oxford_notes(indexed, error),
        unused=unread + unused,
        described=passed,
        table=table,
        confidence=confidence_of(mad=None if mad is None else np.degrees(mad)),
    )


def _edax_laue_group(phase: h5py.Group) -> str:
    space = whole(phase, "Space Group")
    if not has(phase, "Symmetry") and space:
        return laue_group_of_space_group(space)
    return laue_group_of_tsl(text(phase, "Symmetry") or whole(phase, "Symmetry"))


def _oxford_laue_group(phase: h5py.Group) -> str:
    space = whole(phase, "Space Group")
    return laue_group_of_space_group(space) if space else laue_group_of_channel(whole(phase, "Laue Group"))
