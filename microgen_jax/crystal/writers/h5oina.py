"""Oxford's HDF5 (.h5oina), version 5.0 of the format.

Angles are in radians in Oxford's frames (`points.OXFORD`): hexagonal and trigonal crystals have x along a*. Phase 0
stands for unindexed. Points that were not touched since they were read from a file of Oxford keep their columns; new
ones have Bands, Mean Angular Deviation, Band Contrast and Band Slope 0 and the Error of a success, or of no solution.
Numbers are in the types of the specification: angles, steps and positions are float32.

Source: H5OINA file specification, https://github.com/oinanoanalysis/h5oina.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.readers.hdf5_scans import SUCCESS
from microgen_jax.crystal.readers.points import OXFORD
from microgen_jax.crystal.symmetry import LAUE_GROUPS
from microgen_jax.crystal.writers.common import (
    LATTICE_NOTE,
    Layout,
    entry_number,
    lattice,
    lay_out,
    microns,
    notes_on,
    numbered_phases,
    single,
    with_kept,
)
from microgen_jax.crystal.writers.hdf5 import write_hdf5
from microgen_jax.crystal.writers.oxford import ANGLES, PLACED, QUALITY, as_h5oina, kept_points
from microgen_jax.errors import UserError

VERSION = "5.0"
MAX_PHASES = 255  # numbers of one byte
NO_SOLUTION = 2  # Error of an unindexed point
UNITS = {"X": "um", "Y": "um", "Euler": "rad", "Mean Angular Deviation": "rad"}


def write_h5oina(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .h5oina file.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`), a unit that is no length, or more than 255 phases.
    """
    layout = lay_out(scan, OXFORD)
    if len(scan.phases) > MAX_PHASES:
        raise UserError("scan", f"has {len(scan.phases)} phases where .h5oina numbers {MAX_PHASES}")
    kept = kept_points(scan, layout)
    read = as_h5oina(scan, kept)
    further = {name: np.zeros_like(values) for name, values in read.items()}
    columns = with_kept(further | _fresh(layout), read, kept.points)

    def fill(file: h5py.File) -> None:
        file["Manufacturer"] = _text("Oxford Instruments")
        file["Software Version"] = _text("microgen-jax")
        file["Format Version"] = _text(VERSION)
        file["Index"] = _text("1")
        file["Index"].attrs["Type"] = "Single"
        _fill_header(file.create_group("1/EBSD/Header"), scan)
        data = file.create_group("1/EBSD/Data")
        for name, values in columns.items():
            data.create_dataset(name, data=values.reshape(layout.phase.size, -1), compression="gzip")
            if name in UNITS:
                data[name].attrs["Unit"] = UNITS[name]

    write_hdf5(path, fill)
    copied = columns if "Euler" in scan.columns else (*PLACED, *ANGLES, *QUALITY.values())
    return (*notes_on(scan, kept.points, copied if kept.unit else ()), LATTICE_NOTE)


def _fresh(layout: Layout) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    found = layout.phase > 0
    nothing = np.zeros(found.shape, np.uint8)
    return {
        "Phase": layout.phase.astype(np.uint8),
        "X": layout.x.astype(np.float32),
        "Y": layout.y.astype(np.float32),
        "Euler": np.where(found[..., None], single(layout.euler), np.float32(0)),
        "Bands": nothing,
        "Error": np.where(found, SUCCESS, NO_SOLUTION).astype(np.uint8),
        "Mean Angular Deviation": nothing.astype(np.float32),
        "Band Contrast": nothing,
        "Band Slope": nothing,
    }


def _fill_header(header: h5py.Group, scan: EbsdMap) -> None:
    height, width = scan.phase.shape
    dy, dx = microns(scan)
    surface = np.radians([entry_number(scan, f"AcqE{i}") for i in (1, 2, 3)])
    header["Project Label"] = _text(str(scan.metadata.get("Project Label", "microgen-jax")))
    for name, cells in (("X Cells", width), ("Y Cells", height)):
        header[name] = np.array([cells], np.int32)
    for name, number, unit in (
        ("X Step", dx, "um"),
        ("Y Step", dy, "um"),
        ("Specimen Orientation Euler", surface[None], "rad"),
        ("Scanning Rotation Angle", 0.0, "rad"),
        ("Stage Position/X", 0.0, "mm"),
        ("Stage Position/Y", 0.0, "mm"),
    ):
        header[name] = np.atleast_1d(number).astype(np.float32)
        header[name].attrs["Unit"] = unit
    for place, name, group in numbered_phases(scan):
        lengths, angles = lattice(group)
        phase = header.create_group(f"Phases/{place}")
        phase["Phase Name"], phase["Reference"] = _text(name), _text("")
        phase["Lattice Angles"] = np.radians([angles]).astype(np.float32)
        phase["Lattice Dimensions"] = np.array([lengths], np.float32)
        phase["Laue Group"] = np.array([LAUE_GROUPS.index(group) + 1], np.int32)
        phase["Laue Group"].attrs["Symbol"] = group


def _text(value: str) -> np.ndarray:
    return np.array([value], h5py.string_dtype())
