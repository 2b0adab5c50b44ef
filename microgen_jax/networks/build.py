"""From `config.model` to a network, with every mistake told in one line before anything is compiled."""

from dataclasses import replace

import jax.numpy as jnp

from microgen_jax.config.schema import Config, ModelConfig
from microgen_jax.errors import UserError, require_known
from microgen_jax.networks.unet import UNet
from microgen_jax.networks.wgan import Critic, Generator, check_shape

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(model: ModelConfig, *, channels: int, num_classes: int, num_conditions: int) -> UNet:
    """The UNet that `config.model` describes.

    Args:
      model: the config's `model` part.
      channels: of the images.
      num_classes: 0 = no class embedding.
      num_conditions: continuous conditions; 0 = none.

    Raises:
      UserError: a value that cannot be, named with its mend.
    """
    levels = len(model.channels)
    model = replace(
        model,
        attention_levels=model.attention_levels or (False,) * (levels - 1) + (True,) * (levels > 0),
        remat=model.remat or (False,) * levels,
    )
    _check(model)
    return UNet(
        out_channels=channels,
        channels=tuple(model.channels),
        blocks_per_level=model.blocks_per_level,
        attention_levels=tuple(model.attention_levels),
        mid_attention=model.mid_attention,
        head_dim=model.head_dim,
        norm_groups=model.norm_groups,
        dropout=model.dropout,
        dtype=DTYPES[model.dtype],
        remat=tuple(model.remat),
        num_classes=num_classes,
        num_conditions=num_conditions,
    )


def build_wgan(
    config: Config, *, size: tuple[int, int], channels: int, num_classes: int
) -> tuple[Generator, Critic]:
    """The generator and the critic that `config.wgan` and `config.model.dtype` describe.

    Args:
      config: the whole of it.
      size: height and width in px.
      channels: of the images.
      num_classes: 0 = neither is told a class.

    Raises:
      UserError: a value that cannot be, named with its mend.
    """
    check_shape(tuple(size), channels)
    require_known("model.dtype", config.model.dtype, DTYPES)
    width, dtype = config.wgan.width, DTYPES[config.model.dtype]
    return Generator(tuple(size), channels, width, num_classes, dtype), Critic(width, num_classes, dtype)


def check_size(size: tuple[int, int], levels: int) -> None:
    """Every level but the last halves height and width, so both must be multiples of 2^(levels - 1).

    Raises:
      UserError: they are not; says the nearest size that works.
    """
    step = 2 ** (levels - 1)
    if all(side > 0 and side % step == 0 for side in size):
        return
    below = tuple(max(side // step, 1) * step for side in size)
    above = tuple(max(-(-side // step), 1) * step for side in size)
    works = " or ".join(f"({h},{w})" for h, w in dict.fromkeys((below, above)))
    raise UserError(
        f"data.size=({size[0]},{size[1]}) must be divisible by {step} "
        f"for the {levels} levels of model.channels: take {works}"
    )


def _check(model: ModelConfig) -> None:
    levels = len(model.channels)
    if levels == 0:
        raise UserError("model.channels is empty: give the channels of each level, such as (64,128,256)")
    for name in ("attention_levels", "remat"):
        if len(getattr(model, name)) != levels:
            raise UserError(
                f"model.{name} has {len(getattr(model, name))} entries and model.channels has {levels}: "
                f"give one for each level"
            )
    for name in ("blocks_per_level", "norm_groups", "head_dim"):
        if getattr(model, name) < 1:
            raise UserError(f"model.{name} (={getattr(model, name)}) must be at least 1")
    if not 0.0 <= model.dropout < 1.0:
        raise UserError(f"model.dropout (={model.dropout}) must be at least 0 and below 1")
    require_known("model.dtype", model.dtype, DTYPES)
    for features in model.channels:
        _check_divisible("model.channels", features, "model.norm_groups", model.norm_groups)
    if model.channels[0] % 2:
        raise UserError(f"model.channels[0] (={model.channels[0]}) must be even")
    attending = [c for c, on in zip(model.channels, model.attention_levels) if on]
    if model.mid_attention:
        attending.append(model.channels[-1])
    for features in attending:
        _check_divisible("model.channels", features, "model.head_dim", model.head_dim)


def _check_divisible(name: str, value: int, by_name: str, by: int) -> None:
    if value < 1 or value % by:
        raise UserError(f"{name} (={value}) must be divisible by {by_name} (={by})")
