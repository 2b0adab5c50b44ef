"""Columns of Oxford's files under one another's names: .ctf holds degrees, .cpr and .h5oina hold radians.

Error is not among them, as its codes differ: 0 is success in .ctf and 1 in .h5oina.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.readers.points import OXFORD
from microgen_jax.crystal.writers.common import Layout, untouched

ANGLES = ("Euler1", "Euler2", "Euler3")
QUALITY = {  # name in .h5oina: in .ctf
    "Bands": "Bands",
    "Mean Angular Deviation": "MAD",
    "Band Contrast": "BC",
    "Band Slope": "BS",
}
PLACED = ("Phase", "X", "Y")


class Kept(NamedTuple):
    """What a map still has of the file of Oxford that it was read from.

    Attributes:
      points: which points keep their columns [H, W].
      unit: of the file's angles, 'degrees' | 'radians'; '' where the map is not from a file of Oxford.
    """

    points: Bool[np.ndarray, "H W"]
    unit: str


def kept_points(scan: EbsdMap, layout: Layout) -> Kept:
    """Return the points that were not touched since they were read; the unit is the one in which most were not.

    Args:
      scan: map to write.
      layout: the map in Oxford's frames.
    """
    nothing = Kept(np.zeros(layout.phase.shape, bool), "")
    if scan.frame != OXFORD or "Phase" not in scan.columns:
        return nothing
    columns = scan.columns
    if "Euler" in columns:
        angles = {"radians": columns["Euler"].astype(np.float64)}
    elif set(ANGLES) <= set(columns):
        read = np.stack([columns[name] for name in ANGLES], axis=-1).astype(np.float64)
        angles = {"degrees": np.radians(read), "radians": read}
    else:
        return nothing
    same_phase = columns["Phase"] == layout.phase
    found = [
        Kept(same_phase & untouched(scan, layout.euler, values), unit) for unit, values in angles.items()
    ]
    best = max(found, key=lambda kept: kept.points.sum())
    lost = ~scan.indexed & (columns.index >= 0) & same_phase
    return best._replace(points=best.points | lost)


def as_ctf(scan: EbsdMap, kept: Kept) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    """Return the columns that .ctf takes over under its names.

    Args:
      scan: map to write.
      kept: what it has of its file.
    """
    columns = scan.columns
    if "Euler" in columns and kept.unit:
        read = {short: columns[name] for name, short in QUALITY.items() if name in columns}
        return read | ({"MAD": np.degrees(read["MAD"])} if "MAD" in read else {})
    names = ("Error", *QUALITY.values(), *(ANGLES if kept.unit == "degrees" else ()))
    return {name: columns[name] for name in names if kept.unit and name in columns}


def as_h5oina(scan: EbsdMap, kept: Kept) -> dict[str, Shaped[np.ndarray, "H W ..."]]:
    """Return the columns that .h5oina takes over under its names; of a .h5oina file all but the positions.

    Args:
      scan: map to write.
      kept: what it has of its file.
    """
    columns = scan.columns
    if "Euler" in columns and kept.unit:
        return {name: columns[name] for name in columns if name not in PLACED}
    read = {name: columns[short] for name, short in QUALITY.items() if kept.unit and short in columns}
    if "Mean Angular Deviation" in read:
        read["Mean Angular Deviation"] = np.radians(read["Mean Angular Deviation"])
    return read
