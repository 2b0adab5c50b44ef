"""The parts of a network with their parameters and floating-point operations, from its traced program.

A training step costs about three forward passes; `runtime.memory_plan` counts the operations of a whole one.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from microgen_jax.networks.flops import flops
from microgen_jax.networks.unet import UNet


class Row(NamedTuple):
    """One part of a network.

    Attributes:
      name: "embedding", "level 0", ..., "middle", "in and out".
      size: height and width in px; (0, 0) for the embedding.
      channels: channels of the part's activations.
      blocks: residual blocks, down and up together.
      attention: attention layers.
      params: number of parameters.
      flops: operations of the forward pass of one image.
    """

    name: str
    size: tuple[int, int]
    channels: int
    blocks: int
    attention: int
    params: int
    flops: int


def costs(network: nn.Module, part_of: Callable[[str], str], *inputs: Any) -> dict[str, tuple[int, int]]:
    """Return the parameters and operations of each part of a network.

    Args:
      network: the network.
      part_of: function from the name of an outermost module to its part.
      *inputs: the network's inputs, of one image.
    """
    program, made = jax.make_jaxpr(network.init, return_shape=True)(jax.random.key(0), *inputs)
    params, operations = Counter(), Counter()
    for module, tree in made["params"].items():
        params[part_of(module)] += sum(x.size for x in jax.tree.leaves(tree))
    for scope, count in flops(program).items():
        module = next(name for name in scope.split("/") if name in made["params"])
        operations[part_of(module)] += count
    return {part: (params[part], operations[part]) for part in params}


def summary(unet: UNet, size: tuple[int, int]) -> list[Row]:
    """Return the parts of a UNet; totals are sums over the rows.

    Args:
      unet: the network.
      size: height and width of the images in px.
    """
    counted = unet.clone(
        dtype=jnp.float32
    )  # cuDNN's attention takes bfloat16 and is no product of the program
    image, number = jnp.zeros((1, *size, unet.out_channels + unet.given_channels)), jnp.zeros(1, jnp.int32)
    condition = jnp.zeros((1, unet.num_conditions))
    part_of = functools.partial(_part, levels=len(unet.channels))
    found = costs(counted, part_of, image, number, number, condition)
    rows = [
        Row("embedding", (0, 0), 4 * unet.channels[0], 0, 0, *found["embedding"]),
        Row("in and out", size, unet.channels[0], 0, 0, *found["in and out"]),
    ]
    blocks = 2 * unet.blocks_per_level + 1
    for i, (channels, attends) in enumerate(zip(unet.channels, unet.attention_levels)):
        at = (size[0] >> i, size[1] >> i)
        rows.append(Row(f"level {i}", at, channels, blocks, blocks * attends, *found[f"level {i}"]))
    return [*rows, Row("middle", at, channels, 2, int(unet.mid_attention), *found["middle"])]


def _part(module: str, levels: int) -> str:
    name, _, index = module.rpartition("_")
    if name == "down_blocks":
        return f"level {index}"
    if name == "up_blocks":
        return f"level {levels - 1 - int(index)}"
    if module == "mid_block":
        return "middle"
    return "embedding" if name.endswith(("time", "class", "condition")) else "in and out"
