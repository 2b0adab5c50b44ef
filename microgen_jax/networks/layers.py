"""Layers of the networks: 3×3 convolution, GroupNorm with SiLU, embeddings.

Parameters and the statistics of the norm are float32; the compute type is that of the input.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from microgen_jax.networks import cpu_kernels
from microgen_jax.networks.cpu_kernels import Padding

EPS = 1e-5  # of every norm, as in diffusers
AROUND: Padding = ((1, 1), (1, 1))
NONE: Padding = ((0, 0), (0, 0))

lecun_normal = nn.initializers.lecun_normal()
zeros = nn.initializers.zeros_init()


class Conv(nn.Module):
    """3×3 convolution with zero padding 1 and a bias.

    Attributes:
      features: channels that come out.
      stride: 1, or 2 to halve height and width.
      upsample: double height and width first (nearest).
      kernel_init: float32 [3, 3, C, features].
    """

    features: int
    stride: int = 1
    upsample: bool = False
    kernel_init: nn.initializers.Initializer = lecun_normal

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        """Return the convolution of an image.

        Args:
          x: images or feature maps.
        """
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", zeros, (self.features,), jnp.float32)
        kernel, bias = kernel.astype(x.dtype), bias.astype(x.dtype).reshape(1, 1, 1, -1)
        if self.stride > 1:
            return _conv(x, kernel, stride=self.stride) + bias
        if self.upsample and cpu_kernels.on_single_cpu():
            return cpu_kernels.conv_of_upsampled(x, kernel, conv) + bias
        return conv(upsample(x) if self.upsample else x, kernel) + bias


class Pointwise(nn.Module):
    """1×1 convolution with a bias: a dense layer of every pixel.

    Attributes:
      features: channels that come out.
      kernel_init: float32 [C, features].
    """

    features: int
    kernel_init: nn.initializers.Initializer = lecun_normal

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W features"]:
        """Return the dense layer of every pixel.

        Args:
          x: images or feature maps.
        """
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", zeros, (self.features,), jnp.float32)
        return conv(x, kernel.astype(x.dtype)[None, None], NONE) + bias.astype(x.dtype).reshape(1, 1, 1, -1)


class GroupNorm(nn.Module):
    """GroupNorm over height, width and the channels of a group (Wu and He 2018), then SiLU on request.

    Attributes:
      groups: number of groups; divides the channels.
      silu: whether SiLU follows.
    """

    groups: int
    silu: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Return the normalised image.

        Args:
          x: images or feature maps.
        """
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],), jnp.float32)
        bias = self.param("bias", zeros, (x.shape[-1],), jnp.float32)
        return group_norm(x, scale, bias, self.groups, self.silu)


