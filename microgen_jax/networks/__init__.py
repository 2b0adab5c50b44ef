"""Networks: the denoising UNet, the Wasserstein GAN, and their way to and from diffusers.

flax.linen is used in this package only; `build` makes a network of a configuration.
"""

from microgen_jax.networks import wgan
from microgen_jax.networks.architecture import from_unet2d, to_unet2d
from microgen_jax.networks.bridge import from_diffusers, to_diffusers
from microgen_jax.networks.build import build, build_wgan, check_size
from microgen_jax.networks.parts import Row, summary
from microgen_jax.networks.unet import UNet, in_compute_type

__all__ = [
    "Row",
    "UNet",
    "build",
    "build_wgan",
    "check_size",
    "from_diffusers",
    "from_unet2d",
    "in_compute_type",
    "summary",
    "to_diffusers",
    "to_unet2d",
    "wgan",
]
