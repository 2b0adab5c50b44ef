"""Bruker's HDF5 (Esprit): angles in degrees, places of the points in SEM/IX and SEM/IY or in X BEAM and Y BEAM.

The layout is that which orix' bruker_h5ebsd and EbsdLib's H5EspritReader read; MTEX takes x along a*, as it does where
a file names no crystal frame.
"""

import h5py
import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.hdf5_columns import (
    cells_of,
    entries_of_phases,
    phases_of,
    require_same_length,
    single,
    stack,
    step_of,
    table_of,
    whole,
)
from microgen_jax.crystal.readers.points import Points, assumed_frame, whole_numbers
from microgen_jax.crystal.readers.unindexed import confidence_of, judge, oxford_failures
from microgen_jax.crystal.readers.untrusted_hdf5 import column, has, names, subgroup
from microgen_jax.crystal.symmetry import laue_group_of_space_group

FRAME = assumed_frame("Bruker: as Esprit wrote it", "a*")
PLACED = ("phi1", "PHI", "phi2", "Phase", "X BEAM", "Y BEAM")


def read_bruker(ebsd: h5py.Group, data: h5py.Group, header: h5py.Group) -> Points:
    """Read a scan of Esprit; phases below 1 mean "unindexed".

    Args:
      ebsd: the group EBSD.
      data: its group Data.
      header: its group Header.

    Raises:
      UserError: it is broken.
    """
    euler = stack(data, ["phi1", "PHI", "phi2"]) * (np.pi / 180)
    phase = whole_numbers(column(data, "Phase"), "Phase")
    require_same_length(euler, Phase=phase)
    table, unread = table_of(data, len(euler))
    bands, mad = single(table, "NIndexedBands"), single(table, "MAD")
    indexed, notes = judge(oxford_failures(euler, phase, None, mad, bands))
    step = (step_of(header, "YSTEP"), step_of(header, "XSTEP"))
    x, y = _positions(ebsd, data, len(euler))
    unused, passed = described.left_over(
        described.BRUKER,
        {
            "column": (table, PLACED),
            "header field": (names(header), ("NROWS", "NCOLS", "XSTEP", "YSTEP", "Phases")),
            "entry of a phase": (entries_of_phases(header, "Phases"), ("Name", "IT")),
        },
    )
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases_of(header, "Phases", _laue_group, "Name"),
        x=None if x is None else x * (step[1] or 1.0),
        y=None if y is None else y * (step[0] or 1.0),
        shape=(cells_of(header, "NROWS"), cells_of(header, "NCOLS")),
        step=step,
        unit="um",
        frame=FRAME,
        metadata={"vendor": "Bruker"},
        notes=notes,
        unused=unread + unused,
        described=passed,
        table=table,
        confidence=confidence_of(mad=mad),
    )


def _laue_group(phase: h5py.Group) -> str:
    """Return the Laue group of the space group's number; '' where there is none, as `SpaceGroup` is a text."""
    space = whole(phase, "IT")
    return laue_group_of_space_group(space) if space else ""


def _positions(
    ebsd: h5py.Group, data: h5py.Group, points: int
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]] | tuple[None, None]:
    """Return column and row of each point."""
    beside = [subgroup(ebsd, "SEM"), subgroup(ebsd.parent, "SEM")]
    places = [
        (group, axes)
        for group in beside
        if group is not None
        for axes in (("IX", "IY"), ("SEM IX", "SEM IY"))
    ]
    for group, (x, y) in [*places, (data, ("X BEAM", "Y BEAM"))]:
        if has(group, x) and has(group, y):
            found = column(group, x), column(group, y)
            if len(found[0]) == len(found[1]) == points:
                return found
    return None, None
