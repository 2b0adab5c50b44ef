"""Oxford / HKL Channel text (.ctf): 8 to 11 columns, angles in degrees, decimal points or commas."""

from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.points import OXFORD, Phase, Points, oxford_notes, whole_numbers
from microgen_jax.crystal.readers.text_parsing import (
    count,
    length,
    number,
    open_text,
    read_lines,
    read_table,
    take_header,
)
from microgen_jax.crystal.readers.unindexed import confidence_of, judge, oxford_failures
from microgen_jax.crystal.symmetry import laue_group_of_channel, laue_group_of_space_group, twofold_axis
from microgen_jax.errors import UserError

KEPT = ("Prj", "Author", "JobMode")
ANGLES = ("AcqE1", "AcqE2", "AcqE3")
PLACED = ("Phase", "Euler1", "Euler2", "Euler3", "X", "Y")
USED = ("XCells", "YCells", "XStep", "YStep", "Phases")


def read_ctf(path: Path) -> Points:
    """Read a .ctf file; phase 0 means "unindexed".

    Args:
      path: the file.

    Raises:
      UserError: the file is no sound .ctf file.
    """
    with open_text(path) as file:
        lines = read_lines(file)
        header, heading = take_header(lines, lambda line: "Euler1" not in line.split())
        names = heading.split()
        values = dict(_pair(line) for line in header)
        phases = _phases(header)
        first = next((line for line in lines if line.strip()), "")
        if not first:
            raise UserError("path", "holds a header but no points")
        needed = [names.index(name) for name in _needed(names)]
        width = min(len(names), len(first.split()), described.MAX_COLUMNS)
        found = read_table(file, first, needed, [i for i in range(width) if i not in needed])
    table = {names[i]: found[i] for i in range(len(names)) if i in found}
    if "Z" in table and (table["Z"] != table["Z"][0]).any():
        raise UserError("path", "is a volume of several slices", "export one slice")
    euler = np.stack([table[f"Euler{i}"] for i in (1, 2, 3)], axis=-1) * (np.pi / 180)
    phase = whole_numbers(table["Phase"], "the Phase column")
    indexed, notes = judge(
        oxford_failures(euler, phase, table.get("Error"), table.get("MAD"), table.get("Bands"))
    )
    placed = {"X", "Y"} <= set(table)
    angles = {key: number(values[key]) for key in ANGLES if np.isfinite(number(values.get(key, "")))}
    unused, passed = _left_over(header, phases, names, table, angles)
    return Points(
        euler=euler,
        phase=phase,
        indexed=indexed,
        phases=phases,
        x=table["X"] if placed else None,
        y=table["Y"] if placed else None,
        shape=(count(values.get("YCells", "")), count(values.get("XCells", ""))),
        step=(length(values.get("YStep", "")), length(values.get("XStep", ""))),
        unit="um",
        frame=OXFORD,
        metadata={"vendor": "Oxford"} | {key: values[key] for key in KEPT if values.get(key)} | angles,
        notes=notes + oxford_notes(indexed, table.get("Error")),
        unused=unused,
        described=passed,
        table=table,
        confidence=confidence_of(mad=table.get("MAD")),
    )


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.replace("\t", " ").partition(" ")
    return key, value.strip()


def _needed(names: list[str]) -> list[str]:
    for name in PLACED[:4]:
        if names.count(name) != 1:
            raise UserError("path", f"has {names.count(name)} columns called {name} where it needs one")
    return [name for name in (*PLACED, "Z", "Error") if name in names]


def _phases(header: list[str]) -> tuple[Phase, ...]:
    """Return the phases.

    A line after 'Phases n' is 'a;b;c', 'alpha;beta;gamma', name, Laue group, space group, ... with tabs between.
    """
    starts = [i for i, line in enumerate(header) if line.split()[0] == "Phases"]
    if not starts:
        raise UserError("path", "names no phase", "its header needs a 'Phases' line")
    phases = []
    for line in header[starts[-1] + 1 :]:
        fields = _fields(line)
        if not fields:
            raise UserError("path", f"has a broken line of phase {len(phases) + 1}: '{line[:80]}'")
        axis = twofold_axis(space_group=count("".join(fields[4:5])))
        phases.append(Phase(len(phases) + 1, fields[2].strip(), oxford_laue_group(*fields[3:5]), axis))
    return tuple(phases)


def oxford_laue_group(laue: str, space: str = "") -> str:
    """Return the Laue group that Oxford's two numbers name; '' where there is neither.

    Args:
      laue: number 1 to 11 of the Laue group; empty or 0 for none.
      space: number 1 to 230 of the space group; empty or 0 for none.

    Raises:
      UserError: a number that names no group.
    """
    group, wider = count(laue), count(space)
    if not group and wider:
        return laue_group_of_space_group(wider)
    if not group and laue.strip() in ("", "0"):
        return ""
    return laue_group_of_channel(group)


def _fields(line: str) -> list[str]:
    """Return the fields of a phase, none where the line is broken; blanks may stand for the tabs."""
    fields = line.split("\t")
    if len(fields) < 4:
        words = line.split()
        group = next((i for i, word in enumerate(words) if i > 2 and word.isdecimal()), 0)
        fields = [*words[:2], " ".join(words[2:group]), *words[group:]] if group else []
    return fields if len(fields) >= 4 and ";" in fields[0] else []


def _left_over(
    header: list[str],
    phases: tuple[Phase, ...],
    names: list[str],
    table: dict[str, np.ndarray],
    angles: dict[str, float],
) -> tuple[tuple[str, ...], int]:
    fields = [_pair(line)[0] for line in header[: len(header) - len(phases)]]
    unused, passed = described.left_over(
        described.CTF, {"header field": (fields, (*USED, *ANGLES)), "column": (table, PLACED)}
    )
    missing = tuple(f"column {name!r}: not of numbers in every row" for name in names if name not in table)
    return unused + missing + turned_surface(list(angles.values())), passed


def turned_surface(angles: list[float]) -> tuple[str, ...]:
    """Return a line on Oxford's acquisition surface where it is turned against the sample.

    Args:
      angles: its Euler angles, in any unit.
    """
    if not any(angles):
        return ()
    return (f"Euler angles {angles} of the acquisition surface: orientations stay in the frame of the file",)
