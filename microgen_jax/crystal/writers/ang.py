"""TSL / EDAX text (.ang), a square grid.

Angles are in radians in TSL's frames (`points.TSL`). Unindexed points have 4 pi in all three angles, CI -1, phase 0 and
fit 180. Points that were not touched since they were read from a file of EDAX keep their columns; new ones have IQ, SEM
signal and fit 0, and CI 0, as a CI below 0 would mark them as unindexed.

Source: OIM Analysis manual; EbsdLib's AngReader, orix' ang writer.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.readers.points import TSL
from microgen_jax.crystal.readers.unindexed import FULL_TURNS
from microgen_jax.crystal.writers.common import (
    LATTICE_NOTE,
    Layout,
    entry_number,
    lattice,
    lay_out,
    microns,
    notes_on,
    numbered_phases,
    untouched,
    with_kept,
)
from microgen_jax.crystal.writers.text_table import rows
from microgen_jax.files import write_bytes

SYMMETRY = {
    "-1": 1,
    "2/m": 2,
    "mmm": 22,
    "4/m": 4,
    "4/mmm": 42,
    "-3": 3,
    "-3m": 32,
    "6/m": 6,
    "6/mmm": 62,
    "m-3": 23,
    "m-3m": 43,
}
ANGLES = ("phi1", "PHI", "phi2")
WRITTEN_ANEW = ("x", "y", "Phase index")
IN_HDF5 = {  # names of EDAX' HDF5 files
    "Phi1": "phi1",
    "Phi": "PHI",
    "Phi2": "phi2",
    "X Position": "x",
    "Y Position": "y",
    "Phase": "Phase index",
    "SEM Signal": "SEM",
}
DECIMALS = 6  # of an angle in radians
NO_FIT = 180.0


def write_ang(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .ang file.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`), or a unit that is no length.
    """
    layout = lay_out(scan, TSL)
    fresh, read = _fresh(layout), _as_read(scan)
    kept = _kept(scan, layout, read)
    columns = with_kept(fresh, {name: read[name] for name in read if name not in WRITTEN_ANEW}, kept)
    text = "".join(f"# {line}".rstrip() + "\n" for line in _header(scan)) + rows(columns, " ", "\n")
    write_bytes(path, text.encode())
    copied = [name for name in scan.columns if IN_HDF5.get(name, name) in fresh] if read else ()
    return (*notes_on(scan, kept, copied), LATTICE_NOTE)


def _fresh(layout: Layout) -> dict[str, Shaped[np.ndarray, "H W"]]:
    found = layout.phase > 0
    radians = np.where(found[..., None], np.round(layout.euler, DECIMALS), np.round(FULL_TURNS, DECIMALS))
    zero = np.zeros(found.shape)
    return {
        **{name: radians[..., i] for i, name in enumerate(ANGLES)},
        "x": layout.x,
        "y": layout.y,
        "IQ": zero,
        "CI": np.where(found, 0.0, -1.0),
        "Phase index": layout.phase,
        "SEM": zero,
        "Fit": np.where(found, 0.0, NO_FIT),
    }


def _as_read(scan: EbsdMap) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    """Return the columns of a file of EDAX under the names of .ang; none of another vendor's."""
    names = {IN_HDF5.get(name, name): name for name in scan.columns}
    if scan.frame != TSL or not {*ANGLES, "CI", "Phase index"} <= set(names):
        return {}
    return {name: scan.columns[there] for name, there in names.items()}


def _kept(
    scan: EbsdMap, layout: Layout, read: dict[str, Shaped[np.ndarray, "H W ..."]]
) -> Bool[np.ndarray, "H W"]:
    if not read:
        return np.zeros(layout.phase.shape, bool)
    old = np.stack([read[name] for name in ANGLES], axis=-1).astype(np.float64)
    lost = (np.abs(old - FULL_TURNS) < 1e-3).all(axis=-1) | (read["CI"] < 0)
    return untouched(scan, layout.euler, old) & ~lost | (~scan.indexed & (scan.columns.index >= 0) & lost)


def _header(scan: EbsdMap) -> list[str]:
    height, width = scan.phase.shape
    dy, dx = microns(scan)
    lines = ["TEM_PIXperUM          1.000000"]
    for key in ("x-star", "y-star", "z-star", "WorkingDistance"):
        lines.append(f"{key:<22}{entry_number(scan, key):.6f}")
    lines.append("")
    for place, name, group in numbered_phases(scan):
        lengths, angles = (" ".join(f"{part:.3f}" for part in parts) for parts in lattice(group))
        lines += [f"Phase {place}", f"MaterialName  \t{name}", f"Formula     \t{name}", "Info"]
        lines += [f"Symmetry              {SYMMETRY[group]}", f"LatticeConstants      {lengths}  {angles}"]
        lines += ["NumberFamilies        0", "Categories 0 0 0 0 0", ""]
    lines += ["GRID: SqrGrid", f"XSTEP: {dx:.9g}", f"YSTEP: {dy:.9g}", f"NCOLS_ODD: {width}"]
    return [*lines, f"NCOLS_EVEN: {width}", f"NROWS: {height}", ""]
