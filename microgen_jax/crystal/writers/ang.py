"""TSL / EDAX text (.ang), a square grid.

Angles are in radians in TSL's frames (`points.TSL`). Unindexed points have 4 pi in all three angles, CI -1, phase 0 and
fit 180. Points that were not touched since they were read from a .ang keep all their columns; new ones have IQ, CI, SEM
signal and fit 0 (CI below 0 would mark them as unindexed).

Source: OIM Analysis manual; EbsdLib's AngReader, orix' ang writer.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.readers.points import TSL
from microgen_jax.crystal.readers.text_parsing import number
from microgen_jax.crystal.readers.unindexed import FULL_TURNS
from microgen_jax.crystal.symmetry import laue_group as laue_group_named
from microgen_jax.crystal.writers.common import (
    LATTICE_NOTE,
    lattice,
    microns,
    one_line,
    phase_numbers,
    positions,
    require_writable,
    rows,
    untouched,
    vendor_euler,
)
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
      UserError: a pixel size that is not positive, a unit that is no length, or a phase without a Laue group.
    """
    require_writable(scan)
    columns, kept = _columns(scan)
    text = "".join(f"# {line}".rstrip() + "\n" for line in _header(scan)) + rows(columns, " ", "\n")
    write_bytes(path, text.encode())
    return (
        f"{int(kept.sum())} of {kept.size} points keep all columns that they were read with",
        LATTICE_NOTE,
    )


def _columns(scan: EbsdMap) -> tuple[dict[str, Shaped[np.ndarray, "H W"]], Bool[np.ndarray, "H W"]]:
    """Return the columns, and which points keep those that they were read with."""
    euler = vendor_euler(scan, TSL)
    phase = phase_numbers(scan)
    x, y = positions(scan)
    radians = np.where(phase[..., None] > 0, np.round(euler, DECIMALS), np.round(FULL_TURNS, DECIMALS))
    zero = np.zeros(phase.shape)
    fresh = {name: radians[..., i] for i, name in enumerate(ANGLES)}
    fresh |= {"x": x, "y": y, "IQ": zero, "CI": np.where(phase > 0, 0.0, -1.0), "Phase index": phase}
    fresh |= {"SEM": zero, "Fit": np.where(phase > 0, 0.0, NO_FIT)}
    read = scan.columns
    if scan.frame != TSL or not {*ANGLES, "CI", "Phase index"} <= set(read):
        return fresh, np.zeros(phase.shape, bool)
    old = np.stack([read[name] for name in ANGLES], axis=-1)
    lost = (np.abs(old - FULL_TURNS) < 1e-3).all(axis=-1) | (read["CI"] < 0)
    kept = untouched(scan, euler, old) & ~lost | (~scan.indexed & (read.index >= 0) & lost)
    others = (*ANGLES, "IQ", "CI", "SEM", "Fit")
    return fresh | {name: np.where(kept, read[name], fresh[name]) for name in others if name in read}, kept


def _header(scan: EbsdMap) -> list[str]:
    height, width = scan.phase.shape
    dy, dx = microns(scan)
    lines = ["TEM_PIXperUM          1.000000"]
    for key in ("x-star", "y-star", "z-star"):
        lines.append(f"{key:<22}{np.nan_to_num(number(str(scan.metadata.get(key, 0)))):.6f}")
    lines += ["WorkingDistance       0.000000", ""]
    for place, phase in enumerate(scan.phases, start=1):
        group = laue_group_named(phase.laue_group)
        lengths, angles = (" ".join(f"{part:.3f}" for part in parts) for parts in lattice(group))
        name = one_line(phase.name, place)
        lines += [f"Phase {place}", f"MaterialName  \t{name}", f"Formula     \t{name}", "Info"]
        lines += [f"Symmetry              {SYMMETRY[group]}", f"LatticeConstants      {lengths}  {angles}"]
        lines += ["NumberFamilies        0", "Categories 0 0 0 0 0", ""]
    lines += ["GRID: SqrGrid", f"XSTEP: {dx:.9g}", f"YSTEP: {dy:.9g}", f"NCOLS_ODD: {width}"]
    return [*lines, f"NCOLS_EVEN: {width}", f"NROWS: {height}", ""]
