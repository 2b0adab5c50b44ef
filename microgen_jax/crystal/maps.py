"""EBSD maps: `read_map(path)` reads every format into one `EbsdMap`.

| suffix | format |
|---|---|
| .ang | TSL / EDAX, EMsoft, ASTAR, orix, MTEX; square and hexagonal |
| .ctf | Oxford Channel text |
| .cpr, .crc | Oxford binary pair |
| .h5, .hdf5, .oh5, .edaxh5, .h5oina, .dream3d | EDAX, Oxford, Bruker, orix, DREAM.3D |
| .txt, .csv | TSL and MTEX text export |

Orientations stay in the sample frame in which the vendor wrote them; `EbsdMap.frame` says how that lies to the map.
Their crystal frame is one for all: x of hexagonal and trigonal crystals along a (`orientations`). Oxford's lies along
a*, which is 30 degrees away: as a lies at -30 degrees in its frame, v = Z v' with Z the turn by +30 degrees about c.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.orientations import from_axis_angle, from_euler, multiply, normalise
from microgen_jax.crystal.readers.ang import read_ang
from microgen_jax.crystal.readers.column_export import read_column_export
from microgen_jax.crystal.readers.cpr import read_cpr
from microgen_jax.crystal.readers.ctf import read_ctf
from microgen_jax.crystal.readers.grid import Grid, to_grid
from microgen_jax.crystal.readers.hdf5_scans import read_hdf5
from microgen_jax.crystal.readers.points import Frame, Phase, Points, checked
from microgen_jax.crystal.readers.unindexed import sure_enough
from microgen_jax.errors import UserError

READERS = {
    ".ang": read_ang,
    ".ctf": read_ctf,
    ".cpr": read_cpr,
    ".crc": read_cpr,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".oh5": read_hdf5,
    ".edaxh5": read_hdf5,
    ".h5oina": read_hdf5,
    ".dream3d": read_hdf5,
    ".txt": read_column_export,
    ".csv": read_column_export,
}
MAX_BYTES = 2 * 2**30  # of a text or .crc; HDF5 files may be larger, their data sets are checked one by one
MAX_PROBLEM = 500  # characters of a file's fault that are shown
UNINDEXED = -1  # phase of an unindexed pixel
HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")  # Laue groups with two customs for x
TO_X_ALONG_A = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(30))
MICRONS = {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}


@dataclass(frozen=True)
class EbsdMap:
    """An EBSD map on a square grid: rows down, columns right.

    Attributes:
      orientations: float64 [H, W, 4], unit quaternions, sample -> crystal (`orientations`, eq. 1) with the crystal's
        x along a; identity where unindexed.
      phase: int32 [H, W], the id of one of `phases`; -1 where unindexed.
      indexed: bool [H, W], whether the pixel was measured and has an orientation.
      phases: the phases that the file names.
      pixel_size: height and width of a pixel (dy, dx) in `unit`, equal to 0.1 %.
      unit: unit of length, 'um' as a rule.
      frame: how the sample frame of the orientations lies to the map's rows and columns, and how the vendor's
        crystal frame differed.
      columns: every column as read, Euler angles in the file's units and frame among them, and the number of the
        point in each pixel.
      metadata: further entries of the header.
      notes: remarks on what was repaired or left out, a line each.
      unused: columns, data sets and header fields that were found and not used, a line each.
      described: number of columns and header fields that only describe (operator, beam, quality).
    """

    orientations: Float[np.ndarray, "H W 4"]
    phase: Int[np.ndarray, "H W"]
    indexed: Bool[np.ndarray, "H W"]
    phases: tuple[Phase, ...]
    pixel_size: tuple[float, float]
    unit: str
    frame: Frame
    columns: Columns
    metadata: dict[str, str | float]
    notes: tuple[str, ...]
    unused: tuple[str, ...] = ()
    described: int = 0

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in um; 0 where the unit is no length."""
        return float(np.mean(self.pixel_size)) * MICRONS.get(self.unit, 0.0)

    @property
    def unindexed_share(self) -> float:
        """Share of the pixels that have no orientation."""
        return float(1 - self.indexed.mean())


