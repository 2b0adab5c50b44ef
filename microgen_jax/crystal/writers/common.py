"""What the writers share: checks, angles in a vendor's frames, columns that were not touched, and text tables."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.maps import HEXAGONAL, MICRONS, TO_X_ALONG_A, EbsdMap
from microgen_jax.crystal.orientations import conjugate, from_euler, multiply, normalise, to_euler
from microgen_jax.crystal.readers.points import Frame
from microgen_jax.errors import UserError

LATTICE_NOTE = "lattice constants are not known: all written as 1"
SAME = 1 - 1e-12  # |q1 · q2| above which two orientations are one: 1.6e-4 degrees


def require_writable(scan: EbsdMap) -> None:
    """Refuse a map that no format can hold.

    Args:
      scan: map to write.

    Raises:
      UserError: a pixel size that is not positive, or indexed pixels of a phase that is not named or has no Laue group.
    """
    if not all(np.isfinite(step) and step > 0 for step in scan.pixel_size):
        raise UserError(
            "scan", f"pixel size {scan.pixel_size} must be positive", "set its pixel_size (dy, dx)"
        )
    groups = {phase.id: phase.laue_group for phase in scan.phases}
    for number in np.unique(scan.phase[scan.indexed]).tolist():
        if not groups.get(number):
            raise UserError(
                "scan",
                f"phase {number} has no Laue group",
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


def untouched(
    scan: EbsdMap, written: Float[np.ndarray, "H W 3"], read: Float[np.ndarray, "H W 3"]
) -> Bool[np.ndarray, "H W"]:
    """Return which indexed pixels still have the orientation that their file's columns give.

    Args:
      scan: map to write.
      written: angles of the map in the vendor's frames, radians.
      read: angles in the columns, radians.
    """
    overlap = np.abs(np.sum(from_euler(written) * from_euler(read), axis=-1))
    return scan.indexed & (scan.columns.index >= 0) & (overlap > SAME)


def phase_numbers(scan: EbsdMap) -> Int[np.ndarray, "H W"]:
    """Return the place of each pixel's phase in `scan.phases`, from 1; 0 where it is not indexed.

    Args:
      scan: map to write.
    """
    numbers = np.zeros(scan.phase.shape, np.int32)
    for place, phase in enumerate(scan.phases, start=1):
        numbers[scan.indexed & (scan.phase == phase.id)] = place
    return numbers


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


def positions(scan: EbsdMap) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """Return x and y of each pixel from the first one in um, to a millionth of it.

    Args:
      scan: map to write.

    Raises:
      UserError: a unit that is no length.
    """
    row, column = np.indices(scan.phase.shape)
    dy, dx = microns(scan)
    return np.round(column * dx, 6), np.round(row * dy, 6)


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


def rows(columns: Mapping[str, Shaped[np.ndarray, "H W"]], separator: str, end: str) -> str:
    """Return a table of text, a pixel a row, each number in as few digits as give it back.

    Args:
      columns: values by name.
      separator: text between two values.
      end: text at the end of a row.
    """
    texts = [_texts(values.ravel()) for values in columns.values()]
    return "".join(separator.join(row) + end for row in zip(*texts))


def _texts(values: np.ndarray) -> list[str]:
    if (
        values.dtype.kind == "f"
        and np.array_equal(values, np.rint(values))
        and np.abs(values).max(initial=0) < 2**53
    ):
        values = values.astype(np.int64)
    return values.astype(str).tolist()
