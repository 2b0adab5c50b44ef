"""The common result of all readers: the points of a scan in its file's order.

Every reader takes `path`, and names it in its errors; `read_map` puts the path itself in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from microgen_jax.crystal.readers.unindexed import FULL_TURNS, Confidence
from microgen_jax.errors import UserError

MAX_POINTS = 2**25


class Phase(NamedTuple):
    """One kind of crystal in a scan.

    Attributes:
      id: number of the phase in `EbsdMap.phase`.
      name: name in the file.
      laue_group: name in `symmetry.LAUE_GROUPS`; '' if the file names none.
      twofold_axis: 'a*' of a phase in the setting -31m, which is treated as -3m1 (`symmetry.twofold_axis`); else ''.
    """

    id: int
    name: str
    laue_group: str
    twofold_axis: str = ""


TURNED_SETTING = (
    "the setting -31m, with twofold axes along a*, is taken as -3m1, with axes along a: colours and misorientations are"
    " those of a crystal turned by 30 deg about c"
)


def setting_notes(phases: Sequence[Phase]) -> tuple[str, ...]:
    """Return a line for each phase whose twofold axes lie elsewhere than they are taken to.

    Args:
      phases: phases of a scan.
    """
    return tuple(f"phase {phase.id}: {TURNED_SETTING}" for phase in phases if phase.twofold_axis)


class Frame(NamedTuple):
    """How the axes of a vendor lie.

    Attributes:
      text: description of the sample frame of the angles.
      to_image: rows of the matrix that turns sample coordinates into those of the map: x right, y down, z inwards.
      crystal_x: axis of hexagonal and trigonal crystals along which x lies: a | a*.
    """

    text: str
    to_image: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
    crystal_x: str


# MTEX: loadEBSD_ang ('setting 2', half a turn about x + y), loadEBSD_ctf; crystal axes as its CrystalReferenceSystem.
TSL = Frame(
    "TSL: the sample frame of the angles is turned by 180 deg about x + y against the map's x right, y down;"
    " x of hexagonal and trigonal crystals along a",
    ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    "a",
)
OXFORD = Frame(
    "Oxford: the sample frame of the angles is turned by 180 deg about x against the map's x right, y down;"
    " x of hexagonal and trigonal crystals along a*",
    ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "a*",
)


def assumed_frame(text: str, crystal_x: str = "a") -> Frame:
    """Return the frame of a file that gives none: the sample's axes are assumed to be the map's.

    Args:
      text: description of the file's origin.
      crystal_x: axis of hexagonal and trigonal crystals along which x is taken to lie: a | a*.
    """
    description = f"{text}; x of hexagonal and trigonal crystals is taken to lie along {crystal_x}"
    return Frame(description, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), crystal_x)


@dataclass(frozen=True)
class Points:
    """Measured points in the order of their file.

    Attributes:
      euler: Bunge's angles in radians [N, 3]; anything where unindexed.
      phase: id of one of `phases` [N]; anything where unindexed.
      indexed: whether the point has an orientation [N].
      phases: the phases that the header names.
      x: positions along a row in `unit`; None where the order of the file is the grid.
      y: positions down the rows in `unit`, None as for x.
      shape: rows and columns that the header promises, 0 where it does not; never trusted for an allocation.
      step: (dy, dx) as the header has it; 0 where it names none.
      unit: unit of length.
      frame: how the sample frame of the angles lies to the map's x and y, and x to the crystal.
      metadata: further entries of the header that a person may need.
      notes: remarks on what was repaired or left out.
      unused: columns, data sets and header fields that change what values mean and were found and not used, each
        with the reason; entries that only describe (operator, date, beam) are not among them.
      described: number of entries that only describe.
      table: every column as read, in the file's units [N] or [N, K].
      confidence: how sure the program was of each point; None where the file does not say.
    """

    euler: Float[np.ndarray, "N 3"]
    phase: Int[np.ndarray, "N"]
    indexed: Bool[np.ndarray, "N"]
    phases: tuple[Phase, ...]
    x: Float[np.ndarray, "N"] | None
    y: Float[np.ndarray, "N"] | None
    shape: tuple[int, int]
    step: tuple[float, float]
    unit: str
    frame: Frame
    metadata: dict[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    described: int = 0
    table: dict[str, Shaped[np.ndarray, "N ..."]] = field(default_factory=dict)
    confidence: Confidence | None = None


def checked(points: Points) -> Points:
    """Return the points with those that hold NaN or infinite angles marked as unindexed.

    Args:
      points: points of a reader.

    Raises:
      UserError: no points, no phase, a phase that the header does not name, angles beyond two full turns.
    """
    if not len(points.phase):
        raise UserError("path", "holds a header but no points")
    limit_points(len(points.phase))
    if not points.phases:
        raise UserError("path", "names no phase", "its header must give at least one with its symmetry")
    known = [phase.id for phase in points.phases]
    if len(set(known)) < len(known):
        raise UserError("path", f"names phases with the same number: {known}")
    broken = points.indexed & ~np.isfinite(points.euler).all(axis=-1)
    indexed = points.indexed & ~broken
    largest = np.abs(points.euler[indexed]).max(initial=0.0)
    if largest > FULL_TURNS + 1e-3:
        raise UserError(
            "path", f"Euler angles reach {largest:.6g} rad", "their unit is wrong, or the columns are"
        )
    unnamed = np.setdiff1d(points.phase[indexed], known)
    if len(unnamed):
        raise UserError(
            "path", f"has points of phase {unnamed[0]}, which its header does not name (it names {known})"
        )
    notes = (f"{broken.sum()} points hold no finite angles: unindexed",) if broken.any() else ()
    return Points(**{**vars(points), "indexed": indexed, "notes": points.notes + notes})


def limit_points(count: int) -> None:
    """Refuse a scan that is too large to be read whole.

    Args:
      count: number of its points.

    Raises:
      UserError: more than MAX_POINTS.
    """
    if count > MAX_POINTS:
        raise UserError("path", f"holds {count} points where at most {MAX_POINTS} are read", "crop the scan")


def whole_numbers(values: Float[np.ndarray, "N"], name: str) -> Int[np.ndarray, "N"]:
    """Return a column of small whole numbers as int32.

    Args:
      values: the column.
      name: name of the column, for the error.

    Raises:
      UserError: a value is no whole number below a million.
    """
    fits = np.isfinite(values) & (np.abs(values) < 1e6)
    fits[fits] = values[fits] == np.rint(values[fits])
    if not fits.all():
        raise UserError("path", f"{name} must hold whole numbers, not {values[~fits][0]}")
    return values.astype(np.int32)


def tsl_unassigned(phase: Int[np.ndarray, "N"], phases: tuple[Phase, ...]) -> Bool[np.ndarray, "N"]:
    """Return which points have no phase: 0 or less where the header gives no phase such a number.

    Args:
      phase: phase id of each point.
      phases: the phases that the header names.
    """
    return (phase <= 0) & ~np.isin(phase, [entry.id for entry in phases])


def tsl_phase(
    phase: Int[np.ndarray, "N"], phases: tuple[Phase, ...], indexed: Bool[np.ndarray, "N"]
) -> tuple[Int[np.ndarray, "N"], tuple[str, ...]]:
    """Return phase ids as the header numbers them, and a note where the points are numbered from 0.

    TSL writes 0 for the phase of a file of one phase, and some programs number the points of several from 0. That is
    detected by points of phase 0 that are indexed as well as the others, and a last phase that never occurs.

    Args:
      phase: phase id of each point.
      phases: the phases that the header names.
      indexed: which points the program indexed.
    """
    ids = [entry.id for entry in phases]
    zero = phase == 0
    if 0 in ids or not zero.any():
        return phase, ()
    if len(phases) == 1:
        return (
            (phase, ()) if (phase == ids[0]).any() else (np.where(zero, ids[0], phase).astype(np.int32), ())
        )
    if 2 * (zero & indexed).sum() <= zero.sum():
        return phase, ()
    consecutive = sorted(ids) == list(range(1, len(ids) + 1))
    if consecutive and not (phase == max(ids)).any():
        note = (
            f"the points number their phases from 0, the header from 1: {ids} are 0 to {len(ids) - 1} there"
        )
        return (phase + 1).astype(np.int32), (note,)
    return phase, (
        f"{(zero & indexed).sum()} points with good angles are of phase 0, which the header lacks",
    )


def oxford_notes(indexed: Bool[np.ndarray, "N"], error: Shaped[np.ndarray, "N"] | None) -> tuple[str, ...]:
    """Return a note on points that Oxford's clean-up filled in: an Error, and angles nonetheless.

    Args:
      indexed: which points have an orientation.
      error: code of each point, 0 where it was indexed; None where the file has none.
    """
    filled = 0 if error is None else int((indexed & (error != 0)).sum())
    return (f"{filled} points have an Error and angles, as clean-up leaves them: kept",) if filled else ()
