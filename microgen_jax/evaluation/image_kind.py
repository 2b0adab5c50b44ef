"""What a set of images shows, found from the real ones: it decides which statistics are measured, and how.

colour  three channels or more that differ: grains are joined neighbours of similar colour
lines   two grey levels, the rarer one under LINE_SHARE of the pixels: grain boundaries, and grains between them
phases  two grey levels otherwise: the rarer one is the phase
grey    anything else with one channel (or three equal ones)
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from microgen_jax.crystal.segmentation import COLOUR_TOLERANCE
from microgen_jax.crystal.symmetry import DEFAULT_LAUE_GROUP
from microgen_jax.evaluation import ipf_density

TWO_VALUED = 0.98  # of the pixels within a tenth of black or white: two levels
LINE_SHARE = 0.35
IPF_SHARE = 0.9  # of the real indexed pixels on the key: the images are IPF maps


class ImageKind(NamedTuple):
    """Content of a set of images, and how it is measured.

    Attributes:
      content: 'colour', 'lines', 'phases' or 'grey'.
      ipf: whether the colours are those of an IPF key.
      dark: whether the phase, or the lines, are the dark pixels.
      level: mean grey level of the real tiles, in [0, 1], subtracted before grey levels are correlated.
      tolerance: largest colour difference between joined pixels, in levels.
      pixel_size_um: width of a pixel in micrometres; 0 where it is not known, and lengths are in px.
      laue_group: Laue group of the IPF colours.
      key: IPF key of the colours, 'tsl' or 'edax'.
    """

    content: str
    ipf: bool
    dark: bool
    level: float
    tolerance: int = COLOUR_TOLERANCE
    pixel_size_um: float = 0.0
    laue_group: str = DEFAULT_LAUE_GROUP
    key: str = "tsl"

    @property
    def unit(self) -> str:
        """Unit of lengths, 'um' or 'px'."""
        return "um" if self.pixel_size_um else "px"

    @property
    def pixel(self) -> float:
        """Width of a pixel in `unit`."""
        return self.pixel_size_um or 1.0


def classify_images(
    real: UInt8[np.ndarray, "N H W C"],
    *,
    ipf_maps: bool | None = None,
    pixel_size_um: float = 0.0,
    laue_group: str = DEFAULT_LAUE_GROUP,
    colour_key: str = "tsl",
) -> ImageKind:
    """Return what real tiles show, which decides what is measured.

    Args:
      real: real tiles.
      ipf_maps: whether colours are IPF colours; None decides by the share of pixels whose colour the key has.
      pixel_size_um: width of a pixel in micrometres; 0 = not known.
      laue_group: Laue group of the IPF colours.
      colour_key: IPF key of the colours, 'tsl' or 'edax'.
    """
    if real.shape[-1] > 1 and not (real == real[..., :1]).all():
        rgb = real.shape[-1] == 3
        ipf = rgb and (ipf_density.off_key(real).mean() <= 1 - IPF_SHARE if ipf_maps is None else ipf_maps)
        return ImageKind(
            "colour",
            bool(ipf),
            False,
            0.0,
            pixel_size_um=pixel_size_um,
            laue_group=laue_group,
            key=colour_key,
        )
    grey = real[..., 0]
    extreme = np.mean((grey < 26) | (grey > 229))
    bright = float(np.mean(grey > 127))
    level = float(grey.mean()) / 255
    if extreme < TWO_VALUED or bright in (0.0, 1.0):
        return ImageKind("grey", False, False, level, pixel_size_um=pixel_size_um)
    content = "lines" if min(bright, 1 - bright) < LINE_SHARE else "phases"
    return ImageKind(content, False, bright > 0.5, level, pixel_size_um=pixel_size_um)
