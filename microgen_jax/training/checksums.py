"""Sums of a state's bits: any single flipped bit changes them."""

import jax
import numpy as np
from jax.experimental import multihost_utils

from microgen_jax.types import Params


def checksums(tree: Params) -> dict[str, int]:
    """Return the sum of every array's words modulo 2^64 by its place in the tree; the same on any topology.

    Args:
      tree: arrays on the devices of one or several processes.
    """
    sums = np.array([_sum_of_words(x) for x in jax.tree.leaves(tree)], np.uint64)
    if jax.process_count() > 1:
        halves = sums.view(np.uint32)
        parts = multihost_utils.process_allgather(halves)
        sums = np.ascontiguousarray(parts).view(np.uint64).sum(axis=0, dtype=np.uint64)
    return dict(zip(leaf_names(tree), map(int, sums)))


def leaf_names(tree: Params) -> list[str]:
    """Return the place of every leaf in the tree, such as params/down_1/kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def _sum_of_words(x: jax.Array) -> np.uint64:
    parts = [np.asarray(shard.data) for shard in x.addressable_shards if shard.replica_id == 0]
    return np.sum([sum_of_array(part) for part in parts], dtype=np.uint64)


def sum_of_array(x: np.ndarray) -> np.uint64:
    """Return the sum of an array's words modulo 2^64."""
    words = np.ascontiguousarray(x).reshape(-1).view(f"u{x.dtype.itemsize}")
    return np.sum(words, dtype=np.uint64)
