"""The built-in polycrystals as a source: no files, every image a pure function of (seed, index).

Image i is of class i mod 4. The training part is the indices below `count`, the holdout the ones that
follow.
"""

from collections.abc import Sequence

import numpy as np

from microgen_jax.crystal.polycrystal import CLASSES, polycrystal
from microgen_jax.data.augment import choice
from microgen_jax.data.decoding import Header
from microgen_jax.data.sources.value_range import boundaries as drawn_boundaries
from microgen_jax.errors import UserError
from microgen_jax.types import Record

PROBED = 256  # images whose descriptors give the conditions' mean and standard deviation
KEPT_BYTES = 2**28  # images that take no more than this together are drawn once and kept
CHANNELS = (1, 3)  # grain boundaries, IPF colours
LONGEST_AXIS_IS_X = "elongated"  # so that this class is orthotropic, whatever data.symmetry says


class Polycrystals:
    """Images `start` to `start + count` of the series `seed`, drawn when asked for: as IPF-Z colours, or as black
    grain boundaries on white, one channel.

    Raises:
      UserError: a condition that the polycrystals do not have.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        count: int,
        size: tuple[int, int],
        conditions: Sequence[str] = (),
        *,
        boundaries: bool = False,
    ) -> None:
        if count < len(CLASSES):
            raise UserError(
                f"data.count={count}: the built-in polycrystals need one image a class, {len(CLASSES)}"
            )
        self._seed, self._start, self._count, self._size = seed, start, count, size
        self._boundaries = boundaries
        known = [name for name, value in self._draw(0).descriptors.items() if isinstance(value, float)]
        self._conditions = [choice(name, known, "data.conditions") for name in conditions]
        self.labels = (start + np.arange(count)) % len(CLASSES)
        self.failed: dict[str, str] = {}
        self._kept: dict[int, Record] = {}

    def _draw(self, index: int):
        number = self._start + index
        return polycrystal(self._seed, number, self._size, kind=CLASSES[number % len(CLASSES)])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index in self._kept:
            return self._kept[index]
        drawn = self._draw(index)
        condition = np.float32([drawn.descriptors[name] for name in self._conditions])
        image = drawn_boundaries(drawn.grains[..., None]) if self._boundaries else drawn.image
        record = Record(image, int(self.labels[index]), condition, self.name(index))
        if self._count * image.nbytes <= KEPT_BYTES:
            self._kept[index] = record
        return record

    def name(self, index: int) -> str:
        """Seed and number of the image."""
        return f"{self._seed}/{self._start + index}"

    group = name

    def header(self, index: int) -> Header:
        """Height, width, channels and dtype: the same for all."""
        return Header(*self._size, 1 if self._boundaries else 3, "uint8")

    def conditions_probed(self) -> np.ndarray:
        """float32 [n, K]: the conditions of the first images, enough for their mean and deviation."""
        return np.stack([self[index].condition for index in range(min(PROBED, self._count))])
