"""Diffusion in pure jax.numpy: schedules, the process, losses, samplers and guidance.

Functions take a denoiser (a network as a plain function), a `Schedule` and arrays; nothing here knows how networks are
built, trained or stored.
"""

from microgen_jax.diffusion.guidance import autoguide, guide, hide_conditions, null_condition
from microgen_jax.diffusion.losses import LossParts, diffusion_loss, require_loss
from microgen_jax.diffusion.process import convert, diffuse, from_logits
from microgen_jax.diffusion.samplers import SAMPLERS, Sampler, make_sampler
from microgen_jax.diffusion.samplers.generate import make_chain, sample
from microgen_jax.diffusion.samplers.scan import Chain, SampleState, run_piece, run_scan, start_state
from microgen_jax.diffusion.samplers.settings import Sampling
from microgen_jax.diffusion.schedules import Schedule, make_schedule, still_visible
from microgen_jax.diffusion.times import importance, update_square_losses
from microgen_jax.diffusion.vlb import Bound, variational_bound

__all__ = [
    "SAMPLERS",
    "Bound",
    "Chain",
    "LossParts",
    "SampleState",
    "Sampler",
    "Sampling",
    "Schedule",
    "autoguide",
    "convert",
    "diffuse",
    "diffusion_loss",
    "from_logits",
    "guide",
    "hide_conditions",
    "importance",
    "make_chain",
    "make_sampler",
    "make_schedule",
    "null_condition",
    "require_loss",
    "run_piece",
    "run_scan",
    "sample",
    "start_state",
    "still_visible",
    "update_square_losses",
    "variational_bound",
]
