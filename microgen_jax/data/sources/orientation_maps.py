"""EBSD scans as windows of `representations.Orientations`: quaternion, phase and grain of each pixel."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import distance_transform_edt

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import conjugate, from_matrix, multiply
from microgen_jax.crystal.segmentation import grains_from_orientations
from microgen_jax.data.decoding import BadFile
from microgen_jax.data.representations import PhaseName
from microgen_jax.errors import UserError


def phase_names(scan: EbsdMap, laue_group: str, name: str) -> tuple[PhaseName, ...]:
    """Return name and Laue group of the phases that occur in a scan.

    Args:
      scan: the scan.
      laue_group: Laue group of phases for which the file names none; '' = such a phase is refused.
      name: name of the scan in a message.

    Raises:
      UserError: a phase whose Laue group neither the file nor `laue_group` names.
    """
    return tuple(named for named in _named(scan, laue_group, name).values())


def orientation_map(
    scan: EbsdMap, phases: Sequence[PhaseName], laue_group: str, name: str = ""
) -> tuple[Float32[np.ndarray, "H W 6"], Bool[np.ndarray, "H W"]]:
    """Return the window of a whole scan, and which points are indexed; the others are their nearest indexed ones.

    Orientations are turned from the vendor's sample frame into the image's (x to the right, y down), in which flips and
    quarter turns of the image move them. Grains are those of 5 degrees.

    Args:
      scan: the scan.
      phases: phases of all scans, whose numbers the window has.
      laue_group: as in `phase_names`.
      name: name of the scan in a message.

    Raises:
      BadFile: no point is indexed.
    """
    if not scan.indexed.any():
        raise BadFile("no point is indexed")
    phase = np.full(scan.phase.shape, -1)
    for number, named in _named(scan, laue_group, name).items():
        phase[scan.indexed & (scan.phase == number)] = phases.index(named)
    to_image = from_matrix(np.array(scan.frame.to_image, np.float64))
    quaternions = multiply(scan.orientations, conjugate(to_image))
    rows, columns = distance_transform_edt(~scan.indexed, return_distances=False, return_indices=True)
    quaternions, phase = quaternions[rows, columns], phase[rows, columns]
    grains = grains_from_orientations(
        quaternions, {number: named.laue_group for number, named in enumerate(phases)}, phase
    )
    window = np.concatenate([quaternions, phase[..., None], grains[..., None]], axis=-1, dtype=np.float32)
    return window, scan.indexed


def _named(scan: EbsdMap, laue_group: str, name: str) -> dict[int, PhaseName]:
    found = {}
    for phase in scan.phases:
        if not (scan.indexed & (scan.phase == phase.id)).any():
            continue
        group = phase.laue_group or laue_group
        if not group:
            problem = f"phase {phase.id} ({phase.name or 'no name'}) of {name} has no Laue group in the file"
            raise UserError("laue_group", problem, "set it, as in --config.data.laue_group=m-3m")
        found[phase.id] = PhaseName(phase.name or f"phase {phase.id}", group)
    return found
