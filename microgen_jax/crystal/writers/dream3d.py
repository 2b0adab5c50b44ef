"""DREAM3D-NX files (.dream3d), version 8.0 of the format; version 6 of the program cannot read them.

One image geometry of one slice holds EulerAngles in radians, Phases (0 is unindexed) and Mask in its cells, and
CrystalStructures and MaterialName in its ensemble, whose entry 0 is the unknown phase. The angles refer to the map's
own axes: x right, y down, z into the sample; x of hexagonal and trigonal crystals lies along a, as EDAX has it. Points
that were not touched since they were read from a .dream3d keep their cell arrays; new ones have 0 there.

Source: simplnx, https://github.com/BlueQuartzSoftware/simplnx (DataStructure/IO/HDF5), and EbsdLib's Laue groups.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.readers.dream3d import EULER, FRAME, LAUE_GROUPS, MASKS, PHASES
from microgen_jax.crystal.writers.common import (
    lay_out,
    microns,
    notes_on,
    numbered_phases,
    single,
    untouched,
    with_kept,
)
from microgen_jax.crystal.writers.hdf5 import write_hdf5

VERSION = "8.0"
UNKNOWN = 999  # structure of the unknown phase
FRAME_NOTE = "Euler angles refer to the map's axes: x right, y down, z into the sample"
GEOMETRY, CELLS, ENSEMBLE = 1, 2, 3  # numbers of the objects; arrays follow


def write_dream3d(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .dream3d file.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`), or a unit that is no length.
    """
    layout = lay_out(scan, FRAME)
    found = layout.phase > 0
    fresh = {
        "EulerAngles": np.where(found[..., None], single(layout.euler), np.float32(0)),
        "Phases": layout.phase,
        "Mask": found,
    }
    read = _as_read(scan)
    kept = np.zeros(found.shape, bool)
    if read:
        kept = untouched(scan, layout.euler, read["EulerAngles"].astype(np.float64))
    further = {name: np.zeros_like(values) for name, values in read.items()}
    cells = with_kept(further | fresh, read, kept)
    height, width = found.shape
    dy, dx = microns(scan)

    def fill(file: h5py.File) -> None:
        file.attrs.create("FileVersion", VERSION, dtype=_fixed(VERSION))
        root = file.create_group("DataStructure")
        image = _group(root, "ImageGeom", "ImageGeom", GEOMETRY)
        image.attrs["_DIMENSIONS"] = np.array([width, height, 1], np.uint64)
        image.attrs["_SPACING"] = np.array([dx, dy, dx], np.float32)
        image.attrs["_ORIGIN"] = np.zeros(3, np.float32)
        image.attrs["Cell Data ID"] = np.uint64(CELLS)
        matrix = _group(image, "Cell Data", "AttributeMatrix", CELLS)
        matrix.attrs["TupleDims"] = np.array([1, height, width], np.uint64)
        number = ENSEMBLE
        for number, (name, values) in enumerate(cells.items(), start=ENSEMBLE + 1):
            _array(matrix, name, values[None], (1, height, width), number)
        _fill_ensemble(_group(image, "Cell Ensemble Data", "AttributeMatrix", ENSEMBLE), scan, number + 1)
        root.attrs["NextObjectId"] = np.uint64(number + 3)

    write_hdf5(path, fill)
    copied = (*EULER, *PHASES, *cells) if read else ()
    return (*notes_on(scan, kept, copied), FRAME_NOTE)


def _as_read(scan: EbsdMap) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    """Return the cell arrays of a file of DREAM.3D, the angles as EulerAngles; none of another vendor's."""
    angles = next((name for name in EULER if name in scan.columns), "")
    if scan.frame != FRAME or not angles:
        return {}
    names = [name for name in scan.columns if name not in (*EULER, *PHASES, *MASKS)]
    return {"EulerAngles": scan.columns[angles]} | {name: scan.columns[name] for name in names}


def _fill_ensemble(matrix: h5py.Group, scan: EbsdMap, number: int) -> None:
    phases = numbered_phases(scan)
    structures = [UNKNOWN, *(LAUE_GROUPS.index(group) for _, _, group in phases)]
    names = ["Unknown", *(name for _, name, _ in phases)]
    matrix.attrs["TupleDims"] = np.array([len(names)], np.uint64)
    _array(matrix, "CrystalStructures", np.array(structures, np.uint32)[:, None], (len(names),), number)
    matrix["MaterialName"] = np.array(names, h5py.string_dtype())
    matrix["MaterialName"].attrs["TupleDimensions"] = np.uint64(len(names))
    _describe(matrix["MaterialName"], "StringArray", number + 1)


def _group(parent: h5py.Group, name: str, kind: str, number: int) -> h5py.Group:
    group = parent.create_group(name)
    _describe(group, kind, number)
    return group


def _array(
    matrix: h5py.Group, name: str, values: Shaped[np.ndarray, "..."], tuples: tuple[int, ...], number: int
) -> None:
    """Write a DataArray: its axes are those of the tuples, from z to x, and then the components."""
    kind = values.dtype.name
    stored = values.astype(np.uint8) if kind == "bool" else values
    components = values.shape[len(tuples) :] or (1,)
    dataset = matrix.create_dataset(name, data=stored.reshape(*tuples, *components), compression="gzip")
    dataset.attrs["TupleDimensions"] = np.array(tuples, np.uint64)
    dataset.attrs["ComponentDimensions"] = np.array(components, np.uint64)
    _describe(dataset, f"DataArray<{kind}>", number)


def _describe(thing: h5py.Group | h5py.Dataset, kind: str, number: int) -> None:
    thing.attrs.create("ObjectType", kind, dtype=_fixed(kind))
    thing.attrs["ObjectId"] = np.uint64(number)
    thing.attrs["Importable"] = np.int32(1)


def _fixed(text: str) -> np.dtype:
    """Return the type of a text with its terminating zero."""
    return h5py.string_dtype("ascii", len(text) + 1)
