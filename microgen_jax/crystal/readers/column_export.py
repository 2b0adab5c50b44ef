"""Points as columns of plain text (.txt, .csv): TSL's "grain file" and MTEX's export, found by column names.

TSL numbers its columns in the header ('# Column 1-3: phi1, PHI, phi2 (orientation of point in radians)');
MTEX and others name them in one line. No symmetry is given: the Laue group of every phase is ''.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.points import TSL, Phase, Points, assumed_frame, whole_numbers
from microgen_jax.crystal.readers.text_parsing import open_text, read_lines, read_table, take_header
from microgen_jax.crystal.readers.unindexed import FULL_TURNS, confidence_of, judge, tsl_failures
from microgen_jax.errors import UserError

ALIASES = {
    "phi1": ("phi1", "euler1", "eulerangle1"),
    "phi": ("phi", "euler2", "eulerangle2"),
    "phi2": ("phi2", "euler3", "eulerangle3"),
    "x": ("x", "xposition"),
    "y": ("y", "yposition"),
    "phase": ("phase", "phaseid", "phaseindex"),
    "phase name": ("phasename",),
    "ci": ("ci", "confidenceindex"),
}
NUMBERS = ("phi1", "phi", "phi2", "x", "y", "phase", "ci")
FRAME = assumed_frame("as exported")


def read_column_export(path: Path) -> Points:
    """Read a text of points; angles are in degrees where the header says so, or where they exceed 4 pi.

    Args:
      path: the file.

    Raises:
      UserError: the file has no header that names its columns, or a broken table.
    """
    with open_text(path) as file:
        header, first = take_header(read_lines(file), lambda line: not _is_row(line))
        titles = _titles(header)
        places = _places(titles)
        delimiter = next((sign for sign in (";", ",") if sign in first), None)
        numeric = [name for name in NUMBERS if name in places]
        named: list[str] = []
        start = file.tell()
        needed = [places[name] for name in numeric]
        width = min(len(first.split(delimiter)), described.MAX_COLUMNS)
        further = [i for i in titles if 0 <= i < width and i not in needed]
        found = read_table(file, first, needed, further, delimiter)
        if "phase" not in places and "phase name" in places:
            file.seek(start)
            named = _fields(chain([first], read_lines(file)), places["phase name"], delimiter)
    columns = {name: found[places[name]] for name in numeric}
    table = {titles[i]: found[i] for i in sorted(found)}
    euler = np.stack([columns[name] for name in ("phi1", "phi", "phi2")], axis=-1)
    header_text = " ".join(header).lower()
    largest = np.abs(euler[np.isfinite(euler)]).max(initial=0.0)
    degrees = "radian" not in header_text and ("degree" in header_text or largest > FULL_TURNS + 1e-3)
    euler = euler * (np.pi / 180) if degrees else euler
    phase, phases = _phases(columns, named, len(euler))
    failures = tsl_failures(euler, columns.get("ci"))
    failures["no phase"] = ~np.isin(phase, [entry.id for entry in phases])
    indexed, notes = judge(failures)
    plain = {_plain(name): name for name in titles.values()}
    unused, passed = described.sort_out(
        plain, [a for names in ALIASES.values() for a in names], described.TEXT, "column"
    )
    vendor = "TSL" if any("Column" in line for line in header) else "text"
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=columns["x"],
        y=columns["y"],
        shape=(0, 0),
        step=(0.0, 0.0),
        unit="um",
        frame=TSL if vendor == "TSL" else FRAME,
        metadata={"vendor": vendor},
        notes=(
            f"angles taken as {'degrees' if degrees else 'radians'}",
            "the file names no symmetry",
            *notes,
        ),
        unused=unused,
        described=passed,
        table=table,
        confidence=confidence_of(ci=columns.get("ci"), mad=_mad(table)),
    )


def _mad(table: dict[str, np.ndarray]) -> np.ndarray | None:
    return next((values for name, values in table.items() if _plain(name) == "mad"), None)


def _is_row(line: str) -> bool:
    try:
        [float(word.replace(",", ".")) for word in re.split(r"[\s;]+|,(?=\s)", line.strip())[:3]]
    except ValueError:
        return bool(re.match(r"\s*[-+.\d][-+.\deE]*,\s*[-+.\d]", line))
    return True


def _titles(header: list[str]) -> dict[int, str]:
    """Return the names that the header gives columns, by number."""
    listed: dict[int, str] = {}
    for line in header:
        numbered = re.match(r"[#%]?\s*Column\s+(\d{1,4})(?:\s*-\s*\d{1,4})?\s*:\s*([^(]*)", line)
        if numbered:
            for i, name in enumerate(numbered[2].split(",")):
                listed[int(numbered[1]) - 1 + i] = name.strip()
    if not listed and header:
        line = header[-1].lstrip("#% \t")
        listed = dict(enumerate(re.split(r"[,;\t]\s*", line) if re.search("[,;\t]", line) else line.split()))
    return listed


def _plain(title: str) -> str:
    return re.sub(r"\(.*|\[.*|[\s_]", "", title.lower())


def _places(titles: dict[int, str]) -> dict[str, int]:
    """Return the column of each quantity that the header names."""
    places = {
        quantity: column
        for quantity, aliases in ALIASES.items()
        for column, title in reversed(titles.items())
        if _plain(title) in aliases and column >= 0
    }
    missing = [name for name in ("phi1", "phi", "phi2", "x", "y") if name not in places]
    if missing:
        raise UserError(
            "path", f"names no column {', '.join(missing)}", "its header needs phi1, Phi, phi2, x, y"
        )
    return places


def _fields(rows: Iterator[str], column: int, delimiter: str | None) -> list[str]:
    """Return the text of one column."""
    kept = []
    for row in rows:
        if row.strip() and not row.lstrip().startswith("#"):
            fields = row.split(delimiter, column + 1 if delimiter is None else -1)
            kept.append(fields[column].strip() if len(fields) > column else "")
    return kept


def _phases(
    columns: dict[str, np.ndarray], titles: list[str], points: int
) -> tuple[np.ndarray, tuple[Phase, ...]]:
    """Return phase ids and phases.

    Names become ids from 1; of numbers, 0 and below mean "unindexed" unless there is no other.
    """
    if "phase" in columns:
        phase = whole_numbers(columns["phase"], "the phase column")
        ids = np.unique(phase)
        ids = ids[ids > 0] if (ids > 0).any() else ids[-1:]
        if len(ids) > 255:
            raise UserError("path", f"has {len(ids)} phases", "the phase column is wrong")
        return phase, tuple(Phase(int(i), f"phase {i}", "") for i in ids)
    if len(titles) == points:
        found, phase = np.unique(np.asarray(titles), return_inverse=True)
        if len(found) > 255:
            raise UserError("path", f"has {len(found)} phase names", "the phase column is wrong")
        return phase.astype(np.int32) + 1, tuple(Phase(i + 1, str(name), "") for i, name in enumerate(found))
    return np.ones(points, np.int32), (Phase(1, "", ""),)
