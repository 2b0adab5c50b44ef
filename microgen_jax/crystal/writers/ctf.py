"""Oxford / HKL Channel text (.ctf).

Angles are in degrees in Oxford's frames (`points.OXFORD`): hexagonal and trigonal crystals have x along a*. Phase 0
stands for unindexed. Points that were not touched since they were read from a .ctf or .cpr keep all their columns; new
ones have Bands, Error, MAD, BC and BS 0.

Source: HKL Channel 5 manual; EbsdLib's CtfReader, MTEX's loadEBSD_ctf.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.readers.points import OXFORD
from microgen_jax.crystal.symmetry import LAUE_GROUPS
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

ANGLES = ("Euler1", "Euler2", "Euler3")
DECIMALS = 4  # of an angle in degrees


def write_ctf(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .ctf file.

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
    text = "\r\n".join(_header(scan)) + "\r\n" + "\t".join(columns) + "\r\n" + rows(columns, "\t", "\r\n")
    write_bytes(path, text.encode())
    return (
        f"{int(kept.sum())} of {kept.size} points keep all columns that they were read with",
        LATTICE_NOTE,
    )


def _columns(scan: EbsdMap) -> tuple[dict[str, Shaped[np.ndarray, "H W"]], Bool[np.ndarray, "H W"]]:
    """Return the columns, and which points keep those that they were read with."""
    euler = vendor_euler(scan, OXFORD)
    phase = phase_numbers(scan)
    x, y = positions(scan)
    degrees = np.where(phase[..., None] > 0, np.round(np.degrees(euler), DECIMALS), 0.0)
    zero = np.zeros(phase.shape)
    fresh = {"Phase": phase, "X": x, "Y": y, "Bands": zero, "Error": zero}
    fresh |= {name: degrees[..., i] for i, name in enumerate(ANGLES)}
    fresh |= {"MAD": zero, "BC": zero, "BS": zero}
    read = scan.columns
    if scan.frame != OXFORD or not {"Phase", *ANGLES} <= set(read):
        return fresh, np.zeros(phase.shape, bool)
    kept = untouched(scan, euler, np.radians(np.stack([read[name] for name in ANGLES], axis=-1)))
    kept = (kept | (~scan.indexed & (read.index >= 0))) & (read["Phase"] == phase)
    others = ("Bands", "Error", *ANGLES, "MAD", "BC", "BS")
    return fresh | {name: np.where(kept, read[name], fresh[name]) for name in others if name in read}, kept


def _header(scan: EbsdMap) -> list[str]:
    height, width = scan.phase.shape
    dy, dx = microns(scan)
    lines = ["Channel Text File", "Prj\tmicrogen-jax", "Author\t", "JobMode\tGrid"]
    lines += [f"XCells\t{width}", f"YCells\t{height}", f"XStep\t{dx:.9g}", f"YStep\t{dy:.9g}"]
    lines += [f"AcqE{i}\t{scan.metadata.get(f'AcqE{i}', 0):g}" for i in (1, 2, 3)]
    lines.append(
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\tKV\t0"
    )
    lines.append(f"Phases\t{len(scan.phases)}")
    for place, phase in enumerate(scan.phases, start=1):
        group = laue_group_named(phase.laue_group)
        lengths, angles = (";".join(f"{part:g}" for part in parts) for parts in lattice(group))
        number = LAUE_GROUPS.index(group) + 1
        lines.append(f"{lengths}\t{angles}\t{one_line(phase.name, place)}\t{number}\t0\t\t\t")
    return lines
