"""TSL / EDAX .ang, also as EMsoft, ASTAR, MTEX and orix write it.

Header lines start with '#'. A row of the table is phi1, Phi, phi2 (rad), x, y (um), IQ, CI, phase, SEM
signal, fit, and more; some programs put the fit before the phase, newer ones name the columns in the header.
"""

import re
from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers.points import (
    Phase,
    Points,
    tsl_indexed,
    tsl_phase,
    tsl_unassigned,
    whole_numbers,
)
from microgen_jax.crystal.readers.text_parsing import (
    count,
    length,
    open_text,
    read_lines,
    read_table,
    take_header,
)
from microgen_jax.crystal.symmetry import laue_group_of_tsl
from microgen_jax.errors import UserError

FRAME = (
    "TSL: the sample frame of the angles is turned by 180 deg about x + y against the map's x right, y down"
)
KEPT = ("x-star", "y-star", "z-star", "WorkingDistance", "GRID", "OPERATOR", "SAMPLEID", "SCANID")


def read_ang(path: Path) -> Points:
    """Read an .ang file: square or hexagonal, rows in any order, points missing.

    Args:
      path: the file.

    Raises:
      UserError: the file is no sound .ang file.
    """
    with open_text(path) as file:
        lines = read_lines(file)
        header, first = take_header(lines, lambda line: line.lstrip().startswith("#"))
        pairs = [_pair(line) for line in header]
        values = dict(pairs)
        phases = _phases(pairs)
        confidence, candidates = _columns(values, len(first.split()))
        columns = read_table(first, lines, [0, 1, 2, 3, 4, confidence, *candidates])
    euler = np.stack(columns[:3], axis=-1)
    phase = tsl_phase(_phase_column(columns[6:]), phases)
    widest = max(count(values.get("NCOLS_ODD", "")), count(values.get("NCOLS_EVEN", "")))
    return Points(
        euler=euler,
        phase=phase,
        indexed=tsl_indexed(euler, columns[5]) & ~tsl_unassigned(phase, phases),
        phases=phases,
        x=columns[3],
        y=columns[4],
        shape=(count(values.get("NROWS", "")), widest),
        step=(length(values.get("YSTEP", "")), length(values.get("XSTEP", ""))),
        unit="nm" if any("ACOM" in line for line in header) else "um",
        frame=FRAME,
        metadata={"vendor": "TSL"} | {key: values[key] for key in KEPT if values.get(key)},
    )


def _pair(line: str) -> tuple[str, str]:
    """Split '# XSTEP: 0.25' into ('XSTEP', '0.25'); 'Column names' keeps its blank."""
    text = line.lstrip("# \t")
    named = re.match(r"(Column names|[^\s:]+)\s*:?\s*(.*)", text)
    return (named[1], named[2].strip()) if named else ("", "")


def _phases(pairs: list[tuple[str, str]]) -> tuple[Phase, ...]:
    found: list[dict[str, str]] = []
    for key, value in pairs:
        if key == "Phase" and value.isdecimal() and len(value) < 7:
            found.append({"id": value})
        elif key == "MaterialName" and (not found or "name" in found[-1]):
            found.append({"id": str(len(found) + 1), "name": value})
        elif key == "MaterialName":
            found[-1]["name"] = value
        elif key == "Symmetry" and found:
            found[-1]["symmetry"] = value
    if not found:
        raise UserError("path", "names no phase", "its header needs '# Phase' or '# MaterialName' lines")
    for phase in found:
        if "symmetry" not in phase:
            raise UserError("path", f"gives phase {phase['id']} no '# Symmetry' line")
    return tuple(
        Phase(int(phase["id"]), phase.get("name", ""), laue_group_of_tsl(phase["symmetry"]))
        for phase in found
    )


def _columns(values: dict[str, str], width: int) -> tuple[int, list[int]]:
    """Return the column of the confidence index and those that may hold the phase."""
    if width < 8:
        raise UserError("path", f"has {width} columns where an .ang file has 8 or more")
    for key in ("COLUMN_HEADERS", "Column names", "COLUMN_NOTES"):
        names = [re.sub(r"[\s_]", "", name.lower()) for name in values.get(key, "").split(",")]
        phase = [i for i, name in enumerate(names[:width]) if name in ("phase", "phaseindex", "phaseid")]
        if phase and names[:5] == ["phi1", "phi", "phi2", "x", "y"]:
            confidence = [i for i, name in enumerate(names) if name in ("ci", "confidenceindex")]
            return (confidence or [6])[0], phase[:1]
    return 6, [7, 8] if width > 8 else [7]


def _phase_column(candidates: list[np.ndarray]) -> np.ndarray:
    """Return the first candidate that holds whole numbers: a fit before the phase does not."""
    whole = [column for column in candidates if np.array_equal(column, np.rint(column))]
    return whole_numbers((whole or candidates)[0], "the phase column")
