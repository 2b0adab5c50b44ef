"""The EBSD map that readers give and writers take.

Orientations stay in the sample frame in which the vendor wrote them; `EbsdMap.frame` says how that lies to the map.
Their crystal frame is one for all: x of hexagonal and trigonal crystals along a (`orientations`). Oxford's lies along
a*, which is 30 degrees away: as a lies at -30 degrees in its frame, v = Z v' with Z the turn by +30 degrees about c.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.orientations import from_axis_angle
from microgen_jax.crystal.readers.points import Frame, Phase

UNINDEXED = -1  # phase of an unindexed pixel
HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")  # Laue groups with two customs for x
TO_X_ALONG_A = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(30))
MICRONS = {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}


@dataclass(frozen=True)
class EbsdMap:
    """An EBSD map on a square grid: rows down, columns right.

    Attributes:
      orientations: float64 [H, W, 4], unit quaternions, sample -> crystal (`orientations`, eq. 1) with the crystal's
        x along a; identity where unindexed.
      phase: int32 [H, W], the id of one of `phases`; -1 where unindexed.
      indexed: bool [H, W], whether the pixel was measured and has an orientation.
      phases: the phases that the file names.
      pixel_size: height and width of a pixel (dy, dx) in `unit`, equal to 0.1 %.
      unit: unit of length, 'um' as a rule.
      frame: how the sample frame of the orientations lies to the map's rows and columns, and how the vendor's
        crystal frame differed.
      columns: every column as read, Euler angles in the file's units and frame among them, and the number of the
        point in each pixel.
      metadata: further entries of the header.
      notes: remarks on what was repaired or left out, a line each.
      unused: columns, data sets and header fields that were found and not used, a line each.
      described: number of columns and header fields that only describe (operator, beam, quality).
    """

    orientations: Float[np.ndarray, "H W 4"]
    phase: Int[np.ndarray, "H W"]
    indexed: Bool[np.ndarray, "H W"]
    phases: tuple[Phase, ...]
    pixel_size: tuple[float, float]
    unit: str
    frame: Frame
    columns: Columns
    metadata: dict[str, str | float]
    notes: tuple[str, ...]
    unused: tuple[str, ...] = ()
    described: int = 0

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in um; 0 where the unit is no length."""
        return float(np.mean(self.pixel_size)) * MICRONS.get(self.unit, 0.0)

    @property
    def unindexed_share(self) -> float:
        """Share of the pixels that have no orientation."""
        return float(1 - self.indexed.mean())
