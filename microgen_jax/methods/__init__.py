"""Methods that can be trained: each is a few pure functions over a `TrainState`."""

from microgen_jax.methods.build import build, check, sampling_fields, schedule_warning
from microgen_jax.methods.cascade import Cascade
from microgen_jax.methods.ddpm import DDPM
from microgen_jax.methods.wgan_gp import WGANGP

__all__ = ["DDPM", "WGANGP", "Cascade", "build", "check", "sampling_fields", "schedule_warning"]
