import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.process import convert
from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.vlb import log_mass, variational_bound
from tests.diffusion.gaussians import NO_CONDITION, alpha_sigma, gaussian_x0

MEAN, STD = 0.3, 0.5


def gaussian_denoiser(schedule, prediction):
    def denoise(xt, t, cond):
        alpha, sigma = alpha_sigma(schedule, t, xt.dtype)
        return convert("x0", prediction, gaussian_x0(xt, alpha, sigma, MEAN, STD), xt, alpha, sigma)

    return denoise


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_bound_of_gaussian_data_is_its_closed_form(prediction):
    schedule = make_schedule("linear", 50, 1e-3, 0.3)
    with jax.enable_x64(True):
        x0 = MEAN + STD * jax.random.normal(jax.random.key(0), (64, 40, 40, 1))
        keys = jax.random.split(jax.random.key(1), 64)
        bound = variational_bound(
            gaussian_denoiser(schedule, prediction),
            schedule,
            x0,
            NO_CONDITION,
            keys,
            prediction=prediction,
            levels=0,
        )
    ab = schedule.alpha_bar
    error = STD**2 * (1 - ab) / (ab * STD**2 + 1 - ab)  # E |x0 - E[x0|xt]|^2
    snr = ab / (1 - ab)
    prior = 0.5 * (ab[-1] * (MEAN**2 + STD**2) - ab[-1] - np.log(1 - ab[-1]))
    steps = 0.5 * np.sum((snr[:-1] - snr[1:]) * error[1:])
    variance = 1 - ab[0]
    decoder = 0.5 * (np.log(2 * np.pi * variance) + error[0] / variance)
    for part, nats in [("prior", prior), ("steps", steps), ("decoder", decoder)]:
        values = np.asarray(getattr(bound, part))
        standard_error = values.std() / np.sqrt(values.size)
        assert abs(values.mean() - nats / np.log(2)) < 4 * standard_error + 1e-12, part
        assert standard_error < 0.01 * abs(values.mean()) + 1e-3, part
    prior, steps, decoder = (np.asarray(part) for part in bound[1:])
    np.testing.assert_allclose(prior + steps + decoder, bound.total, rtol=1e-12)
    assert np.asarray(bound.total).mean() > 0.5 * np.log2(2 * np.pi * np.e * STD**2)  # the entropy


def test_some_of_the_steps_stand_for_all():
    schedule = make_schedule("cosine", 200)
    x0 = MEAN + STD * jax.random.normal(jax.random.key(0), (8, 16, 16, 1))
    keys = jax.random.split(jax.random.key(1), 8)
    denoise = gaussian_denoiser(schedule, "x0")
    settings = {"prediction": "x0", "levels": 0}
    every = variational_bound(denoise, schedule, x0, NO_CONDITION, keys, **settings)
    some = variational_bound(denoise, schedule, x0, NO_CONDITION, keys, evaluations=50, **settings)
    assert not np.array_equal(some.steps, every.steps)
    np.testing.assert_allclose(some.prior, every.prior)
    np.testing.assert_allclose(some.steps.mean(), every.steps.mean(), rtol=0.1)


def test_masses_of_all_levels_sum_to_one():
    x0 = jnp.linspace(-1, 1, 256).reshape(256, 1, 1, 1)
    for mean, std in [(0.2, 0.01), (-1.0, 0.05), (1.3, 0.3)]:
        log_p = log_mass(x0, jnp.full_like(x0, mean), std, 256)
        np.testing.assert_allclose(jnp.exp(log_p).sum(), 1, rtol=1e-4)
        assert jnp.all(log_p <= 0)


def test_masses_stay_finite_far_away():
    x0 = jnp.array([-1.0, -0.5, 0.5, 1.0]).reshape(4, 1, 1, 1)
    log_p = log_mass(x0, jnp.zeros_like(x0), 0.01, 256)
    assert jnp.all(jnp.isfinite(log_p))
    np.testing.assert_allclose(log_p.ravel()[1:3], -0.5 * 50**2, rtol=0.03)
