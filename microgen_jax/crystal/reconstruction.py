"""Grains from regions: mean values, and merging until no two neighbours are alike.

A region of a stack [N, H, W] is a number of its own; regions of different maps never share one.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Shaped
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def region_means(
    values: Float[np.ndarray, "*shape C"], regions: Int[np.ndarray, "*shape"]
) -> Float[np.ndarray, "G C"]:
    """Return the mean of each region [G, C].

    Args:
      values: values of the pixels [..., C].
      regions: number of the region of each pixel, 0..G-1, all of which occur.
    """
    flat, count = regions.ravel(), np.bincount(regions.ravel())
    sums = [np.bincount(flat, channel.ravel()) for channel in np.moveaxis(values, -1, 0)]
    return np.stack(sums, axis=-1) / count[:, None]


def adjacent_pairs(regions: Int[np.ndarray, "*N H W"]) -> Int[np.ndarray, "P 2"]:
    """Return the pairs a < b of regions that share a pixel edge, each once [P, 2].

    Args:
      regions: number of the region of each pixel.
    """
    sides = [(regions[..., :-1], regions[..., 1:]), (regions[..., :-1, :], regions[..., 1:, :])]
    here, there = (np.concatenate([side[i].ravel() for side in sides]) for i in (0, 1))
    low, high = np.minimum(here, there), np.maximum(here, there)
    apart = low != high
    size = int(regions.max()) + 1
    pairs = np.unique(low[apart].astype(np.int64) * size + high[apart])
    return np.stack([pairs // size, pairs % size], axis=-1)


def merge_alike(
    regions: Int[np.ndarray, "*N H W"],
    describe: Callable[[Int[np.ndarray, "*N H W"]], Shaped[np.ndarray, "G ..."]],
    alike: Callable[[Shaped[np.ndarray, "P ..."], Shaped[np.ndarray, "P ..."]], Bool[np.ndarray, "P"]],
) -> tuple[Int32[np.ndarray, "*N H W"], Shaped[np.ndarray, "G ..."]]:
    """Merge neighbours that are alike, describe the regions anew, and repeat until no two neighbours are alike.

    Args:
      regions: number of the region of each pixel, 0..G-1, all of which occur.
      describe: function from regions to a description of each.
      alike: function from the descriptions of P pairs to whether each pair is one grain.

    Returns:
      The merged regions, numbered in the order of their first numbers, and their descriptions.
    """
    regions = regions.astype(np.int32)
    while True:
        found = describe(regions)
        pairs = adjacent_pairs(regions)
        joined = pairs[alike(found[pairs[:, 0]], found[pairs[:, 1]])] if len(pairs) else pairs
        if not len(joined):
            return regions, found
        links = coo_array((np.ones(len(joined), bool), joined.T), shape=(len(found), len(found)))
        regions = connected_components(links, directed=False)[1].astype(np.int32)[regions]
