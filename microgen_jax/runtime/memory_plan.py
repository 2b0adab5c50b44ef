"""What a compiled step costs a device: operations, bytes, memory and messages, without running it.

Operations are those of the whole traced program, backward pass and recomputed levels included (`networks.flops`).

Messages are the collectives of the partitioned program. Of n bytes over k devices a ring sends from every device

    all-reduce 2 n (k-1)/k     all-gather, reduce-scatter, all-to-all n (k-1)/k     permute n

where n is the larger of operand and result (Thakur et al. 2005, section 4).
"""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from microgen_jax.networks.flops import flops
from microgen_jax.types import Batch, Params

_COLLECTIVE = re.compile(
    r"= (?P<result>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_ARRAY = re.compile(r"(?P<kind>pred|[a-z]+)(?P<bits>\d*)\[(?P<shape>[\d,]*)\]")
_SAVE_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}  # as accelerators schedule
_MESH_AXIS = re.compile(r"'(\w+)'=(\d+)")
_RING = {
    "all-reduce": lambda n, k: 2 * n * (k - 1) / k,
    "all-gather": lambda n, k: n * (k - 1) / k,
    "reduce-scatter": lambda n, k: n * (k - 1),
    "all-to-all": lambda n, k: n * (k - 1) / k,
    "collective-permute": lambda n, k: n,
}


class Cost(NamedTuple):
    """Cost of one step, for each device.

    Attributes:
      flops: operations of products and convolutions.
      bytes_accessed: bytes read and written by the compiled program's operations.
      temporaries: bytes of arrays that live only within the step, activations above all.
      messages: bytes sent, by kind of collective.
    """

    flops: float
    bytes_accessed: float
    temporaries: int
    messages: dict[str, float]


def step_cost(traced: Any, devices: int) -> Cost:
    """Return the cost of a traced step, compiled for CPU devices.

    The CPU's own schedule would run what `remat` computes again as early as it can, and so save no memory.

    Args:
      traced: traced step, `jax.jit(step, ...).trace(...)`.
      devices: number of devices that share the step.
    """
    compiled = traced.lower().compile(compiler_options=_SAVE_MEMORY)
    return Cost(
        flops(traced.jaxpr).total() / devices,
        compiled.cost_analysis()["bytes accessed"],
        compiled.memory_analysis().temp_size_in_bytes,
        messages(compiled.as_text()),
    )


def batch_shapes(count: int, size: tuple[int, int], channels: int, conditions: int) -> Batch:
    """Return the shapes of a global batch.

    Args:
      count: number of images.
      size: height and width of an image.
      channels: channels of an image.
      conditions: number of continuous conditions.
    """
    return Batch(
        jax.ShapeDtypeStruct((count, *size, channels), jnp.float32),
        jax.ShapeDtypeStruct((count,), jnp.int32),
        jax.ShapeDtypeStruct((count, conditions), jnp.float32),
    )


def bytes_on_device(tree: Params, shardings: Params) -> int:
    """Return the bytes of a tree's arrays that lie on one device.

    Args:
      tree: arrays, or their shapes.
      shardings: sharding of each array.
    """
    sizes = jax.tree.map(
        lambda x, s: math.prod(s.shard_shape(x.shape)) * np.dtype(x.dtype).itemsize, tree, shardings
    )
    return sum(jax.tree.leaves(sizes))


def messages(program: str) -> dict[str, float]:
    """Return the bytes that each device sends in one run of a partitioned program, by kind of collective.

    Args:
      program: text of the compiled program (`compiled.as_text()`).
    """
    sent: Counter[str] = Counter()
    for line in program.splitlines():
        if match := _COLLECTIVE.search(line):
            kind = match["kind"]
            sent[kind] += _RING[kind](_bytes(match["result"]), _group_size(line))
    return dict(sent)


def _bytes(shapes: str) -> int:
    total = 0
    for match in _ARRAY.finditer(shapes):
        entries = math.prod(int(n) for n in match["shape"].split(",") if n)
        total += entries * max(1, int(match["bits"] or 8) // 8)
    return total


def _group_size(line: str) -> int:
    """Return how many devices take part: `[groups,size]<=...`, `{{0,1},{2,3}}` or `mesh['a'=4,'b'=2] {'b'}`."""
    groups = line.partition("replica_groups=")[2]
    if match := re.match(r"\[\d+,(\d+)\]<=", groups):
        return int(match[1])
    if match := re.match(r"\{\{([\d,]*)\}", groups):
        return len(match[1].split(","))
    if match := re.match(r"mesh\[(.*?)\].*?\{(.*?)\}", groups):
        sizes = dict(_MESH_AXIS.findall(match[1]))
        return math.prod(int(sizes[name]) for name in re.findall(r"'(\w+)'", match[2]))
    return 2
