"""Layers of the networks: 3×3 convolution, GroupNorm with SiLU, embeddings.

Parameters and the statistics of the norm are float32; the compute type is that of the input.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

EPS = 1e-5  # of every norm, as in diffusers

lecun_normal = nn.initializers.lecun_normal()
zeros = nn.initializers.zeros_init()


class Conv(nn.Module):
    """3×3 convolution with zero padding 1 and a bias.

    Attributes:
      features: channels that come out.
      stride: 1, or 2 to halve height and width.
      kernel_init: float32 [3, 3, C, features].
    """

    features: int
    stride: int = 1
    kernel_init: nn.initializers.Initializer = lecun_normal

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", zeros, (self.features,), jnp.float32)
        kernel, bias = kernel.astype(x.dtype), bias.astype(x.dtype).reshape(1, 1, 1, -1)
        return (conv3x3(x, kernel) if self.stride == 1 else _conv(x, kernel, self.stride)) + bias


class GroupNorm(nn.Module):
    """GroupNorm over height, width and the channels of a group (Wu and He 2018), then SiLU on request."""

    groups: int
    silu: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],), jnp.float32)
        bias = self.param("bias", zeros, (x.shape[-1],), jnp.float32)
        return group_norm(x, scale, bias, self.groups, self.silu)


class Embedding(nn.Module):
    """Two dense layers with SiLU between them: of the time's sinusoids, and of the continuous conditions."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B C"]) -> Float[Array, "B features"]:
        x = nn.Dense(self.features, dtype=x.dtype, name="linear_1")(x)
        return nn.Dense(self.features, dtype=x.dtype, name="linear_2")(nn.silu(x))


def sinusoids(t: Num[Array, "B"], dim: int) -> Float[Array, "B dim"]:
    """Cosines, then sines, of t at dim/2 frequencies, 1 to 1/10000, float32 (Vaswani et al. 2017)."""
    half = dim // 2
    frequencies = jnp.exp(-math.log(10_000) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = t.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


@jax.custom_vjp
def conv3x3(x: Array, kernel: Array) -> Array:
    """[B, H, W, C] and [3, 3, C, K] -> [B, H, W, K], zero padding 1; the kernel's gradient has two forms."""
    return _conv(x, kernel)


def _conv3x3_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel), (x, kernel)


def _conv3x3_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    (dx,) = jax.linear_transpose(lambda x: _conv(x, kernel), x)(dy)
    if products_win(x.shape, kernel.shape):
        return dx, kernel_gradient_by_products(x, dy)
    (dkernel,) = jax.linear_transpose(lambda kernel: _conv(x, kernel), kernel)(dy)
    return dx, dkernel


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def _conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def products_win(x: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Where `kernel_gradient_by_products` was measured to be the faster form (docs/performance.md).

    On one CPU device only: over several the scan would bring every picture to each of them.
    """
    pixels, narrow, wide = x[1] * x[2], min(kernel[2:]), max(kernel[2:])
    alone = jax.default_backend() == "cpu" and jax.device_count() == 1
    return alone and narrow >= 64 and wide >= 96 and pixels >= 4096


def kernel_gradient_by_products(x: Array, dy: Array) -> Array:
    """Gradient of the 3×3 kernel, [3, 3, C, K], one matrix product for each picture.

    The three column shifts of x side by side (3C wide) times the three row shifts of dy side by side (3K wide)
    hold all nine products of shifted pictures; summed over the pictures in float32.
    """
    channels, features = x.shape[-1], dy.shape[-1]

    def add(total: Array, picture: tuple[Array, Array]) -> tuple[Array, None]:
        x, dy = picture
        x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
        columns = jnp.concatenate([x[:, j : j + dy.shape[1]] for j in range(3)], axis=-1)
        rows = jnp.concatenate([jnp.pad(dy, ((i, 2 - i), (0, 0), (0, 0))) for i in range(3)], axis=-1)
        product = jnp.einsum("hwk,hwc->kc", rows, columns, preferred_element_type=jnp.float32)
        return total + product, None

    total, _ = jax.lax.scan(add, jnp.zeros((3 * features, 3 * channels), jnp.float32), (x, dy))
    gradient = total.reshape(3, features, 3, channels).transpose(0, 2, 3, 1)
    return gradient.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(x: Array, scale: Array, bias: Array, groups: int, silu: bool) -> Array:
    """Normalise [B, H, W, C] over H, W and the channels of each group, in float32, in few passes over x.

    One pass takes sums and sums of squares of each channel, measured from the channel's first pixel so that a
    large mean cancels nothing; a second scales and shifts. The derivative takes two passes and keeps only x.
    """
    return _group_norm_forward(x, scale, bias, groups, silu)[0]


def _group_norm_forward(x: Array, scale: Array, bias: Array, groups: int, silu: bool) -> tuple[Array, tuple]:
    mean, rstd = _statistics(x, groups)
    z = _over_pixels(rstd * scale[None]) * (x.astype(jnp.float32) - _over_pixels(mean)) + bias.reshape(
        1, 1, 1, -1
    )
    return (z / (1.0 + jnp.exp(-z)) if silu else z).astype(x.dtype), (x, scale, bias, mean, rstd)


def _group_norm_backward(groups: int, silu: bool, saved: tuple, dy: Array) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, rstd = saved
    slope = _over_pixels(rstd * scale[None])
    centred = x.astype(jnp.float32) - _over_pixels(mean)
    dz = dy.astype(jnp.float32)
    if silu:
        z = slope * centred + bias.reshape(1, 1, 1, -1)
        gate = 1.0 / (1.0 + jnp.exp(-z))
        dz = dz * gate * (1.0 + z * (1.0 - gate))
    sum_dz, sum_dz_x = _sum_pixels(dz), _sum_pixels(dz * centred) * rstd  # [B, C]
    mean_dz = _group_mean(sum_dz * scale[None], groups) / math.prod(x.shape[1:3])
    mean_dz_x = _group_mean(sum_dz_x * scale[None], groups) / math.prod(x.shape[1:3])
    dx = slope * dz - _over_pixels(rstd * mean_dz) - _over_pixels(rstd**2 * mean_dz_x) * centred
    return dx.astype(x.dtype), sum_dz_x.sum(0), sum_dz.sum(0)


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


def _statistics(x: Array, groups: int) -> tuple[Array, Array]:
    """Mean and 1 / standard deviation of every channel's group, float32 [B, C]."""
    pixels = math.prod(x.shape[1:3])
    x = x.astype(jnp.float32)
    first = x[:, :1, :1, :]
    shifted = _sum_pixels(x - first) / pixels
    var = _sum_pixels(jnp.square(x - first)) / pixels - jnp.square(shifted)
    means = shifted + first[:, 0, 0]
    mean = _group_mean(means, groups)
    var = _group_mean(var + jnp.square(means - mean), groups)
    return mean, jax.lax.rsqrt(jnp.maximum(var, 0.0) + EPS)


def _sum_pixels(x: Array) -> Array:
    """[B, H, W, C] -> [B, C]; rows first, which XLA's CPU code does in half the time."""
    return x.sum(1).sum(1)


def _group_mean(x: Array, groups: int) -> Array:
    """[B, C] -> [B, C]: the mean over each group, for every channel of it."""
    grouped = x.reshape(x.shape[0], groups, x.shape[1] // groups)
    return jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape).reshape(x.shape)


def _over_pixels(x: Array) -> Array:
    """[B, C] -> [B, 1, 1, C]"""
    return x[:, None, None, :]


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Every pixel becomes a square of 2×2 (nearest)."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
