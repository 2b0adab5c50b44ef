"""The networks; flax.linen lives in this room only. `build` is its one edge that sees the config."""

from microgen_jax.networks import wgan
from microgen_jax.networks.build import build, build_wgan, check_size
from microgen_jax.networks.cost import Row, summary
from microgen_jax.networks.unet import UNet

__all__ = ["Row", "UNet", "build", "build_wgan", "check_size", "summary", "wgan"]
