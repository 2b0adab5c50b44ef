"""What can be trained: each method is a few pure functions over a `TrainState`."""

from microgen_jax.methods.build import SAMPLING, build
from microgen_jax.methods.ddpm import DDPM

__all__ = ["DDPM", "SAMPLING", "build"]
