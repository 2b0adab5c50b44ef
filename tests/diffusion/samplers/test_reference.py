"""Whole trajectories against diffusers' schedulers; fixtures/make_sampler_reference.py made the references."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.samplers import make_sampler
from microgen_jax.diffusion.samplers.generate import make_predict
from microgen_jax.diffusion.samplers.scan import Chain, run_scan
from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.spacing import make_levels
from tests.diffusion.gaussians import NO_CONDITION, mixture_denoiser

REFERENCE = Path(__file__).parents[2] / "fixtures" / "sampler_reference.npz"
SAMPLERS = (
    "ancestral",
    "ancestral_large",
    "ddim_0",
    "ddim_0.5",
    "ddim_1",
    "dpmpp2m",
    "dpmpp2m_sde",
    "unipc",
    "euler",
    "heun",
)


def trajectory(name, schedule_name, prediction, steps, noise, mixture):
    """States after every step, float32 [steps, 3]."""
    sampler, eta = ("ddim", float(name[5:])) if name.startswith("ddim") else (name, 0.0)
    schedule = make_schedule(schedule_name)
    spacing = "leading" if name == "ancestral_large" else make_sampler(sampler, eta).spacing
    levels = make_levels(schedule, steps, spacing)
    denoise = mixture_denoiser(schedule, prediction, *mixture)
    predict = make_predict(denoise, NO_CONDITION, prediction, None)
    noise = jnp.asarray(noise).reshape(-1, 1, 1, 3, 1)
    run = jax.jit(
        lambda: run_scan(Chain(make_sampler(sampler, eta), predict, levels, lambda k: noise[k]), steps + 1)[1]
    )
    return np.asarray(run()).reshape(steps + 1, 3)[1:]


def deviation(name, schedule, prediction, steps):
    """Largest difference over the whole trajectory, of max |x|."""
    with np.load(REFERENCE, allow_pickle=False) as reference:
        noise, states = reference["noise"], reference[f"{name}/{schedule}/{prediction}/{steps}"]
        mixture = [reference[part][:, None] for part in ("means", "stds", "shares")]  # [W, C, part]
    ours = trajectory(name, schedule, prediction, steps, noise, mixture)
    return np.abs(ours - states).max() / np.abs(states).max()


@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_trajectories_are_those_of_diffusers(name, schedule, steps):
    for prediction in ("eps", "x0", "v"):
        assert deviation(name, schedule, prediction, steps) < 1e-4, prediction
