"""Oxford / HKL Channel text (.ctf): 8 to 11 columns, angles in degrees, decimal points or commas."""

from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers.points import Phase, Points, whole_numbers
from microgen_jax.crystal.readers.text_parsing import (
    count,
    length,
    number,
    open_text,
    read_lines,
    read_table,
    take_header,
)
from microgen_jax.crystal.symmetry import laue_group_of_channel
from microgen_jax.errors import UserError

FRAME = (
    "Oxford: the sample frame of the angles is turned by 180 deg about x against the map's x right, y down"
)
KEPT = ("Prj", "Author", "JobMode")
ANGLES = ("AcqE1", "AcqE2", "AcqE3")


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
        columns = dict(
            zip(_needed(names), read_table(first, lines, [names.index(n) for n in _needed(names)]))
        )
    if "Z" in columns and (columns["Z"] != columns["Z"][0]).any():
        raise UserError("path", "is a volume of several slices", "export one slice")
    euler = np.stack([columns[f"Euler{i}"] for i in (1, 2, 3)], axis=-1) * (np.pi / 180)
    phase = whole_numbers(columns["Phase"], "the Phase column")
    failed = (euler == 0).all(axis=-1) & (columns.get("Error", np.zeros(len(phase))) != 0)
    placed = {"X", "Y"} <= set(columns)
    return Points(
        euler=euler,
        phase=phase,
        indexed=(phase > 0) & ~failed,
        phases=phases,
        x=columns.get("X") if placed else None,
        y=columns.get("Y") if placed else None,
        shape=(count(values.get("YCells", "")), count(values.get("XCells", ""))),
        step=(length(values.get("YStep", "")), length(values.get("XStep", ""))),
        unit="um",
        frame=FRAME,
        metadata={"vendor": "Oxford"}
        | {key: values[key] for key in KEPT if values.get(key)}
        | {key: number(values[key]) for key in ANGLES if np.isfinite(number(values.get(key, "")))},
    )


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.replace("\t", " ").partition(" ")
    return key, value.strip()


def _needed(names: list[str]) -> list[str]:
    for name in ("Phase", "Euler1", "Euler2", "Euler3"):
        if names.count(name) != 1:
            raise UserError("path", f"has {names.count(name)} columns called {name} where it needs one")
    return [name for name in ("Phase", "Euler1", "Euler2", "Euler3", "X", "Y", "Z", "Error") if name in names]


def _phases(header: list[str]) -> tuple[Phase, ...]:
    """Return the phases.

    A line after 'Phases n' is 'a;b;c', 'alpha;beta;gamma', name, Laue group, ... with tabs between.
    """
    starts = [i for i, line in enumerate(header) if line.split()[0] == "Phases"]
    if not starts:
        raise UserError("path", "names no phase", "its header needs a 'Phases' line")
    phases = []
    for line in header[starts[-1] + 1 :]:
        name, group = _name_and_group(line)
        if not group:
            raise UserError("path", f"has a broken line of phase {len(phases) + 1}: '{line[:80]}'")
        phases.append(Phase(len(phases) + 1, name, laue_group_of_channel(group)))
    return tuple(phases)


def _name_and_group(line: str) -> tuple[str, int]:
    """Return the name and the Laue group's number, 0 where there is none; blanks may stand for the tabs."""
    fields = line.split("\t")
    if len(fields) < 4:
        words = line.split()
        group = next((i for i, word in enumerate(words) if i > 2 and word.isdecimal()), 0)
        fields = [*words[:2], " ".join(words[2:group]), *words[group:]] if group else []
    if len(fields) < 4 or ";" not in fields[0]:
        return "", 0
    return fields[2].strip(), count(fields[3])
