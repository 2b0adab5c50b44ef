"""The mean grain size of whole maps, as a person reads it.

D = sqrt(4 area / pi) of the grains that keep off the map's edge (ASTM E2627): their mean, and their mean weighted for
what the edge cuts (eq. 10 of `grains`).
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt8

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.segmentation import ORIENTATION_TOLERANCE, grains_from_orientations
from microgen_jax.evaluation import grain_finding, grains
from microgen_jax.evaluation.image_kind import ImageKind

BY_ORIENTATION = f"whole scans, misorientation over {ORIENTATION_TOLERANCE:g} degrees; {grain_finding.RULE}"
MAX_SPECKS = 0.03  # of the pixels; more show noise, or colours that change within grains
DIAMETER = "equivalent circle diameter of the grains that no edge cuts"


def noise(speck_share: float | None) -> str:
    """Return a sentence where specks are many; else ''.

    Args:
      speck_share: share of the pixels in regions too small to be grains; None where it is not known.
    """
    if speck_share is None or speck_share <= MAX_SPECKS:
        return ""
    return (
        f"{speck_share:.1%} of the pixels lie in regions under {grains.MIN_GRAIN_AREA} px: noise, or colours that "
        "change within grains, also count as small grains; the mean weighted by area shows the large ones"
    )


class GrainSizes(NamedTuple):
    """Grains of one map, or of several.

    Attributes:
      count: number of grains, those at the edge included.
      diameter: float64 [G], px, of the grains that no edge cuts.
      weight: float64 [G], for what the edge cuts.
      specks: px of regions too small to be grains.
      pixels: px of all maps.
    """

    count: int
    diameter: Float[np.ndarray, "G"]
    weight: Float[np.ndarray, "G"]
    specks: int
    pixels: int

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
            "speck_share": self.specks / max(self.pixels, 1),
            "note": noise(self.specks / max(self.pixels, 1)),
        }


def grain_sizes(regions: Integer[np.ndarray, "H W"]) -> GrainSizes:
    """Measure the grains of a map.

    Args:
      regions: region of each pixel, -1 where it is unindexed.
    """
    found = grains.measure(grains.absorb_specks(regions[None]))
    lost = int(grains.specks(regions[None]).area[0])
    whole = found.whole
    return GrainSizes(len(found.area), found.diameter[whole], found.edge_weight[whole], lost, regions.size)


def pooled(maps: Iterable[GrainSizes]) -> GrainSizes:
    """Return the grains of several maps as one.

    Args:
      maps: grains of each map.
    """
    each = [GrainSizes(0, np.zeros(0), np.zeros(0), 0, 0), *maps]
    count, diameter, weight, specks, pixels = zip(*each)
    return GrainSizes(sum(count), np.concatenate(diameter), np.concatenate(weight), sum(specks), sum(pixels))


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
      image: the image.
      kind: what images of the set show, 'colour' or 'lines'.
    """
    return grain_sizes(grain_finding.regions(image[None], kind)[0])


def per_tile(tiles: UInt8[np.ndarray, "N H W C"], kind: ImageKind) -> float:
    """Return the mean number of grains of a tile.

    Args:
      tiles: the tiles.
      kind: what they show, 'colour' or 'lines'.
    """
    labels = grains.absorb_specks(grain_finding.regions(tiles, kind))
    return len(grains.measure(labels).area) / len(tiles)


def summed(maps: Collection[GrainSizes], pixel_size_um: float, method: str) -> dict[str, Any]:
    """Return the grains of several maps as JSON takes them, and how they were found.

    Args:
      maps: grains of each map.
      pixel_size_um: pixel size in um; 0 = not known.
      method: how grains are found.
    """
    whole = f"{method}; {DIAMETER}"
    return pooled(maps).to_json(pixel_size_um) | {"maps": len(maps), "method": whole}