class Embedding(nn.Module):
    """Two dense layers with SiLU between them: of the time's sinusoids, and of the continuous conditions.

    Attributes:
      features: channels that come out.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B C"]) -> Float[Array, "B features"]:
        """Return the embedding.

        Args:
          x: images or feature maps.
        """
        x = nn.Dense(self.features, dtype=x.dtype, name="linear_1")(x)
        return nn.Dense(self.features, dtype=x.dtype, name="linear_2")(nn.silu(x))


def sinusoids(t: Num[Array, "B"], dim: int) -> Float[Array, "B dim"]:
    """Return cosines, then sines, of t at dim/2 frequencies, 1 to 1/10000, float32 (Vaswani et al. 2017).

    Args:
      t: time of each image.
      dim: number of channels, even.
    """
    half = dim // 2
    frequencies = jnp.exp(-math.log(10_000) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = t.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, padding: Padding = AROUND) -> Array:
    """Return the convolution of stride 1, [B, h, w, K]; the kernel's gradient has two forms (`cpu_kernels`).

    Args:
      x: [B, H, W, C].
      kernel: [n, m, C, K].
      padding: zeros above and below, left and right.
    """
    return _conv(x, kernel, padding)


def _conv_forward(x: Array, kernel: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, padding), (x, kernel)


def _conv_backward(padding: Padding, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    (dx,) = jax.linear_transpose(lambda x: _conv(x, kernel, padding), x)(dy)
    if cpu_kernels.products_win(kernel.shape):
        return dx, cpu_kernels.kernel_gradient_by_products(x, dy, kernel.shape[:2], padding)
    (dkernel,) = jax.linear_transpose(lambda kernel: _conv(x, kernel, padding), kernel)(dy)
    return dx, dkernel


conv.defvjp(_conv_forward, _conv_backward)


def _conv(x: Array, kernel: Array, padding: Padding = AROUND, stride: int = 1) -> Array:
    if kernel.shape[:2] == (1, 1):
        return jnp.dot(x, kernel[0, 0])
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(x: Array, scale: Array, bias: Array, groups: int, silu: bool) -> Array:
    """Normalise [B, H, W, C] over H, W and the channels of each group, in float32, in few passes over x.

    One pass takes sums and sums of squares of each channel, measured from the channel's first pixel so that a
    large mean cancels nothing; a second scales and shifts. The derivative takes two passes and keeps only x.

    Args:
      x: [B, H, W, C].
      scale: float32 [C].
      bias: float32 [C].
      groups: number of groups; divides C.
      silu: whether SiLU follows.
    """
    return _group_norm_forward(x, scale, bias, groups, silu)[0]


def _group_norm_forward(x: Array, scale: Array, bias: Array, groups: int, silu: bool) -> tuple[Array, tuple]:
    mean, rstd = (_spread(g, x.shape[-1]) for g in _statistics(x, groups))
    z = _over_pixels(rstd * scale[None]) * (x.astype(jnp.float32) - _over_pixels(mean)) + bias.reshape(
        1, 1, 1, -1
    )
    if silu:  # by tanh, since XLA would store an exponential that the derivative takes too
        z = 0.5 * z * (1.0 + jnp.tanh(0.5 * z))
    return z.astype(x.dtype), (x, scale, bias, mean, rstd)


def _group_norm_backward(groups: int, silu: bool, saved: tuple, dy: Array) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, rstd = saved
    channels, pixels = x.shape[-1], math.prod(x.shape[1:3])
    slope = _over_pixels(rstd * scale[None])
    centred = x.astype(jnp.float32) - _over_pixels(mean)
    dz = dy.astype(jnp.float32)
    if silu:
        z = slope * centred + bias.reshape(1, 1, 1, -1)
        gate = 1.0 / (1.0 + jnp.exp(-z))
        dz = dz * gate * (1.0 + z * (1.0 - gate))
    sum_dz, sum_dz_x = _sum_pixels(dz), _sum_pixels(dz * centred) * rstd  # [B, C]
    constant = _spread(_group_mean(rstd * sum_dz * scale[None], groups) / pixels, channels)
    linear = _spread(_group_mean(rstd**2 * sum_dz_x * scale[None], groups) / pixels, channels)
    dx = slope * dz - _over_pixels(constant) - _over_pixels(linear) * centred
    return dx.astype(x.dtype), sum_dz_x.sum(0), sum_dz.sum(0)


group_norm.defvjp(_group_norm_forward, _group_norm_backward)


def _statistics(x: Array, groups: int) -> tuple[Array, Array]:
    """Return mean and 1 / standard deviation of every group, float32 [B, groups]."""
    pixels = math.prod(x.shape[1:3])
    x = x.astype(jnp.float32)
    first = x[:, :1, :1, :]
    shifted = _sum_pixels(x - first) / pixels
    var = _sum_pixels(jnp.square(x - first)) / pixels - jnp.square(shifted)
    means = shifted + first[:, 0, 0]
    mean = _group_mean(means, groups)
    var = _group_mean(var + jnp.square(means - _spread(mean, x.shape[-1])), groups)
    return mean, jax.lax.rsqrt(jnp.maximum(var, 0.0) + EPS)


def _sum_pixels(x: Array) -> Array:
    """Sum [B, H, W, C] to [B, C]; rows first, which XLA's CPU code does in half the time."""
    return x.sum(1).sum(1)


def _group_mean(x: Array, groups: int) -> Array:
    """Average [B, C] to [B, groups]."""
    return x.reshape(x.shape[0], groups, -1).mean(-1)


def _spread(x: Array, channels: int) -> Array:
    """Repeat [B, groups] to [B, C]: a group's number for every channel of it, to the bit.

    As a product, because XLA would put a broadcast into the loop over pixels, where it divides every index.
    """
    members = np.repeat(np.eye(x.shape[1], dtype=np.float32), channels // x.shape[1], axis=1)
    return jnp.dot(x, members, precision=jax.lax.Precision.HIGHEST)


def _over_pixels(x: Array) -> Array:
    """Reshape [B, C] to [B, 1, 1, C]."""
    return x[:, None, None, :]


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Return the image of twice the size: every pixel becomes a square of 2×2.

    Args:
      x: the image.
    """
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
