"""Layers of the networks that features come from, as functions of arrays [B, H, W, C].

Batch norms are folded into the convolution before them when the weights are read, so that a convolution is a kernel
[h, w, C, K] and a bias [K].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], tuple[int, int]]


class ConvWeights(NamedTuple):
    """A convolution's kernel [h, w, C, K] and bias [K]."""

    kernel: Array
    bias: Array


def conv(
    x: Float[Array, "B H W C"], layer: ConvWeights, stride: int = 1, padding: Padding = ((0, 0), (0, 0))
) -> Float[Array, "B h w K"]:
    """A convolution; a 1×1 one is a product of matrices."""
    if layer.kernel.shape[:2] == (1, 1) and stride == 1:
        x = jnp.einsum("bhwc,ck->bhwk", x, layer.kernel[0, 0])
    else:
        x = jax.lax.conv_general_dilated(
            x, layer.kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    return x + layer.bias.reshape(1, 1, 1, -1)


def depthwise(x: Float[Array, "B H W C"], layer: ConvWeights, stride: int) -> Float[Array, "B h w C"]:
    """Each channel with its own kernel, [h, w, 1, C], padded as `same` says.

    Shifted, multiplied and added: XLA's CPU code has no fast form of it.
    """
    side = layer.kernel.shape[0]
    height, width = (-(-length // stride) for length in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), *same(x.shape[1:3], side, stride), (0, 0)))
    total = layer.bias.reshape(1, 1, 1, -1)
    for i in range(side):
        for j in range(side):
            part = x[:, i : i + stride * height : stride, j : j + stride * width : stride]
            total = total + part[:, :height, :width] * layer.kernel[i, j].reshape(1, 1, 1, -1)
    return total


def same(size: tuple[int, int], side: int, stride: int) -> Padding:
    """TensorFlow's padding SAME: the smallest, the odd pixel after."""
    total = [max((-(-length // stride) - 1) * stride + side - length, 0) for length in size]
    return tuple((n // 2, n - n // 2) for n in total)


def max_pool(x: Float[Array, "B H W C"], side: int, stride: int, padding: int = 0) -> Float[Array, "B h w C"]:
    """The largest value under a square window."""
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1), (1, stride, stride, 1), around)


def mean_of_neighbours(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """The mean over 3×3 pixels, of those inside the image."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inside = [np.convolve(np.ones(length), np.ones(3), "same") for length in x.shape[1:3]]
    return total / jnp.asarray(np.outer(*inside)[None, :, :, None], x.dtype)


def pixel_mean(x: Float[Array, "B H W C"]) -> Float[Array, "B C"]:
    """The mean over all pixels."""
    return x.mean(axis=(1, 2))


def bilinear(
    x: Float[Array, "B H W C"], size: tuple[int, int], *, half_pixel: bool = True
) -> Float[Array, "B h w C"]:
    """Bilinear resizing that looks at the four nearest pixels only, also when it shrinks.

    Args:
      x: images.
      size: new height and width in px.
      half_pixel: whether pixels are squares, whose middles are mapped (PyTorch, TensorFlow 2), or their corners
        are (TensorFlow 1).
    """
    rows, columns = (_interpolation(a, b, half_pixel) for a, b in zip(x.shape[1:3], size))
    return jnp.einsum("yh,bhwc,xw->byxc", rows, x, columns, precision="highest")


def _interpolation(length: int, wanted: int, half_pixel: bool) -> np.ndarray:
    """float32 [wanted, length]: how much each pixel adds to each new one."""
    shift = 0.5 if half_pixel else 0.0
    place = np.clip((np.arange(wanted) + shift) * length / wanted - shift, 0, length - 1)
    low = np.minimum(np.floor(place).astype(int), max(length - 2, 0))
    matrix = np.zeros((wanted, length), np.float32)
    row = np.arange(wanted)
    matrix[row, low] += 1 - (place - low)
    matrix[row, np.minimum(low + 1, length - 1)] += place - low
    return matrix


def folded(state: dict[str, np.ndarray], conv: str, norm: str, eps: float) -> ConvWeights:
    """A convolution without bias and the batch norm after it, by their names in a PyTorch state dict, as one."""
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + eps)
    kernel = state[f"{conv}.weight"].transpose(2, 3, 1, 0) * scale
    return ConvWeights(
        kernel.astype(np.float32),
        (state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale).astype(np.float32),
    )


def fits(image: tuple[int, int], least: int) -> tuple[int, int]:
    """A size of at least `least` px a side that keeps the aspect ratio and is a multiple of the image's."""
    times = max(1, math.ceil(least / min(image)))
    return image[0] * times, image[1] * times
