"""From the `model` and `wgan` parts of a configuration to networks; every mistake is refused before a compile."""

import jax.numpy as jnp

from microgen_jax.config.schema import Config, ModelConfig
from microgen_jax.errors import UserError
from microgen_jax.networks.unet import UNet
from microgen_jax.networks.wgan import Critic, WGANGenerator, check_shape

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(
    model: ModelConfig, *, channels: int, num_classes: int, num_conditions: int, given_channels: int = 0
) -> UNet:
    """Return the UNet that `config.model` describes.

    Args:
      model: the configuration's `model` part; `attention_levels=()` is attention at the lowest level only, and
        `remat=()` recomputes nothing.
      channels: number of channels of the images.
      num_classes: number of classes; 0 = no class embedding.
      num_conditions: number of continuous conditions; 0 = none.
      given_channels: number of channels that the network is given beside the images; 0 = none.

    Raises:
      UserError: values that do not go together; `where` is a field of `model`.
    """
    levels = len(model.channels)
    attention_levels = model.attention_levels or (False,) * (levels - 1) + (True,)
    remat = model.remat or (False,) * levels
    _check(model, attention_levels, remat)
    return UNet(
        out_channels=channels,
        channels=model.channels,
        blocks_per_level=model.blocks_per_level,
        attention_levels=attention_levels,
        mid_attention=model.mid_attention,
        head_dim=model.head_dim,
        norm_groups=model.norm_groups,
        dropout=model.dropout,
        dtype=DTYPES[model.dtype],
        remat=remat,
        num_classes=num_classes,
        num_conditions=num_conditions,
        given_channels=given_channels,
    )


def build_wgan(
    config: Config, *, size: tuple[int, int], channels: int, num_classes: int
) -> tuple[WGANGenerator, Critic]:
    """Return the generator and the critic that `config.wgan` and `config.model.dtype` describe.

    Args:
      config: the whole configuration.
      size: height and width of the images in px.
      channels: number of channels of the images.
      num_classes: number of classes; 0 = neither network is given a class.

    Raises:
      UserError: images that the networks cannot be built for.
    """
    check_shape(tuple(size), channels)
    width, dtype = config.wgan.width, DTYPES[config.model.dtype]
    return WGANGenerator(tuple(size), channels, width, num_classes, dtype), Critic(width, num_classes, dtype)


def check_size(size: tuple[int, int], levels: int) -> None:
    """Refuse a size that cannot be halved at every level but the last.

    Args:
      size: height and width of the images in px.
      levels: number of levels of the UNet.

    Raises:
      UserError: a side is no multiple of 2^(levels - 1); the fix names the nearest sizes that are.
    """
    step = 2 ** (levels - 1)
    if all(side > 0 and side % step == 0 for side in size):
        return
    below = tuple(max(side // step, 1) * step for side in size)
    above = tuple(max(-(-side // step), 1) * step for side in size)
    works = " or ".join(f"({h},{w})" for h, w in dict.fromkeys((below, above)))
    raise UserError(
        "size",
        f"({size[0]},{size[1]}) must be divisible by {step} for the {levels} levels of model.channels",
        f"take {works}",
    )


def _check(model: ModelConfig, attention_levels: tuple[bool, ...], remat: tuple[bool, ...]) -> None:
    levels = len(model.channels)
    if levels == 0:
        raise UserError("channels", "is empty", "give the channels of each level, such as (64,128,256)")
    for name, given in (("attention_levels", attention_levels), ("remat", remat)):
        if len(given) != levels:
            raise UserError(
                name, f"has {len(given)} entries for {levels} levels of channels", "give one for each, or ()"
            )
    attends = zip((*model.channels, model.channels[-1]), (*attention_levels, model.mid_attention))
    attending = tuple(features for features, on in attends if on)
    for name, widths in (("norm_groups", model.channels), ("head_dim", attending)):
        divisor = getattr(model, name)
        for features in widths:
            if features % divisor:
                raise UserError("channels", f"{features} must be divisible by {name} (={divisor})")
    if model.channels[0] % 2:
        raise UserError(
            "channels", f"{model.channels[0]} of the first level must be even", "take an even number"
        )
