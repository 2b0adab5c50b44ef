"""A schedule as diffusers' scheduler configuration, there and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.diffusion.process import PREDICTIONS
from microgen_jax.diffusion.schedules import SCHEDULES
from microgen_jax.errors import UserError
from microgen_jax.export.diffusers_scheduler import from_scheduler, sampling_from_scheduler, to_ddpm_scheduler

BETA = st.floats(1e-6, 0.5)
DIFFUSION = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(sorted(SCHEDULES)),
        "timesteps": st.integers(2, 4000),
        "beta_start": BETA,
        "beta_end": BETA,
        "zero_terminal_snr": st.booleans(),
        "prediction": st.sampled_from(sorted(PREDICTIONS)),
    }
).filter(lambda fields: fields["beta_start"] < fields["beta_end"])


@settings(deadline=None, max_examples=40)
@given(DIFFUSION)
def test_there_and_back(fields):
    assert from_scheduler(to_ddpm_scheduler(**fields)) == fields


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"_class_name": "DDPMScheduler"}, {"sampler": "ancestral", "clip": True, "spacing": "leading"}),
        (
            {"_class_name": "DDPMScheduler", "variance_type": "fixed_large", "timestep_spacing": "linspace"},
            {"sampler": "ancestral_large", "clip": True, "spacing": "linspace"},
        ),
        (
            {"_class_name": "DDIMScheduler", "clip_sample": False, "rescale_betas_zero_snr": True},
            {"sampler": "ddim", "clip": False},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "thresholding": True, "sample_max_value": 2.0},
            {"sampler": "dpmpp2m", "clip": True, "clip_percentile": 99.5},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "thresholding": True},
            {"sampler": "dpmpp2m", "clip": True},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"},
            {"sampler": "dpmpp2m_sde", "clip": False},
        ),
        ({"_class_name": "UniPCMultistepScheduler"}, {"sampler": "unipc", "clip": False}),
    ],
)
def test_a_scheduler_says_how_images_are_drawn(config, expected):
    assert sampling_from_scheduler(config) == expected


@settings(deadline=None, max_examples=20)
@given(DIFFUSION, st.booleans(), st.just(0.0) | st.floats(50.0, 99.9))
def test_clipping_there_and_back(fields, clip, percentile):
    fields |= {"zero_terminal_snr": False}  # which has a spacing of its own in diffusers
    config = to_ddpm_scheduler(**fields, clip=clip, clip_percentile=percentile)
    kept = {"clip_percentile": pytest.approx(percentile)} if clip and percentile else {}
    assert sampling_from_scheduler(config) == {
        "sampler": "ancestral",
        "spacing": "trailing",
        "clip": clip,
        **kept,
    }


@pytest.mark.parametrize(
    ("scheduler", "key", "value"),
    [
        ("DDPMScheduler", "variance_type", "fixed_large_log"),
        ("DDPMScheduler", "variance_type", "learned_range"),
        ("DDPMScheduler", "clip_sample_range", 2.0),
        ("DDPMScheduler", "steps_offset", 1),
        ("DDPMScheduler", "timestep_spacing", "log"),
        ("DDPMScheduler", "trained_betas", [0.1, 0.2]),
        ("DDIMScheduler", "set_alpha_to_one", False),
        ("DPMSolverMultistepScheduler", "use_karras_sigmas", True),
        ("DPMSolverMultistepScheduler", "solver_order", 3),
        ("DPMSolverMultistepScheduler", "algorithm_type", "dpmsolver"),
        ("DPMSolverMultistepScheduler", "lambda_min_clipped", -5.1),
        ("UniPCMultistepScheduler", "use_flow_sigmas", True),
        ("UniPCMultistepScheduler", "planted", 1),
    ],
)
def test_a_key_that_changes_sampling_is_refused_by_its_name(scheduler, key, value):
    with pytest.raises(UserError, match=key):
        from_scheduler({"_class_name": scheduler, key: value})


def test_what_changes_nothing_is_let_through():
    config = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.30", "skip_prk_steps": True}
    assert from_scheduler(config)["schedule"] == "linear"