def read_map(path: str | Path, *, min_confidence: float = 0.0, laue_group: str = "") -> EbsdMap:
    """Read an EBSD map.

    Args:
      path: path of the file; of a .cpr / .crc pair either one.
      min_confidence: least CI, or largest MAD in degrees, of an indexed point; 0 = off.
      laue_group: Laue group of phases for which the file names none; '' leaves them without.

    Raises:
      UserError: the file is missing, broken or of an unknown format; `where` is its path.
    """
    points, grid = _open(Path(path), min_confidence)
    named = tuple(entry._replace(laue_group=entry.laue_group or laue_group) for entry in points.phases)
    points = replace(points, phases=named)
    euler, phase, indexed = _gridded(points, grid)
    orientations, frame_notes = _one_crystal_frame(from_euler(euler), phase, points)
    return EbsdMap(
        orientations=orientations,
        phase=phase,
        indexed=indexed,
        phases=points.phases,
        pixel_size=grid.step,
        unit=points.unit,
        frame=points.frame,
        columns=Columns(points.table, grid.index),
        metadata=points.metadata,
        notes=points.notes + grid.notes + frame_notes,
        unused=points.unused,
        described=points.described,
    )


def _one_crystal_frame(
    orientations: Float[np.ndarray, "H W 4"], phase: Int[np.ndarray, "H W"], points: Points
) -> tuple[Float[np.ndarray, "H W 4"], tuple[str, ...]]:
    """Return the orientations with x along a in every phase, and a note where that turned some."""
    turned = [entry.id for entry in points.phases if entry.laue_group in HEXAGONAL]
    mask = np.isin(phase, turned)
    if points.frame.crystal_x == "a" or not mask.any():
        return orientations, ()
    orientations[mask] = normalise(multiply(TO_X_ALONG_A, orientations[mask]))
    named = ", ".join(str(entry.id) for entry in points.phases if entry.laue_group in HEXAGONAL)
    return orientations, (
        f"phase {named}: crystal frame turned by 30 deg about c, from x along a* to x along a",
    )


def read_euler(
    path: str | Path,
) -> tuple[Float[np.ndarray, "H W 3"], Int[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Read Bunge's angles in radians as the file has them (0 where unindexed), the phase and the indexed mask.

    Args:
      path: the file, as for `read_map`.

    Raises:
      UserError: as `read_map`.
    """
    return _gridded(*_open(Path(path)))


def _open(path: Path, min_confidence: float = 0.0) -> tuple[Points, Grid]:
    try:
        with np.errstate(all="ignore"):  # NaN and infinities of a file are looked for by name
            points = checked(_reader(path)(path))
            indexed, notes = sure_enough(points.confidence, points.indexed, min_confidence)
            return replace(points, indexed=indexed, notes=points.notes + notes), to_grid(points)
    except UserError as fault:
        problem = fault.problem[:MAX_PROBLEM]
        raise UserError(str(path), problem, fault.fix) from None
    except OSError as fault:
        raise UserError(str(path), f"cannot be read: {fault.strerror or 'broken file'}") from None
    except MemoryError:
        raise UserError(str(path), "does not fit into memory", "crop the scan") from None


def _reader(path: Path) -> Callable[[Path], Points]:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError("path", f"{suffix!r} is no known EBSD format", f"known: {', '.join(READERS)}")
    if not path.is_file():
        raise UserError("path", "is no regular file" if path.exists() else "does not exist")
    if READERS[suffix] is not read_hdf5 and path.stat().st_size > MAX_BYTES:
        raise UserError("path", f"is larger than {MAX_BYTES // 2**30} GiB", "crop the scan")
    return READERS[suffix]


def _gridded(points: Points, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indexed = (grid.index >= 0) & points.indexed[grid.index]
    euler = np.where(indexed[..., None], points.euler[grid.index], 0.0)
    return euler, np.where(indexed, points.phase[grid.index], UNINDEXED).astype(np.int32), indexed
