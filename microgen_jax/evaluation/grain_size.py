"""The mean grain size of whole maps, as a person reads it: what counts as a grain, and what the map's edge does.

(1) Regions under `grains.MIN_GRAIN_AREA` px are given to the nearest grain; unindexed pixels belong to none.
(2) D = sqrt(4 area / pi) of the grains that keep off the map's edge (ASTM E2627), and their mean.
(3) An edge cuts large grains more often than small ones, so that (2) is too small where maps hold few grains. Weighted
    with w = H W / ((H - h) (W - w)), h and w the sides of its bounding box, each grain counts as often as it would
    without an edge (Miles 1974; Lantuejoul 1980).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy import ndimage

from microgen_jax.evaluation import grains

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
