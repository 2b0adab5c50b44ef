"""The networks; flax.linen lives in this room only. `build` is its one edge that sees the config."""

from microgen_jax.networks.build import build, check_size
from microgen_jax.networks.cost import Row, summary
from microgen_jax.networks.unet import UNet

__all__ = ["Row", "UNet", "build", "check_size", "summary"]
