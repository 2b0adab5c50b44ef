"""Layers of the networks: 3×3 convolution, GroupNorm with SiLU, embeddings.

Parameters and the statistics of the norm are float32; the compute type is that of the input.
"""

import math

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
        return conv3x3(x, kernel.astype(x.dtype), self.stride) + bias.astype(x.dtype).reshape(1, 1, 1, -1)


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


def conv3x3(x: Array, kernel: Array, stride: int = 1) -> Array:
    """[B, H, W, C] and [3, 3, C, K] -> [B, H/stride, W/stride, K], zero padding 1 on every side."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def group_norm(x: Array, scale: Array, bias: Array, groups: int, silu: bool) -> Array:
    """Normalise [B, H, W, C] over H, W and the channels of each group; statistics in float32."""
    grouped = x.astype(jnp.float32).reshape(*x.shape[:3], groups, -1)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    var = jnp.square(grouped - mean).mean((1, 2, 4), keepdims=True)
    y = ((grouped - mean) * jax.lax.rsqrt(var + EPS)).reshape(x.shape)
    y = y * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)
    return (nn.silu(y) if silu else y).astype(x.dtype)


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Every pixel becomes a square of 2×2 (nearest)."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
