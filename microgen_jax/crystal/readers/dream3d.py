"""DREAM.3D files of one slice, of versions 6 (`DataContainers`) and 7 and later (`DataStructure`).

Cells are kept as [z, y, x, components]; phase 0 is "unindexed"; `CrystalStructures` numbers the Laue groups
as EbsdLib does.
"""

import h5py
import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.hdf5_columns import single, table_of
from microgen_jax.crystal.readers.points import MAX_POINTS, Phase, Points, assumed_frame, whole_numbers
from microgen_jax.crystal.readers.unindexed import (
    Failures,
    confidence_of,
    judge,
    oxford_failures,
    tsl_failures,
)
from microgen_jax.crystal.readers.untrusted_hdf5 import (
    attribute,
    column,
    has,
    names,
    numbers,
    subgroup,
    subgroups,
    texts,
)
from microgen_jax.errors import UserError

LAUE_GROUPS = ("6/mmm", "m-3m", "6/m", "m-3", "-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m")
EULER = ("EulerAngles", "CellEulerAngles", "Euler Angles", "Eulers")
PHASES = ("Phases", "CellPhases", "Phase")
MASKS = ("Mask", "GoodVoxels", "Good Voxels", "ThresholdArray")
CONFIDENCES = ("Confidence Index", "ConfidenceIndex", "CI")
FRAME = assumed_frame("DREAM.3D: as its pipeline left it")


def read_dream3d(file: h5py.File) -> Points:
    """Read the first image geometry that has Euler angles and phases in its cells.

    Args:
      file: the opened HDF5 file.

    Raises:
      UserError: there is no such geometry, it is a volume, or it is broken.
    """
    root = subgroup(file, "DataContainers") or subgroup(file, "DataStructure")
    for _, container in subgroups(root) if root is not None else []:
        geometry = _geometry(container)
        cells = _holder(container, EULER)
        if geometry is not None and cells is not None:
            return _read(container, cells, *geometry)
    raise UserError("path", "has no image geometry with EulerAngles in its cells")


def _read(container: h5py.Group, cells: h5py.Group, dimensions: np.ndarray, spacing: np.ndarray) -> Points:
    euler, phase = numbers(cells, *EULER), numbers(cells, *PHASES)
    if phase is None:
        raise UserError("path", f"has no Phases in {cells.name}")
    phase = whole_numbers(phase.reshape(-1).astype(np.float64), "Phases")
    if euler.size != 3 * len(phase):
        raise UserError("path", f"has {euler.size} Euler angles for {len(phase)} cells in {cells.name}")
    if dimensions[2] != 1:
        raise UserError("path", f"is a volume of {dimensions[2]:.0f} slices", "export one slice")
    if dimensions[0] * dimensions[1] != len(phase):
        raise UserError(
            "path", f"promises {dimensions[0]:.0f} x {dimensions[1]:.0f} cells but holds {len(phase)}"
        )
    euler = euler.reshape(-1, 3).astype(np.float64)
    table, unread = table_of(cells, len(phase), (1, int(dimensions[1]), int(dimensions[0])))
    failures = _failures(table, euler, phase)
    indexed, notes = judge(failures)
    unused, passed = described.sort_out(table, (*EULER, *PHASES, *MASKS), described.DREAM3D, "cell array")
    beside = [name for name, group in subgroups(container) if group.name != cells.name and not _known(group)]
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=_phases(container),
        x=None,
        y=None,
        shape=(int(dimensions[1]), int(dimensions[0])),
        step=(float(spacing[1]), float(spacing[0])),
        unit="um",
        frame=FRAME,
        metadata={"vendor": "DREAM.3D"},
        notes=notes,
        unused=unread + unused + tuple(f"group {name[:80]!r}: only cells are read" for name in beside),
        described=passed,
        table=table,
        confidence=confidence_of(ci=single(table, *CONFIDENCES), mad=single(table, "MAD")),
    )


def _failures(table: dict[str, np.ndarray], euler: np.ndarray, phase: np.ndarray) -> Failures:
    """Return the points that are not indexed, by reason, from whichever vendor's columns came along."""
    failures = {}
    if (mask := single(table, *MASKS)) is not None:
        failures["a Mask that is false"] = mask == 0
    error, mad, bands = (single(table, name) for name in ("Error", "MAD", "Bands"))
    failures |= oxford_failures(euler, phase, error, mad, bands)
    return failures | tsl_failures(euler, single(table, *CONFIDENCES), single(table, "Fit"))


def _known(group: h5py.Group) -> bool:
    return has(group, "CrystalStructures") or has(group, "SPACING") or not names(group)


def _geometry(container: h5py.Group) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (nx, ny, nz) and (dx, dy, dz) as float64."""
    inner = subgroup(container, "_SIMPL_GEOMETRY")
    if inner is not None:
        found = [numbers(inner, "DIMENSIONS"), numbers(inner, "SPACING")]
    else:
        found = [attribute(container, name) for name in ("_DIMENSIONS", "_SPACING")]
    if any(values is None or values.size != 3 for values in found):
        return None
    dimensions, spacing = (values.reshape(-1).astype(np.float64) for values in found)
    if not (np.isfinite(spacing) & (spacing >= 0)).all() or not (dimensions >= 1).all():
        raise UserError("path", f"has a broken geometry in {container.name}")
    if dimensions.prod() > MAX_POINTS:
        raise UserError("path", f"promises {dimensions.prod():.6g} cells where at most {MAX_POINTS} are read")
    return dimensions, spacing


def _holder(container: h5py.Group, aliases: tuple[str, ...]) -> h5py.Group | None:
    """Return the group in a container that holds a data set of one of some names."""
    for _, group in subgroups(container):
        if any(has(group, name) for name in aliases):
            return group
    return None


def _phases(container: h5py.Group) -> tuple[Phase, ...]:
    ensemble = _holder(container, ("CrystalStructures",))
    if ensemble is None:
        raise UserError("path", f"names no phase, as it has no CrystalStructures in {container.name}")
    structures = column(ensemble, "CrystalStructures")
    titles = texts(ensemble, "MaterialName", "PhaseName", "Material Name", "Phase Name")
    phases = []
    for i, structure in enumerate(structures[1:256].tolist(), start=1):  # entry 0 is the unknown phase
        if not 0 <= structure < len(LAUE_GROUPS):
            raise UserError(
                "path", f"gives phase {i} the crystal structure {structure}, not 0 to {len(LAUE_GROUPS) - 1}"
            )
        phases.append(Phase(i, titles[i] if i < len(titles) else "", LAUE_GROUPS[int(structure)]))
    return tuple(phases)
