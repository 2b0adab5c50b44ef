"""Structure of a map: where its grains are, as channels that a network can learn and that give every grain back.

(1) Edges. Of each pixel p and its right, or lower, neighbour q
        e(p, q) = +1 where p and q belong to different grains, -1 where they belong to one,
    and -1 where there is no neighbour.
(2) Distance of each pixel to the nearest pixel of another grain, in px, cut off at 4 and scaled from [1, 4] to [-1, 1].
(3) Decoding. The edges that a network made are costs of a cut, with a sign. Pixels are joined across clear insides
    (e < -0.9); then the two adjacent regions whose common edges have the lowest mean are merged, for as long as that
    mean is below 0: agglomeration with average linkage on a signed graph (Bailoni et al. 2022,
    doi:10.1109/CVPR52688.2022.01136, algorithm 1). Regions under a least size go to the neighbour with the lowest
    mean. The distance is not read: it is there for the network. Boundaries are closed by construction.
"""

import heapq
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from microgen_jax.crystal.arguments import require_shape
from microgen_jax.crystal.segmentation import in_reading_order, join
from microgen_jax.errors import UserError

CHANNELS = ("structure:right", "structure:below", "structure:distance")
CUT_OFF = 4.0  # px
CLEARLY_INSIDE = -0.9
MIN_PIXELS = 3


def structure_channels(grains: Int[np.ndarray, "*N H W"]) -> Float32[np.ndarray, "*N H W 3"]:
    """Return the structure of label maps in [-1, 1] (eqs. 1, 2), in the order of CHANNELS, float32 [..., H, W, 3].

    Args:
      grains: number of the grain of each pixel [..., H, W].
    """
    right = _differs(grains, 0, 1)
    below = _differs(grains, 1, 0)
    distance = np.full(grains.shape, CUT_OFF, np.float32)
    reach = int(CUT_OFF)
    for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
        length = np.float32(np.hypot(dy - reach, dx - reach))
        if 0 < length < CUT_OFF:
            other = _differs(grains, dy - reach, dx - reach)
            distance[other] = np.minimum(distance[other], length)
    scaled = 2 * (distance - 1) / np.float32(CUT_OFF - 1) - 1
    return np.stack([2 * right.astype(np.float32) - 1, 2 * below.astype(np.float32) - 1, scaled], axis=-1)


def _differs(grains: np.ndarray, dy: int, dx: int) -> Bool[np.ndarray, "*N H W"]:
    """Return whether the pixel dy below and dx to the right exists and belongs to another grain."""
    different = np.roll(grains, (-dy, -dx), (-2, -1)) != grains
    if dy:
        different[..., -dy if dy > 0 else 0 : None if dy > 0 else -dy, :] = False
    if dx:
        different[..., -dx if dx > 0 else 0 : None if dx > 0 else -dx] = False
    return different


def grains_from_structure(
    structure: Float[np.ndarray, "H W C"], *, min_pixels: int = MIN_PIXELS
) -> Int32[np.ndarray, "H W"]:
    """Return the grain of each pixel, 0..G-1 in reading order (eq. 3).

    Args:
      structure: channels in the order of CHANNELS [H, W, C]; the two edges are read.
      min_pixels: least size of a grain in px; smaller regions go to a neighbour.

    Raises:
      UserError: another shape, or values that are not finite.
    """
    require_shape("structure", structure, (None, None, None), whole=True)
    if structure.shape[-1] < 2:
        raise UserError("structure", f"has {structure.shape[-1]} channels, and its first two are read")
    right, below = structure[..., 0].astype(np.float64), structure[..., 1].astype(np.float64)
    if not (np.isfinite(right).all() and np.isfinite(below).all()):
        raise UserError("structure", "holds NaN or infinite values")
    right, below = right[:, :-1], below[:-1]
    pieces = join(right < CLEARLY_INSIDE, below < CLEARLY_INSIDE)
    regions = _Regions(pieces, right, below)
    regions.merge_while_below(0.0)
    regions.absorb(min_pixels)
    return in_reading_order(regions.owner()[pieces])


