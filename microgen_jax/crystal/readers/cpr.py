"""Oxford / HKL .cpr (header, an INI text) with .crc (points, packed binary records, angles in radians).

A record is the phase (one byte) and the fields that the header lists by number: 1 to 6 and 12 are float32, 7
to 11 one byte (so DefDAP and MTEX read them too); unknown later fields are four bytes.
"""

from pathlib import Path

import numpy as np

from microgen_jax.crystal.readers.ctf import FRAME
from microgen_jax.crystal.readers.points import Phase, Points, limit_points
from microgen_jax.crystal.readers.text_parsing import count, length, number, open_text, read_lines
from microgen_jax.crystal.symmetry import laue_group_of_channel
from microgen_jax.errors import UserError

FIELDS = {1: "x", 2: "y", 3: "phi1", 4: "phi", 5: "phi2"}
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
    placed = {"x", "y"} <= set(record.names)
    if not placed and points != shape[0] * shape[1]:
        raise UserError(
            "path",
            f"{data_path.name} holds {points} points where the header promises {shape[1]} x {shape[0]}",
        )
    limit_points(points)
    data = np.fromfile(data_path, record)
    euler = np.stack([data[name] for name in ("phi1", "phi", "phi2")], axis=-1).astype(np.float64)
    return Points(
        euler=euler,
        phase=data["phase"].astype(np.int32),
        indexed=data["phase"] > 0,
        phases=_phases(header),
        x=data["x"].astype(np.float64) if placed else None,
        y=data["y"].astype(np.float64) if placed else None,
        shape=shape,
        step=(length(job.get("griddisty", "")), length(job.get("griddistx", ""))),
        unit="um",
        frame=FRAME,
        metadata=_metadata(header),
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
    layout = [("phase", "u1")]
    for i in range(1, listed + 1):
        field = count(fields.get(f"field{i}", ""))
        if not field:
            raise UserError("path", f"counts {listed} fields in [Fields] but has no Field{i}")
        name = FIELDS.get(field, f"field{i}")
        if name in dict(layout):
            raise UserError("path", f"lists field {field} twice in [Fields]")
        layout.append((name, "u1" if field in BYTES else "<f4"))
    missing = {"phi1", "phi", "phi2"} - set(dict(layout))
    if missing:
        raise UserError("path", "lists no Euler angles (fields 3, 4 and 5) in [Fields]")
    return np.dtype(layout)


def _phases(header: dict[str, dict[str, str]]) -> tuple[Phase, ...]:
    phases = []
    while section := header.get(f"phase{len(phases) + 1}"):
        group = laue_group_of_channel(count(section.get("lauegroup", "")))
        phases.append(Phase(len(phases) + 1, section.get("structurename", ""), group))
    return tuple(phases)


def _metadata(header: dict[str, dict[str, str]]) -> dict[str, str | float]:
    general, surface = header.get("general", {}), header.get("acquisitionsurface", {})
    kept: dict[str, str | float] = {"vendor": "Oxford"}
    kept |= {key: general[key] for key in ("author", "description", "date", "jobmode") if general.get(key)}
    angles = {f"AcqE{i}": number(surface.get(f"euler{i}", "")) for i in (1, 2, 3)}
    return kept | {key: angle for key, angle in angles.items() if np.isfinite(angle)}
