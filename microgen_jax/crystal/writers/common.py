"""What the writers share: checks, the map in a vendor's frames and numbers, columns that were not touched, notes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped

from microgen_jax.crystal.ebsd_map import HEXAGONAL, MICRONS, TO_X_ALONG_A, EbsdMap
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.orientations import (
    LARGEST_EULER,
    conjugate,
    from_euler,
    multiply,
    normalise,
    to_euler,
)
from microgen_jax.crystal.readers.points import Frame
from microgen_jax.crystal.readers.text_parsing import number
from microgen_jax.crystal.symmetry import laue_group as laue_group_named
from microgen_jax.errors import UserError

LATTICE_NOTE = "lattice constants are not kept: all written as 1"
SAME = 1 - 1e-12  # |q1 · q2| above which two orientations are one: 1.6e-4 degrees
MAX_NAMED = 12  # columns that a note names


class Layout(NamedTuple):
    """A map in a vendor's frames and numbers.

    Attributes:
      euler: Bunge's angles in radians [H, W, 3]; anything where unindexed.
      phase: place of the phase in `EbsdMap.phases`, from 1 [H, W]; 0 where unindexed.
      x: position along a row in um, from the first pixel [H, W].
      y: position down the rows in um [H, W].
    """

    euler: Float[np.ndarray, "H W 3"]
    phase: Int[np.ndarray, "H W"]
    x: Float[np.ndarray, "H W"]
    y: Float[np.ndarray, "H W"]


def lay_out(scan: EbsdMap, frame: Frame) -> Layout:
    """Return a map in the frames and numbers of a vendor.

    Args:
      scan: map to write.
      frame: frame of the vendor.

    Raises:
      UserError: a map that no format can hold, or a unit that is no length.
    """
    require_writable(scan)
    row, column = np.indices(scan.phase.shape)
    dy, dx = microns(scan)
    return Layout(
        euler=vendor_euler(scan, frame),
        phase=phase_numbers(scan),
        x=np.round(column * dx, 6),
        y=np.round(row * dy, 6),
    )


def require_writable(scan: EbsdMap) -> None:
    """Refuse a map that no format can hold.

    Args:
      scan: map to write.

    Raises:
      UserError: another number of dimensions than two, no pixel, a pixel size that is not positive, or indexed pixels
        of a phase that is not named or has no Laue group.
    """
    if scan.phase.ndim != 2 or not scan.phase.size:
        raise UserError(
            "scan",
            f"has the shape {scan.phase.shape} where formats hold rows and columns",
            "write one slice",
        )
    if not all(np.isfinite(step) and step > 0 for step in scan.pixel_size):
        raise UserError(
            "scan", f"pixel size {scan.pixel_size} must be positive", "set its pixel_size (dy, dx)"
        )
    groups = {phase.id: phase.laue_group for phase in scan.phases}
    for unnamed in np.unique(scan.phase[scan.indexed]).tolist():
        if not groups.get(unnamed):
            raise UserError(
                "scan",
                f"phase {unnamed} has no Laue group",
                "name it in phases, as in Phase(1, 'Nickel', 'm-3m')",
            )


def vendor_euler(scan: EbsdMap, frame: Frame) -> Float[np.ndarray, "H W 3"]:
    """Return Bunge's angles in radians in a vendor's sample and crystal frames; never (0, 0, 0).

    All angles 0 are marks of unindexed points to some readers: phi1 is then a full turn.

    Args:
      scan: map to write.
      frame: frame of the vendor.
    """
    orientations = in_frame(scan.orientations, scan.frame, frame)
    if frame.crystal_x != "a":
        turned = np.isin(scan.phase, [phase.id for phase in scan.phases if phase.laue_group in HEXAGONAL])
        away = normalise(multiply(conjugate(TO_X_ALONG_A), orientations))
        orientations = np.where(turned[..., None], away, orientations)
    euler = to_euler(orientations)
    euler[(np.abs(euler) < 1e-6).all(axis=-1), 0] = 2 * np.pi
    return euler


def single(euler: Float[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
    """Return Bunge's angles as float32, never above (2 pi, pi, 2 pi) by rounding, as DAMASK refuses such angles.

    Args:
      euler: angles in radians.
    """
    rounded = euler.astype(np.float32)
    above = rounded.astype(np.float64) > np.array([2 * np.pi, np.pi, 2 * np.pi])
    return np.where(above, np.nextafter(rounded, np.float32(0)), rounded)


def phase_numbers(scan: EbsdMap) -> Int[np.ndarray, "H W"]:
    """Return the place of each pixel's phase in `scan.phases`, from 1; 0 where it is not indexed.

    Args:
      scan: map to write.
    """
    numbers = np.zeros(scan.phase.shape, np.int32)
    for place, phase in enumerate(scan.phases, start=1):
        numbers[scan.indexed & (scan.phase == phase.id)] = place
    return numbers


def numbered_phases(scan: EbsdMap) -> list[tuple[int, str, str]]:
    """Return number, name and Laue group of each phase as they are written; phases without a group are triclinic.

    Args:
      scan: map to write.
    """
    return [
        (place, one_line(phase.name, place), laue_group_named(phase.laue_group or "-1"))
        for place, phase in enumerate(scan.phases, start=1)
    ]


def microns(scan: EbsdMap) -> tuple[float, float]:
    """Return (dy, dx) in um.

    Args:
      scan: map to write.

    Raises:
      UserError: a unit that is no length.
    """
    if scan.unit not in MICRONS:
        raise UserError("scan", f"unit of length {scan.unit!r} is not known", f"known: {', '.join(MICRONS)}")
    dy, dx = scan.pixel_size
    return dy * MICRONS[scan.unit], dx * MICRONS[scan.unit]


def entry_number(scan: EbsdMap, key: str) -> float:
    """Return an entry of a map's metadata as a number; 0 where there is none.

    Args:
      scan: map to write.
      key: name of the entry.
    """
    value = number(str(scan.metadata.get(key, 0)))
    return value if np.isfinite(value) else 0.0


def untouched(
    scan: EbsdMap, written: Float[np.ndarray, "H W 3"], read: Float[np.ndarray, "H W 3"]
) -> Bool[np.ndarray, "H W"]:
    """Return which indexed pixels still have the orientation that their file's columns give.

    Args:
      scan: map to write.
      written: angles of the map in the vendor's frames, radians.
      read: angles in the columns, radians; anything where unindexed.
    """
    sound = (np.abs(read) <= LARGEST_EULER).all(axis=-1)
    overlap = np.abs(np.sum(from_euler(written) * from_euler(np.where(sound[..., None], read, 0.0)), axis=-1))
    return scan.indexed & (scan.columns.index >= 0) & sound & (overlap > SAME)


def with_kept(
    fresh: Mapping[str, Shaped[np.ndarray, "H W ..."]],
    read: Mapping[str, Shaped[np.ndarray, "H W ..."]],
    kept: Bool[np.ndarray, "H W"],
) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    """Return fresh columns with the values that were read where points are kept, in the type that was read.

    Args:
      fresh: columns as they are computed.
      read: columns as they were read, under the same names; others are left out.
      kept: which points keep what was read.
    """
    merged = dict(fresh)
    for name in fresh.keys() & read.keys():
        old, new = read[name], fresh[name]
        where = kept.reshape(kept.shape + (1,) * (old.ndim - 2))
        merged[name] = np.where(where, old, new.astype(old.dtype))
    return merged


def notes_on(
    scan: EbsdMap, kept: Bool[np.ndarray, "H W"] | None = None, copied: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what was kept of the file that a map was read from, and what was not.

    Args:
      scan: map that is written.
      kept: which points keep their columns; None where the format has none.
      copied: names of the columns that the format holds.
    """
    notes = []
    if kept is not None:
        notes.append(
            f"{int(kept.sum())} of {kept.size} points keep the columns that they were read with, others get new ones"
        )
        notes += [
            f"phase {number} has no pixel and no Laue group: written as triclinic"
            for (number, _, _), phase in zip(numbered_phases(scan), scan.phases)
            if not phase.laue_group
        ]
    lost = [name for name in scan.columns if name not in set(copied)]
    if lost:
        more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
        notes.append(f"columns that are not copied: {', '.join(lost[:MAX_NAMED])}{more}")
    used = np.unique(scan.columns.index[scan.columns.index >= 0])
    if scan.columns.points and not len(used) == scan.columns.points == scan.phase.size:
        height, width = scan.phase.shape
        notes.append(
            f"written on the {width} x {height} square pixels that hold {len(used)} of the {scan.columns.points}"
            " points that were read"
        )
    return tuple(notes)


def lattice(laue_group: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return lattice constants of length 1, and the angles in degrees that the Laue group asks for.

    Args:
      laue_group: name of the Laue group.
    """
    return (1.0, 1.0, 1.0), (90.0, 90.0, 120.0 if laue_group in HEXAGONAL else 90.0)


def one_line(name: str, number: int) -> str:
    """Return a phase's name without tabs and line ends, 'phase 1' where it has none.

    Args:
      name: name of the phase.
      number: number of the phase.
    """
    return " ".join(name.split()) or f"phase {number}"
