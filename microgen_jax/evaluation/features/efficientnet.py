"""EfficientNet-Lite0 (Tan and Le 2019; the "lite" form has neither squeeze-and-excitation nor swish, but ReLU6).

Trained on ImageNet. Input (x - 127) / 128 at 224 px, padding SAME, 1280 features, 1000 classes.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from microgen_jax.evaluation.features import layers

SIZE = 224
EPS = 1e-3
# channels, blocks, kernel, stride of the first block, expansion
STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
POOLED, MID = "1280", "112"  # taps


def parameters(state: dict[str, np.ndarray]) -> dict:
    """The parameters of `apply` from a PyTorch state dict."""

    def folded(conv: str, norm: str) -> layers.ConvWeights:
        return layers.folded(state, conv, norm, EPS)

    blocks = []
    for n in range(sum(stage[1] for stage in STAGES)):
        name = f"_blocks.{n}"
        block = {"project": folded(f"{name}._project_conv", f"{name}._bn2")}
        if n:
            block["expand"] = folded(f"{name}._expand_conv", f"{name}._bn0")
        block["depthwise"] = folded(f"{name}._depthwise_conv", f"{name}._bn1")
        blocks.append(block)
    return {
        "stem": folded("_conv_stem", "_bn0"),
        "blocks": blocks,
        "head": folded("_conv_head", "_bn1"),
        "classes": (np.ascontiguousarray(state["_fc.weight"].T), state["_fc.bias"]),
    }


def prepare(images: Float[Array, "B H W 3"]) -> Float[Array, "B h w 3"]:
    """Levels 0 to 255 as the network wants them."""
    return (layers.bilinear(images, (SIZE, SIZE)) - 127) / 128


def apply(params: dict, x: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B _"]]:
    """Means over the pixels of the last block of 112 channels and of the head, and the logits of the classes."""
    x = jnp.clip(layers.conv(x, params["stem"], 2, layers.same(x.shape[1:3], 3, 2)), 0, 6)
    blocks, taps = iter(params["blocks"]), {}
    for channels, count, _, first_stride, _ in STAGES:
        for n in range(count):
            x = _block(next(blocks), x, 1 if n else first_stride)
        if str(channels) == MID:
            taps[MID] = layers.pixel_mean(x)
    taps[POOLED] = layers.pixel_mean(jnp.clip(layers.conv(x, params["head"]), 0, 6))
    kernel, bias = params["classes"]
    return taps | {"logits": taps[POOLED] @ kernel + bias[None]}


def _block(params: dict, x: Array, stride: int) -> Array:
    """Wide, each channel by itself, narrow again (Sandler et al. 2018)."""
    y = jnp.clip(layers.conv(x, params["expand"]), 0, 6) if "expand" in params else x
    y = jnp.clip(layers.depthwise(y, params["depthwise"], stride), 0, 6)
    y = layers.conv(y, params["project"])
    return x + y if stride == 1 and x.shape == y.shape else y
