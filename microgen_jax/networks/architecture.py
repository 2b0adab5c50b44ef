"""The shape of a network as the `config.json` of diffusers' `UNet2DModel`, and back.

channels             block_out_channels          attention_levels   Attn- or plain blocks, down and up
blocks_per_level     layers_per_block            mid_attention      add_attention
head_dim             attention_head_dim          norm_groups        norm_num_groups
num_classes          num_class_embeds - 1, since the last row stands for "no class"
"""

from collections.abc import Mapping
from typing import Any

from microgen_jax.errors import UserError
from microgen_jax.networks.unet import UNet

FILE = "unet/config.json"
DOWN = {"DownBlock2D": False, "AttnDownBlock2D": True}
UP = {"UpBlock2D": False, "AttnUpBlock2D": True}
# What diffusers can vary and `UNet` cannot: the value that `UNet` has, which is diffusers' default as well.
FIXED = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "num_train_timesteps": None,
}
DEFAULTS = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "dropout": 0.0,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "add_attention": True,
    "num_class_embeds": None,
}


def to_unet2d(unet: UNet, size: tuple[int, int]) -> dict[str, Any]:
    """Return `unet/config.json` of a network.

    Args:
      unet: the network.
      size: height and width of its images in px.

    Raises:
      UserError: it has continuous conditions, which `UNet2DModel` cannot take.
    """
    if unet.num_conditions:
        raise UserError(
            "export.format",
            f"diffusers' UNet2DModel takes a class and no continuous conditions, and this model has "
            f"{unet.num_conditions}",
            "use export.format=stablehlo",
        )
    return {
        "_class_name": "UNet2DModel",
        **FIXED,
        "sample_size": size[0] if size[0] == size[1] else list(size),
        "in_channels": unet.out_channels,
        "out_channels": unet.out_channels,
        "down_block_types": [_name(DOWN, on) for on in unet.attention_levels],
        "up_block_types": [_name(UP, on) for on in reversed(unet.attention_levels)],
        "block_out_channels": list(unet.channels),
        "layers_per_block": unet.blocks_per_level,
        "dropout": unet.dropout,
        "attention_head_dim": unet.head_dim,
        "norm_num_groups": unet.norm_groups,
        "add_attention": unet.mid_attention,
        "num_class_embeds": unet.num_classes + 1 if unet.num_classes else None,
    }


def from_unet2d(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `config.model`, and `size`, `image_channels` and `class_rows`, from `unet/config.json`.

    Args:
      config: the parsed file.

    Raises:
      UserError: another architecture; names the part that is not supported.
    """
    if (found := config.get("_class_name", "UNet2DModel")) != "UNet2DModel":
        raise _unsupported("_class_name", found, "UNet2DModel")
    known = {**DEFAULTS, **FIXED}
    for name, value in config.items():
        if name in FIXED and value != FIXED[name]:
            raise _unsupported(name, value, FIXED[name])
        if name not in known and not name.startswith("_"):
            raise UserError(FILE, f"{name}={value!r} is not known to this version")
    given = {**DEFAULTS, **config}
    for name, blocks in (("down_block_types", DOWN), ("up_block_types", UP)):
        for block in given[name]:
            if block not in blocks:
                raise _unsupported(name, block, " or ".join(blocks))
    attention = [DOWN[block] for block in given["down_block_types"]]
    if [UP[block] for block in reversed(given["up_block_types"])] != attention:
        raise _unsupported("up_block_types", given["up_block_types"], "those of the way down, mirrored")
    if given["in_channels"] != given["out_channels"]:
        raise _unsupported("in_channels", given["in_channels"], f"out_channels ({given['out_channels']})")
    if len(attention) != len(given["block_out_channels"]):
        raise UserError(FILE, "block_out_channels and down_block_types differ in length")
    for name in ("sample_size", "attention_head_dim"):
        if not given[name]:
            raise _unsupported(name, given[name], "a number")
    size = given["sample_size"]
    return {
        "channels": tuple(given["block_out_channels"]),
        "blocks_per_level": given["layers_per_block"],
        "attention_levels": tuple(attention),
        "mid_attention": given["add_attention"],
        "head_dim": given["attention_head_dim"],
        "norm_groups": given["norm_num_groups"],
        "dropout": float(given["dropout"]),
        "remat": (False,) * len(attention),
        "size": (size, size) if isinstance(size, int) else tuple(size),
        "image_channels": given["out_channels"],
        "class_rows": given["num_class_embeds"] or 0,
    }


def _name(blocks: Mapping[str, bool], attention: bool) -> str:
    return next(name for name, on in blocks.items() if on == attention)


def _unsupported(name: str, value: Any, supported: Any) -> UserError:
    return UserError(FILE, f"{name}={value!r} is not supported", f"this UNet has {supported!r}")
