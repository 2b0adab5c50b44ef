"""EBSD scans as windows of `representations.Orientations`: quaternion, phase and grain of each pixel."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from scipy.ndimage import distance_transform_edt

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import conjugate, from_matrix, multiply
from microgen_jax.crystal.segmentation import grains_from_orientations
from microgen_jax.data.decoding import BadFile
from microgen_jax.data.representations import PhaseName
from microgen_jax.errors import UserError


def phases_of(scan: EbsdMap, name: str) -> dict[int, PhaseName]:
    """Return name and Laue group of the phases that occur in a scan, by their number in it.

    Args:
      scan: the scan.
      name: name of the scan in a message.

    Raises:
      UserError: a phase without a Laue group.
      BadFile: no point is indexed.
    """
    if not scan.indexed.any():
        raise BadFile("no point is indexed")
    present, found = np.unique(scan.phase[scan.indexed]), {}
    for phase in scan.phases:
        if phase.id not in present:
            continue
        if not phase.laue_group:
            problem = f"phase {phase.id} ({phase.name or 'no name'}) of {name} has no Laue group in the file"
            raise UserError("laue_group", problem, "set it, as in --config.data.laue_group=m-3m")
        found[phase.id] = PhaseName(phase.name or f"phase {phase.id}", phase.laue_group)
    return found


def orientation_map(
    scan: EbsdMap, named: Mapping[int, PhaseName], phases: Sequence[PhaseName]
) -> Float32[np.ndarray, "H W 6"]:
    """Return the window of a whole scan, in which points that are not indexed are their nearest indexed ones.

    Orientations are turned from the vendor's sample frame into the image's (x to the right, y down), in which flips and
    quarter turns of the image move them. Grains are those of 5 degrees.

    Args:
      scan: the scan; one point at least is indexed.
      named: its phases, from `phases_of`.
      phases: phases of all scans, whose numbers the window has.
    """
    phase = np.full(scan.phase.shape, -1)
    for number, known in named.items():
        phase[scan.indexed & (scan.phase == number)] = phases.index(known)
    to_image = from_matrix(np.array(scan.frame.to_image, np.float64))
    quaternions = fill_nearest(multiply(scan.orientations, conjugate(to_image)), scan.indexed)
    phase = fill_nearest(phase[..., None], scan.indexed)
    groups = {number: known.laue_group for number, known in enumerate(phases)}
    grains = grains_from_orientations(quaternions, groups, phase[..., 0])
    return np.concatenate([quaternions, phase, grains[..., None]], axis=-1, dtype=np.float32)


def fill_nearest(
    image: Shaped[np.ndarray, "H W C"], known: Bool[np.ndarray, "H W"]
) -> Shaped[np.ndarray, "H W C"]:
    """Return an image whose unknown pixels are the nearest known ones.

    Args:
      image: the image.
      known: which pixels are known, one at least.
    """
    rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return image[rows, columns]
