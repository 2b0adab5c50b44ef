"""The denoising UNet: block for block diffusers' `UNet2DModel`, so that weights go to PyTorch and back.

    emb = MLP(sinusoids(t)) + table[label] + MLP([condition where given, given])
    ResBlock(x) = shortcut(x) + conv(SiLU(norm(conv(SiLU(norm(x))) + dense(SiLU(emb)))))

Modules bear diffusers' names with `_` for its `.` before a number (`bridge.py`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Num

from microgen_jax.networks.attention import Attention
from microgen_jax.networks.layers import Conv, Embedding, GroupNorm, Pointwise, sinusoids, zeros
from microgen_jax.types import Params


class ResBlock(nn.Module):
    """Two convolutions, each after GroupNorm and SiLU, the embedding added between them; a shortcut."""

    features: int
    norm_groups: int
    dropout: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], emb: Float[Array, "B E"], train: bool
    ) -> Float[Array, "B H W features"]:
        """Return the block's output.

        Args:
          x: images or feature maps.
          emb: embedding of time, class and conditions.
          train: whether dropout acts.
        """
        h = GroupNorm(self.norm_groups, silu=True, name="norm1")(x)
        h = Conv(self.features, name="conv1")(h)
        h += nn.Dense(self.features, dtype=x.dtype, name="time_emb_proj")(nn.silu(emb))[:, None, None, :]
        h = GroupNorm(self.norm_groups, silu=True, name="norm2")(h)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = Conv(self.features, kernel_init=zeros, name="conv2")(h)
        if x.shape[-1] != self.features:
            x = Pointwise(self.features, name="conv_shortcut")(x)
        return x + h


class DownBlock(nn.Module):
    """One level on the way down: blocks, each with attention on request, then a convolution of stride 2."""

    features: int
    blocks: int
    attention: bool
    head_dim: int
    norm_groups: int
    dropout: float
    downsample: bool

    @nn.compact
    def __call__(self, x: Array, emb: Array, train: bool) -> tuple[Array, list[Array]]:
        """Return the level's output and its skips.

        Args:
          x: images or feature maps.
          emb: embedding of time, class and conditions.
          train: whether dropout acts.
        """
        skips = []
        for i in range(self.blocks):
            x = ResBlock(self.features, self.norm_groups, self.dropout, name=f"resnets_{i}")(x, emb, train)
            if self.attention:
                x = Attention(self.head_dim, self.norm_groups, name=f"attentions_{i}")(x)
            skips.append(x)
        if self.downsample:
            x = Conv(self.features, stride=2, name="downsamplers_0_conv")(x)
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """Block, attention on request, block, at the lowest resolution."""

    features: int
    attention: bool
    head_dim: int
    norm_groups: int
    dropout: float

    @nn.compact
    def __call__(self, x: Array, emb: Array, train: bool) -> Array:
        """Return the block's output.

        Args:
          x: images or feature maps.
          emb: embedding of time, class and conditions.
          train: whether dropout acts.
        """
        x = ResBlock(self.features, self.norm_groups, self.dropout, name="resnets_0")(x, emb, train)
        if self.attention:
            x = Attention(self.head_dim, self.norm_groups, name="attentions_0")(x)
        return ResBlock(self.features, self.norm_groups, self.dropout, name="resnets_1")(x, emb, train)


class UpBlock(nn.Module):
    """One level on the way up: a block for every skip, last in first out, then ×2 and a convolution."""

    features: int
    attention: bool
    head_dim: int
    norm_groups: int
    dropout: float
    upsample: bool

    @nn.compact
    def __call__(self, x: Array, skips: list[Array], emb: Array, train: bool) -> Array:
        """Return the level's output.

        Args:
          x: images or feature maps.
          skips: feature maps of the same level on the way down.
          emb: embedding of time, class and conditions.
          train: whether dropout acts.
        """
        for i, skip in enumerate(reversed(skips)):
            x = jnp.concatenate([x, skip], axis=-1)
            x = ResBlock(self.features, self.norm_groups, self.dropout, name=f"resnets_{i}")(x, emb, train)
            if self.attention:
                x = Attention(self.head_dim, self.norm_groups, name=f"attentions_{i}")(x)
        if self.upsample:
            x = Conv(self.features, upsample=True, name="upsamplers_0_conv")(x)
        return x


class UNet(nn.Module):
    """A UNet that predicts eps, x0 or v from a noisy image, its time and its condition.

    Attributes:
      out_channels: channels of the image.
      channels: channels of each level; each level halves height and width.
      blocks_per_level: residual blocks of a level on the way down; one more on the way up.
      attention_levels: for each level, whether attention follows each block.
      mid_attention: whether there is attention in the middle.
      head_dim: channels per attention head.
      norm_groups: groups of every GroupNorm.
      dropout: dropout rate before the second convolution of a block, in training.
      dtype: type of the activations; parameters, norm statistics, softmax and the output are float32.
      remat: for each level, whether activations are recomputed in the backward pass; the middle goes with the last.
      num_classes: number of classes; 0 = labels are ignored. Label `num_classes` stands for "no class".
      num_conditions: number of continuous conditions; 0 = they are ignored.
      given_channels: channels beside the noisy ones, at their end, that the network is given and does not predict.
    """

    out_channels: int
    channels: tuple[int, ...]
    blocks_per_level: int = 2
    attention_levels: tuple[bool, ...] = ()
    mid_attention: bool = True
    head_dim: int = 64
    norm_groups: int = 32
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    remat: tuple[bool, ...] = ()
    num_classes: int = 0
    num_conditions: int = 0
    given_channels: int = 0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W I"],
        t: Num[Array, "B"],
        label: Int[Array, "B"],
        condition: Float[Array, "B K"],
        train: bool = False,
    ) -> Float[Array, "B H W C"]:
        """Return the network's output for noisy images, float32.

        Args:
          x: noisy images and the given channels, float32; I = C + given_channels.
          t: time of each image, int32 or float32.
          label: class of each image, int32.
          condition: continuous conditions, float32; NaN = not given.
          train: whether dropout acts.
        """
        emb = self._embed(t, label, condition)
        shared = {"head_dim": self.head_dim, "norm_groups": self.norm_groups, "dropout": self.dropout}
        last = len(self.channels) - 1

        x = Conv(self.channels[0], name="conv_in")(x.astype(self.dtype))
        skips = [x]
        for i, features in enumerate(self.channels):
            block = _remat(DownBlock, self.remat[i], train_at=3)(
                features,
                self.blocks_per_level,
                self.attention_levels[i],
                downsample=i < last,
                name=f"down_blocks_{i}",
                **shared,
            )
            x, new = block(x, emb, train)
            skips += new

        mid = _remat(MidBlock, self.remat[last], train_at=3)
        x = mid(self.channels[-1], self.mid_attention, name="mid_block", **shared)(x, emb, train)

        for i in reversed(range(len(self.channels))):
            taken, skips = skips[-self.blocks_per_level - 1 :], skips[: -self.blocks_per_level - 1]
            block = _remat(UpBlock, self.remat[i], train_at=4)(
                self.channels[i],
                self.attention_levels[i],
                upsample=i > 0,
                name=f"up_blocks_{last - i}",
                **shared,
            )
            x = block(x, taken, emb, train)

        x = GroupNorm(self.norm_groups, silu=True, name="conv_norm_out")(x)
        return Conv(self.out_channels, kernel_init=zeros, name="conv_out")(x.astype(jnp.float32))

    def _embed(self, t: Array, label: Array, condition: Array) -> Array:
        """Return the embedding [B, 4 * channels[0]], in the compute type."""
        features = 4 * self.channels[0]
        emb = Embedding(features, name="time_embedding")(sinusoids(t, self.channels[0]).astype(self.dtype))
        if self.num_classes:
            emb += nn.Embed(self.num_classes + 1, features, dtype=self.dtype, name="class_embedding")(label)
        if self.num_conditions:
            given = ~jnp.isnan(condition)
            known = jnp.concatenate([jnp.where(given, condition, 0.0), given.astype(jnp.float32)], axis=-1)
            emb += Embedding(features, name="condition_embedding")(known.astype(self.dtype))
        return emb


def _remat(block: type[nn.Module], on: bool, train_at: int) -> type[nn.Module]:
    return nn.remat(block, static_argnums=(train_at,)) if on else block


def in_compute_type(params: Params, dtype: DTypeLike) -> Params:
    """Return the parameters as the layers take them, so that many calls convert them once; the output keeps its bits.

    Norms and the last convolution take theirs in float32.

    Args:
      params: float32 parameters of `UNet`.
      dtype: type of the activations.
    """

    def convert(path: jax.tree_util.KeyPath, x: Array) -> Array:
        layer = path[-2].key
        return x if layer == "conv_out" or "norm" in layer else x.astype(dtype)

    return jax.tree_util.tree_map_with_path(convert, params)