class _Regions:
    """Adjacent regions of a map, with the sum and the number of the edges between each two."""

    def __init__(self, pieces: np.ndarray, right: np.ndarray, below: np.ndarray) -> None:
        """Take regions 0..G-1 [H, W], and the edges of each pixel to its right and lower neighbour."""
        self.area = np.bincount(pieces.ravel()).tolist()
        self.parent = list(range(len(self.area)))
        self.edges: list[dict[int, tuple[float, int]]] = [{} for _ in self.area]
        for a, b, total, count in _common_edges(pieces, right, below):
            self.edges[a][b] = self.edges[b][a] = (total, count)

    def merge_while_below(self, bound: float) -> None:
        """Merge the two regions with the lowest mean edge until no mean is below the bound."""
        queue = [
            (total / count, a, b)
            for a, around in enumerate(self.edges)
            for b, (total, count) in around.items()
            if a < b and total < bound * count
        ]
        heapq.heapify(queue)
        while queue:
            mean, a, b = heapq.heappop(queue)
            if self._mean(a, b) != mean:
                continue
            kept = self._merge(a, b)
            for other, (total, count) in self.edges[kept].items():
                if total < bound * count:
                    heapq.heappush(queue, (total / count, *sorted((kept, other))))

    def absorb(self, min_pixels: int) -> None:
        """Give regions under a size, the smallest first, to the neighbour with the lowest mean edge."""
        queue = [(size, a) for a, size in enumerate(self.area) if size < min_pixels and self.parent[a] == a]
        heapq.heapify(queue)
        while queue:
            size, a = heapq.heappop(queue)
            if self.parent[a] != a or self.area[a] != size or not self.edges[a]:
                continue
            kept = self._merge(a, min(self.edges[a], key=lambda b: (self._mean(a, b), b)))
            if self.area[kept] < min_pixels:
                heapq.heappush(queue, (self.area[kept], kept))

    def owner(self) -> Int[np.ndarray, "G"]:
        """Return the region that each of the first regions belongs to now."""
        owner = np.array(self.parent)
        while (owner != owner[owner]).any():
            owner = owner[owner]
        return owner

    def _mean(self, a: int, b: int) -> float | None:
        if b not in self.edges[a]:
            return None
        total, count = self.edges[a][b]
        return total / count

    def _merge(self, a: int, b: int) -> int:
        """Merge two regions into the one with more neighbours, and return it."""
        kept, gone = (a, b) if len(self.edges[a]) >= len(self.edges[b]) else (b, a)
        del self.edges[kept][gone], self.edges[gone][kept]
        for other, (total, count) in self.edges[gone].items():
            more, many = self.edges[kept].get(other, (0.0, 0))
            del self.edges[other][gone]
            self.edges[kept][other] = self.edges[other][kept] = (total + more, count + many)
        self.edges[gone] = {}
        self.area[kept] += self.area[gone]
        self.parent[gone] = kept
        return kept


def _common_edges(
    pieces: np.ndarray, right: np.ndarray, below: np.ndarray
) -> Iterator[tuple[int, int, float, int]]:
    """Yield regions a < b that are neighbours, and the sum and number of the edges between them."""
    here = np.concatenate([pieces[:, :-1].ravel(), pieces[:-1].ravel()])
    there = np.concatenate([pieces[:, 1:].ravel(), pieces[1:].ravel()])
    values = np.concatenate([right.ravel(), below.ravel()])
    apart = here != there
    low, high = np.minimum(here, there)[apart], np.maximum(here, there)[apart]
    pairs, which = np.unique(low.astype(np.int64) * pieces.size + high, return_inverse=True)
    totals, counts = np.bincount(which, values[apart]), np.bincount(which)
    return zip(
        (pairs // pieces.size).tolist(), (pairs % pieces.size).tolist(), totals.tolist(), counts.tolist()
    )
