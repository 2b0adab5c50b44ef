"""The grains of images, found in one way for reports and for `inspect`.

(1) Regions of colour images are joined neighbours of similar colour (`crystal.segmentation`); of images of boundaries,
    what lies between them.
(2) Black pixels of IPF maps are unindexed and belong to no region.
(3) Specks are given to the nearest grain (`grains.absorb_specks`).
"""

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from microgen_jax.crystal.segmentation import grains_from_colour
from microgen_jax.evaluation import grains
from microgen_jax.evaluation.image_kind import ImageKind

RULE = f"regions under {grains.MIN_GRAIN_AREA} px given to the nearest grain, larger unindexed ones left out"


def method(kind: ImageKind) -> str:
    """Return how the grains of images are found, in words; '' where they have none.

    Args:
      kind: what the images show.
    """
    found_by = {"colour": f"colour steps over {kind.tolerance} of 255", "lines": "boundary lines"}
    return f"{found_by[kind.content]}; {RULE}" if kind.content in found_by else ""


def regions(images: UInt8[np.ndarray, "N H W C"], kind: ImageKind) -> Integer[np.ndarray, "N H W"]:
    """Return the region of each pixel, specks among them; -1 where it is unindexed.

    Args:
      images: colour images, or images of boundaries.
      kind: what they show.
    """
    if kind.content == "lines":
        return np.stack([grains.grains_between_boundaries(lines) for lines in mask(images, kind)])
    found = np.stack([grains_from_colour(image, kind.tolerance) for image in images])
    return np.where(images.max(axis=-1) == 0, -1, found) if kind.ipf else found


def mask(images: UInt8[np.ndarray, "N H W C"], kind: ImageKind) -> Bool[np.ndarray, "N H W"]:
    """Return where the phase, or the boundaries, of two-valued images are.

    Args:
      images: two-valued images.
      kind: what they show.
    """
    return (images[..., 0] > 127) != kind.dark
