"""orix' .h5, and the crystal map in kikuchipy's: x of hexagonal crystals along a, the sample frame not given."""

import h5py
import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.hdf5_columns import (
    entries_of_phases,
    phases_of,
    positions,
    require_same_length,
    single,
    stack,
    step_of,
    table_of,
)
from microgen_jax.crystal.readers.points import Points, assumed_frame, whole_numbers
from microgen_jax.crystal.readers.text_parsing import count
from microgen_jax.crystal.readers.unindexed import confidence_of, judge
from microgen_jax.crystal.readers.untrusted_hdf5 import column, has, names, subgroup, text
from microgen_jax.crystal.symmetry import laue_group, laue_group_of_space_group
from microgen_jax.errors import UserError

FRAME = assumed_frame("orix: as the file that orix read")
PLACED = ("phase_id", "phi1", "Phi", "phi2", "is_in_data", "x", "y")


def read_orix(group: h5py.Group) -> Points:
    """Read a crystal map; phase -1 and points out of the data are unindexed.

    Args:
      group: the group `crystal_map`.

    Raises:
      UserError: it is broken.
    """
    data, header = subgroup(group, "data"), subgroup(group, "header")
    if data is None or header is None:
        raise UserError("path", f"has no data and header in {group.name}")
    phase = whole_numbers(column(data, "phase_id"), "phase_id")
    euler = stack(data, ["phi1", "Phi", "phi2"], len(phase))
    inside = column(data, "is_in_data") != 0 if has(data, "is_in_data") else np.ones(len(phase), bool)
    x, y = positions(data, len(phase), "x", "y")
    require_same_length(euler, phase_id=phase, is_in_data=inside)
    phases = phases_of(header, "phases", _laue_group, "name")
    table, unread = table_of(data, len(phase))
    indexed, notes = judge({"is_in_data false": ~inside, "phase -1": phase < 0})
    unused, passed = described.left_over(
        described.ORIX,
        {
            "column": (table, PLACED),
            "header field": (names(header), ("phases", "x_step", "y_step", "scan_unit")),
            "entry of a phase": (
                entries_of_phases(header, "phases"),
                ("name", "point_group", "space_group"),
            ),
        },
    )
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=tuple(entry for entry in phases if entry.id >= 0),
        x=x,
        y=y,
        shape=(0, 0),
        step=(step_of(header, "y_step"), step_of(header, "x_step")),
        unit=text(header, "scan_unit") or "um",
        frame=FRAME,
        metadata={"vendor": "orix"},
        notes=notes,
        unused=unread + unused,
        described=passed,
        table=table,
        confidence=confidence_of(ci=single(table, "ci", "CI")),
    )


def _laue_group(phase: h5py.Group) -> str:
    point, space = text(phase, "point_group"), text(phase, "space_group")
    return laue_group(point) if point not in ("", "None") else laue_group_of_space_group(count(space))
