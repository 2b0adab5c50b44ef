"""TSL / EDAX .ang, also as EMsoft, ASTAR, MTEX and orix write it.

Header lines start with '#'. A row of the table is phi1, Phi, phi2 (rad), x, y (um), IQ, CI, phase, SEM
signal, fit, and more; some programs put the fit before the phase, newer ones name the columns in the header.
"""

import re
from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.points import TSL, Phase, Points, tsl_phase, tsl_unassigned, whole_numbers
from microgen_jax.crystal.readers.text_parsing import (
    count,
    length,
    open_text,
    read_lines,
    read_table,
    take_header,
)
from microgen_jax.crystal.readers.unindexed import confidence_of, judge, tsl_failures
from microgen_jax.crystal.symmetry import laue_group_of_tsl
from microgen_jax.errors import UserError

KEPT = ("x-star", "y-star", "z-star", "WorkingDistance", "GRID", "OPERATOR", "SAMPLEID", "SCANID")
USED = ("Phase", "MaterialName", "Symmetry", "XSTEP", "YSTEP", "NCOLS_ODD", "NCOLS_EVEN", "NROWS")
PLACED = ["phi1", "PHI", "phi2", "x", "y"]
USUAL = [*PLACED, "IQ", "CI", "Phase index", "SEM", "Fit"]


def read_ang(path: Path) -> Points:
    """Read an .ang file: square or hexagonal, rows in any order, points missing.

    Args:
      path: the file.

    Raises:
      UserError: the file is no sound .ang file.
    """
    with open_text(path) as file:
        header, first = take_header(read_lines(file), lambda line: line.lstrip().startswith("#"))
        pairs = [_pair(line) for line in header]
        values = dict(pairs)
        phases = _phases(pairs)
        names, confidence, candidates = _columns(values, len(first.split()))
        needed = [*range(5), confidence, *candidates]
        columns = read_table(file, first, needed, [i for i in range(len(names)) if i not in needed])
    place = _phase_place(columns, candidates)
    if names == USUAL[: len(names)] and place == 8:
        names = [*USUAL[:7], "Fit", "Phase index", *names[9:]]
    table = {names[i]: columns[i] for i in range(len(names)) if i in columns}
    euler = np.stack([columns[i] for i in range(3)], axis=-1)
    failures = tsl_failures(euler, columns[confidence], table.get("Fit"))
    phase, phase_notes = tsl_phase(
        whole_numbers(columns[place], "the phase column"), phases, judge(failures)[0]
    )
    failures["no phase"] = tsl_unassigned(phase, phases)
    indexed, notes = judge(failures)
    widest = max(count(values.get("NCOLS_ODD", "")), count(values.get("NCOLS_EVEN", "")))
    short = [names[i] for i in range(len(names)) if i not in columns]
    unused, passed = _left_over(pairs, list(table))
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=columns[3],
        y=columns[4],
        shape=(count(values.get("NROWS", "")), widest),
        step=(length(values.get("YSTEP", "")), length(values.get("XSTEP", ""))),
        unit="nm" if any("ACOM" in line for line in header) else "um",
        frame=TSL,
        metadata={"vendor": "TSL"} | {key: values[key] for key in KEPT if values.get(key)},
        notes=phase_notes + notes,
        unused=unused + tuple(f"column {name!r}: not of numbers in every row" for name in short),
        described=passed,
        table=table,
        confidence=confidence_of(ci=columns[confidence]),
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


def _columns(values: dict[str, str], width: int) -> tuple[list[str], int, list[int]]:
    """Return the names of the columns, the place of the confidence index and those that may hold the phase."""
    if width < 8:
        raise UserError("path", f"has {width} columns where an .ang file has 8 or more")
    if width > described.MAX_COLUMNS:
        raise UserError("path", f"has {width} columns where at most {described.MAX_COLUMNS} are read")
    for key in ("COLUMN_HEADERS", "Column names", "COLUMN_NOTES"):
        titles = [title.strip() for title in values.get(key, "").split(",")]
        names = [re.sub(r"[\s_]", "", title.lower()) for title in titles]
        phase = [i for i, name in enumerate(names[:width]) if name in ("phase", "phaseindex", "phaseid")]
        if phase and names[:5] == ["phi1", "phi", "phi2", "x", "y"]:
            confidence = [i for i, name in enumerate(names) if name in ("ci", "confidenceindex")]
            return _named(titles, width), (confidence or [6])[0], phase[:1]
    return _named(USUAL, width), 6, [7, 8] if width > 8 else [7]


def _named(titles: list[str], width: int) -> list[str]:
    """Return a name of its own for each column."""
    names: list[str] = []
    for i in range(width):
        title = titles[i] if i < len(titles) and titles[i] else f"column {i + 1}"
        names.append(title if title not in names else f"{title} ({i + 1})")
    return names


def _phase_place(columns: dict[int, np.ndarray], candidates: list[int]) -> int:
    """Return the first candidate that holds whole numbers: a fit before the phase does not."""
    whole = [i for i in candidates if np.array_equal(columns[i], np.rint(columns[i]))]
    return (whole or candidates)[0]


def _left_over(pairs: list[tuple[str, str]], columns: list[str]) -> tuple[tuple[str, ...], int]:
    fields = [key for key, _ in pairs]
    used = (*PLACED, *(name for name in columns if re.sub(r"[\s_]", "", name.lower()).startswith("phase")))
    unused, passed = described.left_over(
        described.ANG, {"header field": (fields, USED), "column": (columns, used)}
    )
    grid = dict(pairs).get("GRID", "")
    if grid and grid.lower() not in ("sqrgrid", "hexgrid"):
        unused += (f"header field 'GRID' is {grid[:40]!r}: the grid is found from the positions",)
    return unused, passed
