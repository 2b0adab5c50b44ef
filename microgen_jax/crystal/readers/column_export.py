"""Points as columns of plain text (.txt, .csv): TSL's "grain file" and MTEX's export, found by column names.

TSL numbers its columns in the header ('# Column 1-3: phi1, PHI, phi2 (orientation of point in radians)');
MTEX and others name them in one line. No symmetry is given: the Laue group of every phase is ''.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers.points import FULL_TURNS, Phase, Points, tsl_indexed, whole_numbers
from microgen_jax.crystal.readers.text_parsing import open_text, read_lines, read_table, take_header
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


def read_column_export(path: Path) -> Points:
    """Read a text of points; angles are in degrees where the header says so, or where they exceed 4 pi.

    Args:
      path: the file.

    Raises:
      UserError: the file has no header that names its columns, or a broken table.
    """
    with open_text(path) as file:
        lines = read_lines(file)
        header, first = take_header(lines, lambda line: not _is_row(line))
        places = _places(header)
        delimiter = next((sign for sign in (";", ",") if sign in first), None)
        numeric = [name for name in NUMBERS if name in places]
        rows = chain([first], lines)
        titles: list[str] = []
        if "phase" not in places and "phase name" in places:
            rows = _keep_field(rows, places["phase name"], delimiter, titles)
        table = read_table(next(rows), rows, [places[name] for name in numeric], delimiter)
    columns = dict(zip(numeric, table))
    euler = np.stack([columns[name] for name in ("phi1", "phi", "phi2")], axis=-1)
    header_text = " ".join(header).lower()
    largest = np.abs(euler[np.isfinite(euler)]).max(initial=0.0)
    degrees = "radian" not in header_text and ("degree" in header_text or largest > FULL_TURNS + 1e-3)
    phase, phases = _phases(columns, titles, len(euler))
    indexed = tsl_indexed(euler, columns.get("ci"))
    return Points(
        euler=euler * (np.pi / 180) if degrees else euler,
        phase=phase,
        indexed=indexed & np.isin(phase, [entry.id for entry in phases]),
        phases=phases,
        x=columns["x"],
        y=columns["y"],
        shape=(0, 0),
        step=(0.0, 0.0),
        unit="um",
        frame="as exported",
        metadata={"vendor": "TSL" if any("Column" in line for line in header) else "text"},
        notes=(f"angles taken as {'degrees' if degrees else 'radians'}", "the file names no symmetry"),
    )


def _is_row(line: str) -> bool:
    try:
        [float(word.replace(",", ".")) for word in re.split(r"[\s;]+|,(?=\s)", line.strip())[:3]]
    except ValueError:
        return bool(re.match(r"\s*[-+.\d][-+.\deE]*,\s*[-+.\d]", line))
    return True


def _places(header: list[str]) -> dict[str, int]:
    """Return the column of each quantity that the header names."""
    listed = {}
    for line in header:
        numbered = re.match(r"[#%]?\s*Column\s+(\d{1,4})(?:\s*-\s*\d{1,4})?\s*:\s*([^(]*)", line)
        if numbered:
            for i, name in enumerate(numbered[2].split(",")):
                listed[int(numbered[1]) - 1 + i] = name
    if not listed and header:
        line = header[-1].lstrip("#% \t")
        listed = dict(enumerate(re.split(r"[,;\t]\s*", line) if re.search("[,;\t]", line) else line.split()))
    plain = {column: re.sub(r"\(.*|\[.*|[\s_]", "", name.lower()) for column, name in listed.items()}
    places = {
        quantity: column
        for quantity, aliases in ALIASES.items()
        for column, name in reversed(plain.items())
        if name in aliases and column >= 0
    }
    missing = [name for name in ("phi1", "phi", "phi2", "x", "y") if name not in places]
    if missing:
        raise UserError(
            "path", f"names no column {', '.join(missing)}", "its header needs phi1, Phi, phi2, x, y"
        )
    return places


def _keep_field(rows: Iterator[str], column: int, delimiter: str | None, kept: list[str]) -> Iterator[str]:
    for row in rows:
        if row.strip() and not row.lstrip().startswith("#"):
            fields = row.split(delimiter, column if delimiter is None else -1)
            kept.append(fields[column].strip() if len(fields) > column else "")
        yield row


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
