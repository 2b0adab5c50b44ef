"""Generator and critic of the Wasserstein GAN: plain convolutions, no batch norm, any power of two from 32 to 256 px.

Both have one level for each doubling between the image and a grid whose shorter side is 4 px. The critic's levels
have width, 2 width, 4 width, 8 width, 8 width, ... channels, the generator's the same in reverse. At 64 px and width
64:

    generator  latent 100 -> 4×4×512 -> 8×8×256 -> 16×16×128 -> 32×32×64 -> 64×64×C
    critic     64×64×C -> 32×32×64 -> 16×16×128 -> 8×8×256 -> 4×4×512 -> 1

Kernels start from a normal distribution of standard deviation 0.02 (Radford et al. 2016, section 4).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from microgen_jax.errors import UserError
from microgen_jax.networks import cpu_kernels
from microgen_jax.networks.layers import Conv
from microgen_jax.networks.parts import Row, costs

SMALLEST = 4  # px, the shorter side of the coarsest grid
SIDES = (32, 64, 128, 256)
WIDEST = 8  # times `width`
SLOPE = 0.2  # of leaky ReLU below 0

normal = nn.initializers.normal(0.02)


class WGANGenerator(nn.Module):
    """From latent vectors to images.

    Attributes:
      size: height and width in px.
      out_channels: channels of the images.
      width: channels of the finest level.
      num_classes: 0 = no class embedding.
      dtype: type of the activations; parameters and tanh are float32.
    """

    size: tuple[int, int]
    out_channels: int
    width: int = 64
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, "B L"], label: Int[Array, "B"]) -> Float[Array, "B H W C"]:
        """Return images in [-1, 1], float32.

        Args:
          z: latent vectors.
          label: class numbers; one that is no class embeds as zero.
        """
        *widths, widest = level_channels(self.size, self.width)
        height, width = coarsest(self.size)
        x = z.astype(self.dtype)
        if self.num_classes:
            x = jnp.concatenate([x, self._embedded(label, x.shape[-1])], axis=-1)
        x = nn.Dense(height * width * widest, dtype=self.dtype, kernel_init=normal, name="dense")(x)
        x = nn.leaky_relu(x, SLOPE).reshape(-1, height, width, widest)
        for i, features in enumerate(reversed(widths)):
            x = nn.leaky_relu(Conv(features, upsample=True, kernel_init=normal, name=f"up_{i}")(x), SLOPE)
        x = Conv(self.out_channels, upsample=True, kernel_init=normal, name="out")(x)
        return jnp.tanh(x.astype(jnp.float32))

    def _embedded(self, label: Array, features: int) -> Array:
        table = nn.Dense(
            features, use_bias=False, dtype=self.dtype, kernel_init=normal, name="class_embedding"
        )
        return table(jax.nn.one_hot(label, self.num_classes, dtype=self.dtype))


class Halve(nn.Module):
    """4×4 convolution of stride 2 with zero padding 1 and a bias.

    On a CPU it is one matrix product over gathered pixels, whose derivatives of both orders are products again:
    4 to 5 times as fast as XLA's own form in a penalised critic (docs/wgan.md).
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        """Return the image of half the size.

        Args:
          x: images or feature maps.
        """
        kernel = self.param("kernel", normal, (4, 4, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        form = cpu_kernels.halve_by_product if cpu_kernels.on_cpu() else halve
        return form(x, kernel.astype(x.dtype)) + bias.astype(x.dtype).reshape(1, 1, 1, -1)


def halve(x: Array, kernel: Array) -> Array:
    """Return the 4×4 convolution of stride 2 with zero padding 1, [B, H/2, W/2, K].

    Args:
      x: [B, H, W, C].
      kernel: [4, 4, C, K].
    """
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Critic(nn.Module):
    """From images to scores without bound; with classes a projection critic (Miyato and Koyama 2018).

    Attributes:
      width: channels of the finest level.
      num_classes: 0 = no projection.
      dtype: type of the activations; parameters and the score are float32.
    """

    width: int = 64
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], label: Int[Array, "B"]) -> Float[Array, "B"]:
        """Return a score for each image, float32.

        Args:
          x: images or feature maps.
          label: class of each image.
        """
        widths = level_channels(x.shape[1:3], self.width)
        x = x.astype(self.dtype)
        for i, features in enumerate(widths):
            x = nn.leaky_relu(Halve(features, name=f"down_{i}")(x), SLOPE)
        x = x.astype(jnp.float32)
        score = nn.Dense(1, kernel_init=normal, name="score")(x.reshape(len(x), -1))[:, 0]
        if self.num_classes:
            table = nn.Dense(x.shape[-1], use_bias=False, kernel_init=normal, name="class_projection")
            score += jnp.sum(table(jax.nn.one_hot(label, self.num_classes)) * x.sum((1, 2)), axis=-1)
        return score


def level_channels(size: tuple[int, int], width: int) -> tuple[int, ...]:
    """Return the channels of each level, from the finest grid under the image to the coarsest.

    Args:
      size: height and width of the image in px.
      width: channels of the finest level.
    """
    doublings = (min(size) // SMALLEST).bit_length() - 1
    return tuple(width * min(2**i, WIDEST) for i in range(doublings))


def coarsest(size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the coarsest grid.

    Args:
      size: height and width of the image in px.
    """
    factor = min(size) // SMALLEST
    return size[0] // factor, size[1] // factor


def check_shape(size: tuple[int, int], channels: int) -> None:
    """Refuse images that the networks cannot be built for.

    Args:
      size: height and width of the images in px.
      channels: number of channels of the images.

    Raises:
      UserError: a side that is no power of two from 32 to 256, or channels that are neither 1 nor 3.
    """
    if any(side not in SIDES for side in size):
        near = ",".join(str(min(SIDES, key=lambda s: abs(s - side))) for side in size)
        raise UserError(
            "size",
            f"({size[0]},{size[1]}) must be powers of two from 32 to 256 for wgan_gp",
            f"take ({near})",
        )
    if channels not in (1, 3):
        raise UserError("channels", f"{channels} must be 1 or 3 for wgan_gp")


def summary(generator: WGANGenerator, critic: Critic, latent_dim: int) -> list[Row]:
    """Return the levels of both networks, as `parts.summary` has those of a UNet; operations of one image each.

    Args:
      generator: the generator.
      critic: the critic.
      latent_dim: length of a latent vector.
    """
    size, label = generator.size, jnp.zeros(1, jnp.int32)
    made = costs(generator, _part, jnp.zeros((1, latent_dim)), label)
    judged = costs(critic, _part, jnp.zeros((1, *size, generator.out_channels)), label)
    *narrow, widest = widths = level_channels(size, generator.width)
    at = [(size[0] >> i, size[1] >> i) for i in range(len(widths) + 1)]
    ups = {f"up_{i}": features for i, features in enumerate(reversed(narrow))} | {
        "out": generator.out_channels
    }
    rows = [Row("generator latent", at[-1], widest, 0, 0, *made["latent"])]
    for (name, features), where in zip(ups.items(), reversed(at[:-1])):
        rows.append(Row(f"generator {name}", where, features, 0, 0, *made[name]))
    for i, (features, where) in enumerate(zip(widths, at[1:])):
        rows.append(Row(f"critic down_{i}", where, features, 0, 0, *judged[f"down_{i}"]))
    return [*rows, Row("critic score", at[-1], 1, 0, 0, *judged["score"])]


def _part(module: str) -> str:
    return {"dense": "latent", "class_embedding": "latent", "class_projection": "score"}.get(module, module)
