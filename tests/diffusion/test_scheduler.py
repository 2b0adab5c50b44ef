"""A schedule as diffusers' scheduler configuration, there and back."""

import pytest

from microgen_jax.diffusion import from_scheduler, to_ddpm_scheduler
from microgen_jax.diffusion.process import PREDICTIONS
from microgen_jax.diffusion.schedules import SCHEDULES


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_there_and_back(schedule, prediction):
    fields = {
        "schedule": schedule,
        "timesteps": 123,
        "beta_start": 2e-4,
        "beta_end": 0.03,
        "zero_terminal_snr": prediction == "v",
        "prediction": prediction,
    }
    assert from_scheduler(to_ddpm_scheduler(**fields)) == fields
