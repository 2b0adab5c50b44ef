"""The mean grain size of whole maps, as a person reads it: what counts as a grain, and what the map's edge does.

(1) Regions under `grains.MIN_GRAIN_AREA` px are given to the nearest grain; unindexed pixels belong to none.
(2) D = sqrt(4 area / pi) of the grains that keep off the map's edge (ASTM E2627), and their mean.
(3) An edge cuts large grains more often than small ones, so that (2) is too small where maps hold few grains. Weighted
    with w = H W / ((H - h) (W - w)), h and w the sides of its bounding box, each grain counts as often as it would
    without an edge (Miles 1974; Lantuejoul 1980).
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt8
from scipy import ndimage

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.segmentation import (
    COLOUR_TOLERANCE,
    ORIENTATION_TOLERANCE,
    grains_from_orientations,
)
from microgen_jax.evaluation import grains, statistics
from microgen_jax.evaluation.statistics import ImageKind

BY_ORIENTATION = f"misorientation over {ORIENTATION_TOLERANCE:g} degrees, on whole scans"
RULE_OF = {
    "colour": f"colour steps over {COLOUR_TOLERANCE} of 255, on whole images",
    "lines": "boundary lines, on whole images",
}
RULES = (
    f"regions under {grains.MIN_GRAIN_AREA} px given to the nearest grain, unindexed pixels left out; "
    "equivalent circle diameter of the grains that no edge cuts"
)


class GrainSizes(NamedTuple):
    """Grains of one map, or of several.

    Attributes:
      count: number of grains, those at the edge included.
      diameter: float64 [G], px, of the grains that no edge cuts, eq. 2.
      weight: float64 [G], eq. 3.
    """

    count: int
    diameter: Float[np.ndarray, "G"]
    weight: Float[np.ndarray, "G"]

    def to_json(self, pixel_size_um: float = 0.0) -> dict[str, Any]:
        """Return counts and means as JSON takes them.

        Args:
          pixel_size_um: pixel size in um; 0 = not known.
        """
        any_whole = len(self.diameter) > 0
        mean = float(self.diameter.mean()) if any_whole else None
        return {
            "grains": self.count,
            "whole": len(self.diameter),
            "mean_diameter": mean,
            "mean_diameter_um": mean * pixel_size_um if any_whole and pixel_size_um else None,
            "mean_diameter_edge_corrected": float(np.average(self.diameter, weights=self.weight))
            if any_whole
            else None,
        }


def grain_sizes(labels: Integer[np.ndarray, "H W"]) -> GrainSizes:
    """Measure the grains of a map, eqs. 1 to 3.

    Args:
      labels: region of each pixel, -1 where it is unindexed.
    """
    absorbed = grains.absorb_specks(labels[None])
    found = grains.measure(absorbed)
    area = np.bincount(absorbed[absorbed >= 0], minlength=1)
    boxes = ndimage.find_objects(absorbed[0] + 1)
    sides = np.array(
        [[part.stop - part.start for part in boxes[n]] for n in np.flatnonzero(area >= grains.MIN_GRAIN_AREA)]
    ).reshape(-1, 2)[found.whole]
    shape = np.array(labels.shape)
    weight = np.prod(shape / np.maximum(shape - sides, 1), axis=1)
    return GrainSizes(len(found.area), found.diameter[found.whole], weight)


def pooled(maps: Iterable[GrainSizes]) -> GrainSizes:
    """Return the grains of several maps as one.

    Args:
      maps: grains of each map.
    """
    each = [GrainSizes(0, np.zeros(0), np.zeros(0)), *maps]
    count, diameter, weight = zip(*each)
    return GrainSizes(sum(count), np.concatenate(diameter), np.concatenate(weight))


def of_map(scan: EbsdMap) -> GrainSizes:
    """Measure the grains of a map, which differ in orientation.

    Args:
      scan: the map; points of phases without a Laue group belong to no grain.
    """
    groups = {phase.id: phase.laue_group for phase in scan.phases if phase.laue_group}
    return grain_sizes(grains_from_orientations(scan.orientations, groups, scan.phase))


def of_image(image: UInt8[np.ndarray, "H W C"], kind: ImageKind) -> GrainSizes:
    """Measure the grains of a whole image, which differ in colour or lie between lines.

    Args:
      image: the image; black pixels of an IPF map are unindexed.
      kind: what images of the set show, 'colour' or 'lines'.
    """
    labels = statistics.labels_of(image[None], kind)[0]
    return grain_sizes(labels if kind.content == "lines" else np.where(image.max(axis=-1) == 0, -1, labels))


def per_tile(labels: Integer[np.ndarray, "N H W"]) -> float:
    """Return the mean number of grains of a tile.

    Args:
      labels: regions of tiles, -1 where unindexed.
    """
    return len(grains.measure(grains.absorb_specks(labels)).area) / len(labels)


def summed(maps: Collection[GrainSizes], pixel_size_um: float, rule: str) -> dict[str, Any]:
    """Return the grains of several maps as JSON takes them, and how they were found.

    Args:
      maps: grains of each map.
      pixel_size_um: pixel size in um; 0 = not known.
      rule: what separates two grains.
    """
    return pooled(maps).to_json(pixel_size_um) | {"maps": len(maps), "method": f"{rule}; {RULES}"}
