"""EBSD maps: `read_map(path)` reads every format into one `EbsdMap`, `write_map(scan, path)` writes it by suffix.

| suffix | read | written |
|---|---|---|
| .ang | TSL / EDAX, EMsoft, ASTAR, orix, MTEX; square and hexagonal | TSL / EDAX, square |
| .ctf | Oxford Channel text | the same |
| .cpr, .crc | Oxford binary pair | |
| .h5oina | Oxford | version 5.0 |
| .dream3d | versions 6 to 8 | version 8.0 |
| .h5, .hdf5, .oh5, .edaxh5 | EDAX, Oxford, Bruker, orix, DREAM.3D | |
| .txt, .csv | TSL and MTEX text export | |
| .npz | what `write_map` wrote | everything that an `EbsdMap` holds |
| .vti | | ParaView |
| .damask | | a folder: geom.vti and material.yaml of DAMASK's grid solver |
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.ebsd_map import HEXAGONAL, TO_X_ALONG_A, UNINDEXED, EbsdMap
from microgen_jax.crystal.orientations import from_euler, multiply, normalise
from microgen_jax.crystal.readers.ang import read_ang
from microgen_jax.crystal.readers.column_export import read_column_export
from microgen_jax.crystal.readers.cpr import read_cpr
from microgen_jax.crystal.readers.ctf import read_ctf
from microgen_jax.crystal.readers.grid import Grid, to_grid
from microgen_jax.crystal.readers.hdf5_scans import read_hdf5
from microgen_jax.crystal.readers.npz import read_npz
from microgen_jax.crystal.readers.points import Phase, Points, checked, setting_notes
from microgen_jax.crystal.readers.unindexed import above_threshold
from microgen_jax.crystal.writers.ang import write_ang
from microgen_jax.crystal.writers.ctf import write_ctf
from microgen_jax.crystal.writers.damask import write_damask
from microgen_jax.crystal.writers.dream3d import write_dream3d
from microgen_jax.crystal.writers.h5oina import write_h5oina
from microgen_jax.crystal.writers.npz import write_npz
from microgen_jax.crystal.writers.vti import write_vti
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
WRITERS = {
    ".ang": write_ang,
    ".ctf": write_ctf,
    ".h5oina": write_h5oina,
    ".dream3d": write_dream3d,
    ".npz": write_npz,
    ".vti": write_vti,
    ".damask": write_damask,
}
NPZ = ".npz"
MAX_BYTES = 2 * 2**30  # of a text or .crc; HDF5 files may be larger, their data sets are checked one by one
MAX_PROBLEM = 500  # characters of a file's fault that are shown


def read_map(path: str | Path, *, min_confidence: float = 0.0, laue_group: str = "") -> EbsdMap:
    """Read an EBSD map.

    Args:
      path: path of the file; of a .cpr / .crc pair either one.
      min_confidence: least CI, or largest MAD in degrees, of an indexed point; 0 = off.
      laue_group: Laue group of phases for which the file names none; '' leaves them without.

    Raises:
      UserError: the file is missing, broken or of an unknown format, where `where` is its path; or `min_confidence`
        with a .npz, whose points were judged when they were first read.
    """
    path = Path(path)
    if path.suffix.lower() == NPZ:
        if min_confidence:
            raise UserError(
                "min_confidence", f"{min_confidence:g} is not applied to .npz", "give it with the first file"
            )
        with _faults_of(path):
            scan = read_npz(_existing(path))
        return replace(scan, phases=_with_laue_group(scan.phases, laue_group))
    points, grid = _open(path, min_confidence)
    points = replace(points, phases=_with_laue_group(points.phases, laue_group))
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


def write_map(scan: EbsdMap, path: str | Path) -> tuple[str, ...]:
    """Write an EBSD map in the format of a suffix, in the place of what was there.

    A file is written whole or not at all; in a .damask folder, files of other names stay.
    Points that were not touched since they were read from a file of the same vendor keep its columns (CI, MAD, ...);
    new ones get what means "not measured" there.

    Args:
      scan: map to write.
      path: path of the file, or of the folder where the suffix is .damask.

    Returns:
      What the format cannot hold and what was decided, a line each.

    Raises:
      UserError: an unknown suffix, a path that cannot be written, or a map that the format cannot hold: a pixel size
        that is not positive, a phase without a Laue group, more than two dimensions, unindexed pixels for .damask.
    """
    path = Path(path)
    if (suffix := path.suffix.lower()) not in WRITERS:
        raise UserError("path", f"{suffix!r} is no format that is written", f"known: {', '.join(WRITERS)}")
    try:
        return WRITERS[suffix](path, scan)
    except OSError as fault:
        raise UserError(str(path), f"cannot be written: {fault.strerror or fault}") from None


def _with_laue_group(phases: tuple[Phase, ...], laue_group: str) -> tuple[Phase, ...]:
    return tuple(entry._replace(laue_group=entry.laue_group or laue_group) for entry in phases)


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
    with _faults_of(path), np.errstate(all="ignore"):  # NaN and infinities of a file are looked for by name
        points = checked(_reader(path)(path))
        indexed, notes = above_threshold(points.confidence, points.indexed, min_confidence)
        notes = points.notes + setting_notes(points.phases) + notes
        return replace(points, indexed=indexed, notes=notes), to_grid(points)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Name faults within after a file."""
    try:
        yield
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
        known = ", ".join((*READERS, NPZ))
        raise UserError("path", f"{suffix!r} is no known EBSD format", f"known: {known}")
    _existing(path)
    if READERS[suffix] is not read_hdf5 and path.stat().st_size > MAX_BYTES:
        raise UserError("path", f"is larger than {MAX_BYTES // 2**30} GiB", "crop the scan")
    return READERS[suffix]


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError("path", "does not exist", "check the path")
    if not path.is_file():
        raise UserError("path", "is no regular file", "name the file itself")
    return path


def _gridded(points: Points, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indexed = (grid.index >= 0) & points.indexed[grid.index]
    euler = np.where(indexed[..., None], points.euler[grid.index], 0.0)
    return euler, np.where(indexed, points.phase[grid.index], UNINDEXED).astype(np.int32), indexed
