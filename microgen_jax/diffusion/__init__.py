"""Diffusion in pure jax.numpy: schedules, the process, losses, samplers and guidance."""

from microgen_jax.diffusion.guidance import autoguide, guide, hide_conditions
from microgen_jax.diffusion.losses import LossParts, diffusion_loss, require_loss
from microgen_jax.diffusion.process import from_logits
from microgen_jax.diffusion.samplers.scan import require_sampling, sample
from microgen_jax.diffusion.schedules import Schedule, make_schedule
from microgen_jax.diffusion.times import importance, update_square_losses
from microgen_jax.diffusion.vlb import Bound, variational_bound

__all__ = [
    "Bound",
    "LossParts",
    "Schedule",
    "autoguide",
    "diffusion_loss",
    "from_logits",
    "guide",
    "hide_conditions",
    "importance",
    "make_schedule",
    "require_loss",
    "require_sampling",
    "sample",
    "update_square_losses",
    "variational_bound",
]
