"""A schedule as diffusers' scheduler configuration, there and back."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.diffusion.process import PREDICTIONS
from microgen_jax.diffusion.schedules import SCHEDULES
from microgen_jax.diffusion.spacing import trailing
from microgen_jax.errors import UserError
from microgen_jax.export.diffusers_scheduler import (
    KEYS,
    KNOWN,
    from_scheduler,
    sampling_from_scheduler,
    to_ddpm_scheduler,
)

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
            {
                "_class_name": "DDIMScheduler",
                "clip_sample": False,
                "rescale_betas_zero_snr": True,
                "timestep_spacing": "linspace",
                "algorithm_type": "sde-dpmsolver++",  # left over from another scheduler
            },
            {"sampler": "ddim", "clip": False, "spacing": "linspace"},
        ),
        (
            {"_class_name": "DDPMScheduler", "variance_type": "fixed_small_log"},
            {"sampler": "ancestral", "clip": True, "spacing": "leading"},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "thresholding": True, "sample_max_value": 1e6},
            {"sampler": "dpmpp2m", "clip": True, "clip_percentile": 99.5, "spacing": "trailing"},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "thresholding": True},
            {"sampler": "dpmpp2m", "clip": True, "spacing": "trailing"},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"},
            {"sampler": "dpmpp2m_sde", "clip": False, "spacing": "trailing"},
        ),
        (
            {"_class_name": "UniPCMultistepScheduler", "timestep_spacing": "linspace", "clip_sample": True},
            {"sampler": "unipc", "clip": False, "spacing": "trailing"},
        ),
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
        ("DPMSolverMultistepScheduler", "timestep_spacing", "leading"),
        ("UniPCMultistepScheduler", "timestep_spacing", "leading"),
        ("UniPCMultistepScheduler", "shift_terminal", 0.1),
        *((scheduler, "planted", 1) for scheduler in KNOWN),
    ],
)
def test_a_key_that_changes_sampling_is_refused_by_its_name(scheduler, key, value):
    with pytest.raises(UserError, match=key):
        from_scheduler({"_class_name": scheduler, key: value})


@pytest.mark.parametrize(
    ("file", "key"), [("dpm_karras", "use_karras_sigmas"), ("fixed_large_log", "variance_type")]
)
def test_field_cases_are_refused_by_their_key(shared, file, key):
    with pytest.raises(UserError, match=key):
        from_scheduler(json.loads((shared / f"field/17_schedulers/{file}.json").read_text()))


def test_keys_that_change_sampling_together_are_refused_together():
    bound = {"_class_name": "DDPMScheduler", "thresholding": True, "sample_max_value": 1.5}
    with pytest.raises(UserError, match=r"sample_max_value=1\.5"):
        from_scheduler(bound)
    assert from_scheduler(bound | {"thresholding": False})["schedule"] == "linear"
    with pytest.raises(UserError, match="timestep_spacing='leading'"):
        from_scheduler({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True})


# The keys of each class and their defaults in diffusers 0.42.1, beside those that all four have.
SHARED = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}
CHAIN = SHARED | {"clip_sample": True, "clip_sample_range": 1.0, "timestep_spacing": "leading"}
SOLVER = SHARED | {
    "solver_order": 2,
    "lower_order_final": True,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "final_sigmas_type": "zero",
    "timestep_spacing": "linspace",
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
THEIR_DEFAULTS = {
    "DDPMScheduler": CHAIN | {"variance_type": "fixed_small"},
    "DDIMScheduler": CHAIN | {"set_alpha_to_one": True},
    "DPMSolverMultistepScheduler": SOLVER
    | {
        "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint",
        "euler_at_final": False,
        "use_lu_lambdas": False,
        "lambda_min_clipped": float("-inf"),
        "variance_type": None,
    },
    "UniPCMultistepScheduler": SOLVER
    | {
        "predict_x0": True,
        "solver_type": "bh2",
        "disable_corrector": [],
        "solver_p": None,
        "sigma_min": None,
        "sigma_max": None,
        "shift_terminal": None,
    },
}


@pytest.mark.parametrize("scheduler", THEIR_DEFAULTS)
def test_every_key_of_a_scheduler_is_in_the_table_and_its_default_is_taken(scheduler):
    defaults = THEIR_DEFAULTS[scheduler]
    assert defaults.keys() <= KEYS.keys()
    whole = {"_class_name": scheduler, "_diffusers_version": "0.42.1", **defaults}
    assert from_scheduler(whole) == from_scheduler({"_class_name": scheduler})
    assert sampling_from_scheduler(whole) == sampling_from_scheduler({"_class_name": scheduler})


@settings(deadline=None)
@given(st.integers(1, 4000), st.data())
def test_the_multistep_linspace_lies_within_one_time_of_trailing(timesteps, data):
    steps = data.draw(st.integers(1, timesteps))
    theirs = np.linspace(0, timesteps - 1, steps + 1).round()[::-1][:-1]
    assert np.abs(theirs - trailing(timesteps, steps)).max() <= 1


def test_what_changes_nothing_is_let_through():
    config = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.30", "skip_prk_steps": True}
    assert from_scheduler(config)["schedule"] == "linear"
