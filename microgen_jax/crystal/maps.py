"""EBSD scans: one door to every format, `read_scan(path) -> Scan`.

| suffix | format |
|---|---|
| .ang | TSL / EDAX, EMsoft, ASTAR, orix, MTEX; square and hexagonal |
| .ctf | Oxford Channel text |
| .cpr, .crc | Oxford binary pair |
| .h5, .hdf5, .h5oina, .dream3d | EDAX, Oxford, orix, DREAM.3D |
| .txt, .csv | TSL and MTEX text export |

Orientations stay in the frame in which the vendor wrote them; `Scan.frame` says how that lies to the map.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from microgen_jax.crystal.orientations import from_euler
from microgen_jax.crystal.readers.ang import read_ang
from microgen_jax.crystal.readers.cpr import read_cpr
from microgen_jax.crystal.readers.ctf import read_ctf
from microgen_jax.crystal.readers.grid import Grid, to_grid
from microgen_jax.crystal.readers.hdf5_scans import read_h5
from microgen_jax.crystal.readers.points import Phase, Points, checked
from microgen_jax.crystal.readers.text import read_text
from microgen_jax.errors import UserError

READERS = {
    ".ang": read_ang,
    ".ctf": read_ctf,
    ".cpr": read_cpr,
    ".crc": read_cpr,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".h5oina": read_h5,
    ".dream3d": read_h5,
    ".txt": read_text,
    ".csv": read_text,
}
MAX_BYTES = 2 * 2**30  # of a text or .crc; HDF5 files may be larger, their data sets are checked one by one
NOT_INDEXED = -1


@dataclass(frozen=True)
class Scan:
    """An EBSD scan on a square grid: rows down, columns right.

    Attributes:
      quaternions: float64 [H, W, 4], sample to crystal (`orientations`, eq. 1); identity where not indexed.
      phase: int32 [H, W], the id of one of `phases`; -1 where not indexed.
      indexed: bool [H, W], whether the point was measured and has an orientation.
      phases: what the file names.
      step: (dy, dx) in `unit`.
      unit: of length, 'um' as a rule.
      frame: how the sample frame of the orientations lies to the map's rows and columns.
      metadata: what else the header says.
      notes: what was repaired or left out, a line each.
    """

    quaternions: Float[np.ndarray, "H W 4"]
    phase: Int[np.ndarray, "H W"]
    indexed: Bool[np.ndarray, "H W"]
    phases: tuple[Phase, ...]
    step: tuple[float, float]
    unit: str
    frame: str
    metadata: dict[str, str | float]
    notes: tuple[str, ...]


def read_scan(path: str | Path) -> Scan:
    """Reads an EBSD scan.

    Args:
      path: the file; of a .cpr / .crc pair either one.

    Raises:
      UserError: one line that names the file and its fault.
    """
    points, grid = _open(Path(path))
    euler, phase, indexed = _gridded(points, grid)
    return Scan(
        quaternions=from_euler(euler),
        phase=phase,
        indexed=indexed,
        phases=points.phases,
        step=grid.step,
        unit=points.unit,
        frame=points.frame,
        metadata=points.metadata,
        notes=points.notes + grid.notes,
    )


def read_euler(
    path: str | Path,
) -> tuple[Float[np.ndarray, "H W 3"], Int[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Reads Bunge's angles in radians as the file has them (0 where not indexed), the phase and the mask.

    Raises:
      UserError: as `read_scan`.
    """
    return _gridded(*_open(Path(path)))


def _open(path: Path) -> tuple[Points, Grid]:
    name = _one_line(str(path))
    try:
        with np.errstate(all="ignore"):  # NaN and infinities of a file are looked for by name
            points = checked(_reader(path)(path))
            return points, to_grid(points)
    except UserError as fault:
        raise UserError(f"{name}: {_one_line(str(fault))}") from None
    except OSError as fault:
        raise UserError(f"{name}: cannot be read: {fault.strerror or 'broken file'}") from None
    except MemoryError:
        raise UserError(f"{name}: does not fit into memory: crop the scan") from None


def _reader(path: Path):
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError(f"is no EBSD scan that is known: known are {', '.join(READERS)}")
    if not path.is_file():
        raise UserError("is no regular file" if path.exists() else "does not exist")
    if READERS[suffix] is not read_h5 and path.stat().st_size > MAX_BYTES:
        raise UserError(f"is larger than {MAX_BYTES // 2**30} GiB: crop the scan")
    return READERS[suffix]


def _gridded(points: Points, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indexed = (grid.index >= 0) & points.indexed[grid.index]
    euler = np.where(indexed[..., None], points.euler[grid.index], 0.0)
    return euler, np.where(indexed, points.phase[grid.index], NOT_INDEXED).astype(np.int32), indexed


def _one_line(text: str) -> str:
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(shown.split())[:500]
