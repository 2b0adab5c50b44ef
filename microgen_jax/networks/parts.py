"""The parts of a UNet with their parameters and floating-point operations, by the formulas of their layers.

`plan` counts the operations of a whole compiled step instead (`runtime.memory_plan`); tests hold the two together.

A multiply-add is two operations. Convolutions, dense layers and attention are counted, element-wise work is
not (a few per cent):

    conv k×k    2 k² C K H W          dense    2 C K
    attention   8 C² N + 4 N² C       N = H W pixels: four projections, then Q Kᵀ and its product with V

A training step costs about three forward passes.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

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


def summary(unet: UNet, size: tuple[int, int]) -> list[Row]:
    """Return the parts of a UNet; totals are sums over the rows.

    Args:
      unet: the network.
      size: height and width of the images in px.
    """
    params = _params_by_part(unet, size)
    features, last = 4 * unet.channels[0], len(unet.channels) - 1
    ends = 2 * _conv(unet.out_channels, unet.channels[0], math.prod(size))
    rows = [
        Row("embedding", (0, 0), features, 0, 0, params["embedding"], _embedding(unet)),
        Row("in and out", size, unet.channels[0], 0, 0, params["in and out"], ends),
    ]
    for i, channels in enumerate(unet.channels):
        at = (size[0] >> i, size[1] >> i)
        inputs = _block_inputs(unet, i)
        attention = len(inputs) if unet.attention_levels[i] else 0
        flops = sum(_block(c, channels, features, math.prod(at)) for c in inputs)
        flops += attention * _attention(channels, math.prod(at))
        flops += _conv(channels, channels, math.prod(at) // 4) if i < last else 0
        flops += _conv(channels, channels, math.prod(at)) * 4 if i > 0 else 0
        rows.append(Row(f"level {i}", at, channels, len(inputs), attention, params[f"level {i}"], flops))
    flops = 2 * _block(channels, channels, features, math.prod(at))
    flops += _attention(channels, math.prod(at)) if unet.mid_attention else 0
    rows.append(Row("middle", at, channels, 2, int(unet.mid_attention), params["middle"], flops))
    return rows


def _block_inputs(unet: UNet, level: int) -> list[int]:
    """Return the channels that enter each residual block of a level, on the way down and then up."""
    here, blocks = unet.channels[level], unet.blocks_per_level
    above = unet.channels[max(level - 1, 0)]
    below = unet.channels[min(level + 1, len(unet.channels) - 1)]
    down = [above] + [here] * (blocks - 1)
    up_from = [below] + [here] * blocks
    skips = [here] * blocks + [above]
    return down + [x + skip for x, skip in zip(up_from, skips)]


def _conv(channels: int, features: int, pixels: int) -> int:
    return 2 * 9 * channels * features * pixels


def _dense(channels: int, features: int) -> int:
    return 2 * channels * features


def _block(channels: int, features: int, embedding: int, pixels: int) -> int:
    shortcut = _dense(channels, features) * pixels if channels != features else 0
    return (
        _conv(channels, features, pixels)
        + _conv(features, features, pixels)
        + _dense(embedding, features)
        + shortcut
    )


def _attention(channels: int, pixels: int) -> int:
    return 4 * _dense(channels, channels) * pixels + 4 * pixels**2 * channels


def _embedding(unet: UNet) -> int:
    features = 4 * unet.channels[0]
    flops = _dense(unet.channels[0], features) + _dense(features, features)
    if unet.num_conditions:
        flops += _dense(2 * unet.num_conditions, features) + _dense(features, features)
    return flops


def _params_by_part(unet: UNet, size: tuple[int, int]) -> dict[str, int]:
    """Return the parameters by the row that they belong to, from the shapes that `init` would make."""
    args = (
        jnp.zeros((1, *size, unet.out_channels)),
        jnp.zeros(1, jnp.int32),
        jnp.zeros(1, jnp.int32),
        jnp.zeros((1, unet.num_conditions)),
    )
    shapes = jax.eval_shape(unet.init, jax.random.key(0), *args)["params"]
    counts: dict[str, int] = {}
    for module, leaves in shapes.items():
        part = _part(module, len(unet.channels))
        counts[part] = counts.get(part, 0) + sum(math.prod(x.shape) for x in jax.tree.leaves(leaves))
    return counts


def _part(module: str, levels: int) -> str:
    name, _, index = module.rpartition("_")
    if name == "down_blocks":
        return f"level {index}"
    if name == "up_blocks":
        return f"level {levels - 1 - int(index)}"
    if module == "mid_block":
        return "middle"
    return "embedding" if name.endswith(("time", "class", "condition")) else "in and out"
