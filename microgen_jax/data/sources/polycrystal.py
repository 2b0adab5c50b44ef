"""The built-in polycrystals as a source: no files, every image a pure function of (seed, index).

Image i is of class i mod 4. The training part is the indices below `count`, the holdout the ones that
follow.
"""

from collections.abc import Sequence

import numpy as np

from microgen_jax.crystal.polycrystal import CLASSES, Polycrystal, polycrystal
from microgen_jax.crystal.segmentation import grains_from_orientations
from microgen_jax.data.decoding import Header
from microgen_jax.data.representations.orientations import WINDOW_CHANNELS
from microgen_jax.data.sources.value_range import boundaries as boundary_network
from microgen_jax.errors import UserError, require_known
from microgen_jax.types import Record

STATISTICS_SAMPLE = 256  # images whose descriptors give the conditions' mean and standard deviation
MAX_KEPT_BYTES = 2**28  # images that take no more than this together are made once and kept
CHANNELS = (1, 3)  # grain boundaries, IPF colours
LAUE_GROUP = "m-3m"
ELONGATED = "elongated"  # so that this class is orthotropic, whatever data.symmetry says


class Polycrystals:
    """Images `start` to `start + count` of the series `seed`, made on access.

    They are IPF-Z colours; or black grain boundaries on white in one channel; or orientations, windows of
    `representations.Orientations` with grains at 5 degrees.
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
        orientations: bool = False,
    ) -> None:
        """Take a range of a series.

        Args:
          seed: seed of the series.
          start: number of the first image.
          count: number of images.
          size: height, width in px.
          conditions: names of the descriptors that are the conditions.
          boundaries: whether images are grain boundaries.
          orientations: whether images are orientations.

        Raises:
          UserError: fewer images than classes, or a descriptor that the polycrystals do not have.
        """
        if count < len(CLASSES):
            raise UserError(
                "count", f"{count} images are fewer than classes", f"set data.count to {len(CLASSES)} or more"
            )
        self._seed, self._start, self._count, self._size = seed, start, count, size
        self._boundaries, self._orientations = boundaries, orientations
        known = [name for name, value in self._make(0).descriptors.items() if isinstance(value, float)]
        for name in conditions:
            require_known("conditions", name, known)
        self._conditions = conditions
        self.labels = (start + np.arange(count)) % len(CLASSES)
        self.failed: dict[str, str] = {}
        self._kept: dict[int, Record] = {}

    def _make(self, index: int):
        number = self._start + index
        return polycrystal(self._seed, number, self._size, kind=CLASSES[number % len(CLASSES)])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index in self._kept:
            return self._kept[index]
        made = self._make(index)
        condition = np.float32([made.descriptors[name] for name in self._conditions])
        image = self._image(made)
        record = Record(image, int(self.labels[index]), condition, self.name(index))
        if self._count * image.nbytes <= MAX_KEPT_BYTES:
            self._kept[index] = record
        return record

    def _image(self, made: Polycrystal) -> np.ndarray:
        if self._boundaries:
            return boundary_network(made.grains[..., None])
        if not self._orientations:
            return made.image
        quaternions = made.orientations[made.grains]
        grains = grains_from_orientations(quaternions, LAUE_GROUP)[..., None]
        return np.concatenate([quaternions, 0 * grains, grains], axis=-1, dtype=np.float32)

    def name(self, index: int) -> str:
        """Return seed and number of the image."""
        return f"{self._seed}/{self._start + index}"

    group = name

    def header(self, index: int) -> Header:
        """Return height, width, channels and dtype, the same for all images."""
        if self._orientations:
            return Header(*self._size, WINDOW_CHANNELS, "float32")
        return Header(*self._size, 1 if self._boundaries else 3, "uint8")

    def condition_sample(self) -> np.ndarray:
        """Return the conditions of the first images, float32 [n, K], enough for their mean and deviation."""
        return np.stack([self[index].condition for index in range(min(STATISTICS_SAMPLE, self._count))])
