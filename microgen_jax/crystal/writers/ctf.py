"""Oxford / HKL Channel text (.ctf).

Angles are in degrees in Oxford's frames (`points.OXFORD`): hexagonal and trigonal crystals have x along a*. Phase 0
stands for unindexed. Points that were not touched since they were read from a file of Oxford keep their columns; new
ones have Bands, Error, MAD, BC and BS 0.

Source: HKL Channel 5 manual; EbsdLib's CtfReader, MTEX's loadEBSD_ctf.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from microgen_jax.crystal.ebsd_map import EbsdMap
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
    with_kept,
)
from microgen_jax.crystal.writers.oxford import ANGLES, PLACED, QUALITY, as_ctf, kept_points
from microgen_jax.crystal.writers.text_table import rows
from microgen_jax.files import write_bytes

DECIMALS = 4  # of an angle in degrees


def write_ctf(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .ctf file.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`), or a unit that is no length.
    """
    layout = lay_out(scan, OXFORD)
    kept = kept_points(scan, layout)
    columns = with_kept(_fresh(layout), as_ctf(scan, kept), kept.points)
    text = "\r\n".join(_header(scan)) + "\r\n" + "\t".join(columns) + "\r\n" + rows(columns, "\t", "\r\n")
    write_bytes(path, text.encode())
    copied = (*PLACED, "Euler", *QUALITY) if "Euler" in scan.columns else (*PLACED, *ANGLES, *columns)
    return (*notes_on(scan, kept.points, copied if kept.unit else ()), LATTICE_NOTE)


def _fresh(layout: Layout) -> dict[str, Shaped[np.ndarray, "H W"]]:
    degrees = np.where(layout.phase[..., None] > 0, np.round(np.degrees(layout.euler), DECIMALS), 0.0)
    zero = np.zeros(layout.phase.shape)
    return {
        "Phase": layout.phase,
        "X": layout.x,
        "Y": layout.y,
        "Bands": zero,
        "Error": zero,
        **{name: degrees[..., i] for i, name in enumerate(ANGLES)},
        "MAD": zero,
        "BC": zero,
        "BS": zero,
    }


def _header(scan: EbsdMap) -> list[str]:
    height, width = scan.phase.shape
    dy, dx = microns(scan)
    lines = ["Channel Text File", "Prj\tmicrogen-jax", "Author\t", "JobMode\tGrid"]
    lines += [f"XCells\t{width}", f"YCells\t{height}", f"XStep\t{dx:.9g}", f"YStep\t{dy:.9g}"]
    lines += [f"AcqE{i}\t{entry_number(scan, f'AcqE{i}'):g}" for i in (1, 2, 3)]
    lines.append(
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\tKV\t0"
    )
    lines.append(f"Phases\t{len(scan.phases)}")
    for _, name, group in numbered_phases(scan):
        lengths, angles = (";".join(f"{part:g}" for part in parts) for parts in lattice(group))
        lines.append(f"{lengths}\t{angles}\t{name}\t{LAUE_GROUPS.index(group) + 1}\t0\t\t\t")
    return lines
