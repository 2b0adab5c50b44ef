"""Input of DAMASK's grid solver: a folder with geom.vti and material.yaml.

Cells with the same phase and orientation share an entry of material.yaml, whose number (from 0) the array `material` of
geom.vti holds. An entry's O is a unit quaternion that takes sample coordinates to crystal ones, the conjugate of this
project's in components; lengths are in metres. The map's bottom row is the first row of cells: x runs right, y up and z
out of the sample. The solver takes the cell to be periodic.

Source: DAMASK 3, https://damask-multiphysics.org/documentation/file_formats (grid geometry, material configuration).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.orientations import conjugate, normalise
from microgen_jax.crystal.readers.points import OXFORD, Phase
from microgen_jax.crystal.writers.common import microns, notes_on, one_line, require_writable
from microgen_jax.crystal.writers.vti import vti
from microgen_jax.errors import UserError
from microgen_jax.files import write_bytes

_HEAD = """\
homogenization:
  SX: {N_constituents: 1, mechanical: {type: pass}}
phase:
"""


def write_damask(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write geom.vti and material.yaml, each whole; other files of the folder stay.

    Args:
      path: path of the folder.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`), unindexed pixels, fewer than two columns, or a unit
        that is no length; or the path is a file.
    """
    require_writable(scan)
    if path.is_file():
        raise UserError(str(path), "is a file where a folder is written", "choose another path")
    missing = int(np.count_nonzero(~scan.indexed))
    if missing:
        raise UserError(
            "scan",
            f"{missing} pixels are not indexed, and the solver needs an orientation in every cell",
            "fill or crop them",
        )
    if scan.phase.shape[1] < 2:
        raise UserError("scan", "has one column where DAMASK needs two cells along x")
    dy, dx = microns(scan)
    orientations = in_frame(scan.orientations, scan.frame, OXFORD)
    material, entries = _materials(scan.phase, orientations)
    geometry = vti({"material": material}, (dy * 1e-6, dx * 1e-6))
    names = _names(scan.phases)
    configuration = _material_yaml(entries, names)
    write_bytes(path / "geom.vti", geometry)
    write_bytes(path / "material.yaml", configuration.encode())
    return (
        "material.yaml holds no properties: give each phase its lattice and mechanical section",
        *(
            f"phase {phase.id} is named {names[phase.id]!r}, as another has its name"
            for phase in scan.phases
            if names[phase.id] != one_line(phase.name, phase.id)
        ),
        *notes_on(scan),
    )


def _names(phases: Sequence[Phase]) -> dict[int, str]:
    """Return a name of its own for each phase: with the Laue group, then the number, where one before has the same."""
    names: dict[int, str] = {}
    for phase in phases:
        name = one_line(phase.name, phase.id)
        if name in names.values():
            name = f"{name} ({phase.laue_group})"
        while name in names.values():
            name = f"{name} ({phase.id})"
        names[phase.id] = name
    return names


def _materials(
    phase: Int[np.ndarray, "H W"], orientations: Float[np.ndarray, "H W 4"]
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "M 5"]]:
    """Return the entry of each pixel and the distinct (phase, quaternion), in reading order."""
    rows = np.concatenate([phase[..., None], normalise(orientations)], axis=-1).reshape(-1, 5)
    entries, first, index = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[index.reshape(phase.shape)], entries[order]


def _material_yaml(entries: Float[np.ndarray, "M 5"], names: dict[int, str]) -> str:
    used = dict.fromkeys(names[int(number)] for number in entries[:, 0])
    lines = [f"  {json.dumps(name)}: {{}}" for name in used]
    lines.append("material:")
    for number, quaternion in zip(entries[:, 0], conjugate(entries[:, 1:]) + 0.0):
        turn = ", ".join(repr(float(part)) for part in quaternion)
        lines.append(
            f"- {{homogenization: SX, constituents: [{{phase: {json.dumps(names[int(number)])}, "
            f"O: [{turn}], v: 1.0}}]}}"
        )
    return _HEAD + "\n".join(lines) + "\n"
