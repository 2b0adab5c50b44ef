"""The common result of all readers: the points of a scan in its file's order, and the vendors' conventions on them.

Every reader takes `path`, and names it in its errors; `read_map` puts the path itself in its place.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from microgen_jax.errors import UserError

FULL_TURNS = 4 * np.pi  # TSL writes 4 pi into all three angles of a point that it could not index
MAX_POINTS = 2**25


class Phase(NamedTuple):
    """One kind of crystal in a scan.

    Attributes:
      id: the number that stands for it in `EbsdMap.phase`.
      name: as the file has it.
      laue_group: one of `symmetry.LAUE_GROUPS`; '' where the file names none.
    """

    id: int
    name: str
    laue_group: str


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
      unit: of length.
      frame: how the sample frame of the angles lies to the map's x and y.
      metadata: further entries of the header that a person may need.
      notes: what was repaired or left out.
      unused: columns, data sets and header fields that change what values mean and were found and not used, each
        with the reason; entries that only describe (operator, date, beam) are not among them.
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
    frame: str
    metadata: dict[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def checked(points: Points) -> Points:
    """Return the points with those that hold NaN or infinite angles marked as unindexed.

    Args:
      points: as a reader gives them.

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
      name: of the column, for the error.

    Raises:
      UserError: a value is no whole number below a million.
    """
    fits = np.isfinite(values) & (np.abs(values) < 1e6)
    fits[fits] = values[fits] == np.rint(values[fits])
    if not fits.all():
        raise UserError("path", f"{name} must hold whole numbers, not {values[~fits][0]}")
    return values.astype(np.int32)


def tsl_indexed(
    euler: Float[np.ndarray, "N 3"], confidence: Float[np.ndarray, "N"] | None
) -> Bool[np.ndarray, "N"]:
    """Return which points TSL indexed: not 4 pi thrice, CI not below 0, not (0, 0, 0) without confidence.

    Args:
      euler: Bunge's angles in radians.
      confidence: the confidence index of each point, where the file has one.
    """
    indexed = ~(np.abs(euler - FULL_TURNS) < 1e-3).all(axis=-1)
    if confidence is not None:
        indexed &= ~(confidence < 0)
        indexed &= ~((euler == 0).all(axis=-1) & (confidence == 0))
    return indexed


def tsl_unassigned(phase: Int[np.ndarray, "N"], phases: tuple[Phase, ...]) -> Bool[np.ndarray, "N"]:
    """Return which points have no phase: 0 or less where the header gives no phase such a number.

    Args:
      phase: phase id of each point.
      phases: the phases that the header names.
    """
    return (phase <= 0) & ~np.isin(phase, [entry.id for entry in phases])


def tsl_phase(phase: Int[np.ndarray, "N"], phases: tuple[Phase, ...]) -> Int[np.ndarray, "N"]:
    """Return phase ids where 0, in a file of one phase that never uses its number, is the phase itself.

    Args:
      phase: phase id of each point.
      phases: the phases that the header names.
    """
    if len(phases) == 1 and not (phase == phases[0].id).any():
        return np.where(phase == 0, phases[0].id, phase).astype(np.int32)
    return phase
