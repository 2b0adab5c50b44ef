"""Oxford / HKL .cpr (header, an INI text) with .crc (points, packed binary records, angles in radians).

A record is the phase (one byte) and the fields that the header lists by number: 1 to 6 and 12 are float32, 7
to 11 one byte (so DefDAP and MTEX read them too); unknown later fields are four bytes.
"""

from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers import described
from microgen_jax.crystal.readers.ctf import PLACED, oxford_laue_group, turned_surface
from microgen_jax.crystal.readers.points import OXFORD, Phase, Points, limit_points, oxford_notes
from microgen_jax.crystal.readers.text_parsing import count, length, number, open_text, read_lines
from microgen_jax.crystal.readers.unindexed import confidence_of, judge, oxford_failures
from microgen_jax.crystal.symmetry import twofold_axis
from microgen_jax.errors import UserError

FIELDS = {
    1: "X", 2: "Y", 3: "Euler1", 4: "Euler2", 5: "Euler3", 6: "MAD", 7: "BC", 8: "BS", 10: "Bands", 11: "Error",
    12: "Reliability",
}  # fmt: skip
BYTES = range(7, 12)
MAX_FIELDS = 256


def read_cpr(path: Path) -> Points:
    """Read a pair of .cpr and .crc that lie in one folder under one name.

    Args:
      path: either file.

    Raises:
      UserError: one of the two is missing, or they are no sound pair.
    """
    header_path, data_path = _pair(path)
    header = _sections(header_path)
    job = header.get("job", {})
    shape = (count(job.get("ycells", "")), count(job.get("xcells", "")))
    record = _record(header.get("fields", {}))
    size = data_path.stat().st_size
    if size % record.itemsize:
        raise UserError(
            "path", f"{data_path.name} holds {size} bytes, which are no whole records of {record.itemsize}"
        )
    points = size // record.itemsize
    placed = {"X", "Y"} <= set(record.names)
    if not placed and points != shape[0] * shape[1]:
        raise UserError(
            "path",
            f"{data_path.name} holds {points} points where the header promises {shape[1]} x {shape[0]}",
        )
    limit_points(points)
    data = np.fromfile(data_path, record)
    table = {name: np.ascontiguousarray(data[name]) for name in record.names}
    euler = np.stack([table[f"Euler{i}"] for i in (1, 2, 3)], axis=-1).astype(np.float64)
    indexed, notes = judge(
        oxford_failures(euler, table["Phase"], table.get("Error"), table.get("MAD"), table.get("Bands"))
    )
    phases = _phases(header)
    unused, passed = _left_over(header, len(phases), list(table))
    return Points(
        euler=euler,
        phase=table["Phase"].astype(np.int32),
        indexed=indexed,
        phases=phases,
        x=table["X"].astype(np.float64) if placed else None,
        y=table["Y"].astype(np.float64) if placed else None,
        shape=shape,
        step=(length(job.get("griddisty", "")), length(job.get("griddistx", ""))),
        unit="um",
        frame=OXFORD,
        metadata=_metadata(header),
        notes=notes + oxford_notes(indexed, table.get("Error")),
        unused=unused,
        described=passed,
        table=table,
        confidence=confidence_of(mad=table.get("MAD")),
    )


def _pair(path: Path) -> tuple[Path, Path]:
    found = {}
    for suffix in (".cpr", ".crc"):
        names = [path.with_suffix(s) for s in (suffix, suffix.upper())]
        found[suffix] = next((name for name in names if name.is_file()), None)
        if found[suffix] is None:
            raise UserError("path", f"needs {names[0].name} beside it")
    return found[".cpr"], found[".crc"]


def _sections(path: Path) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    with open_text(path) as file:
        for line in read_lines(file):
            line = line.strip()
            if line.startswith("[") and line.endswith("]"):
                section = sections.setdefault(line[1:-1].lower().replace(" ", ""), {})
            elif "=" in line and not line.startswith(";"):
                key, _, value = line.partition("=")
                section[key.lower().replace(" ", "")] = value.strip()
    return sections


def _record(fields: dict[str, str]) -> np.dtype:
    listed = count(fields.get("count", ""))
    if not 0 < listed <= MAX_FIELDS:
        raise UserError(
            "path", f"lists {fields.get('count', 'no')} fields in [Fields], where 3 to {MAX_FIELDS} can be"
        )
    layout = [("Phase", "u1")]
    for i in range(1, listed + 1):
        field = count(fields.get(f"field{i}", ""))
        if not field:
            raise UserError("path", f"counts {listed} fields in [Fields] but has no Field{i}")
        name = FIELDS.get(field, f"field {field}")
        if name in dict(layout):
            raise UserError("path", f"lists field {field} twice in [Fields]")
        layout.append((name, "u1" if field in BYTES else "<f4"))
    missing = {"Euler1", "Euler2", "Euler3"} - set(dict(layout))
    if missing:
        raise UserError("path", "lists no Euler angles (fields 3, 4 and 5) in [Fields]")
    return np.dtype(layout)


def _phases(header: dict[str, dict[str, str]]) -> tuple[Phase, ...]:
    phases = []
    while section := header.get(f"phase{len(phases) + 1}"):
        space = section.get("spacegroup", "")
        group, axis = oxford_laue_group(section.get("lauegroup", ""), space), twofold_axis("", count(space))
        phases.append(Phase(len(phases) + 1, section.get("structurename", ""), group, axis))
    return tuple(phases)


def _surface(header: dict[str, dict[str, str]]) -> dict[str, float]:
    surface = header.get("acquisitionsurface", {})
    angles = {f"AcqE{i}": number(surface.get(f"euler{i}", "")) for i in (1, 2, 3)}
    return {key: angle for key, angle in angles.items() if np.isfinite(angle)}


def _metadata(header: dict[str, dict[str, str]]) -> dict[str, str | float]:
    general = header.get("general", {})
    kept: dict[str, str | float] = {"vendor": "Oxford"}
    kept |= {key: general[key] for key in ("author", "description", "date", "jobmode") if general.get(key)}
    return kept | _surface(header)


def _left_over(
    header: dict[str, dict[str, str]], phases: int, columns: list[str]
) -> tuple[tuple[str, ...], int]:
    fields = [f"{section}.{key}" for section, entries in header.items() for key in entries]
    used = {"job.xcells", "job.ycells", "job.griddistx", "job.griddisty"}
    used |= {f"acquisitionsurface.euler{i}" for i in (1, 2, 3)}
    used |= {name for name in fields if name.startswith("fields.field")}
    for i in range(1, phases + 1):
        used |= {f"phase{i}.{key}" for key in ("structurename", "lauegroup", "spacegroup")}
    unused, passed = described.left_over(
        described.CPR, {"header field": (fields, used), "column": (columns, PLACED)}
    )
    return unused + turned_surface(list(_surface(header).values())), passed
