from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.losses import diffusion_loss
from microgen_jax.diffusion.process import PREDICTIONS, convert
from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.weighting import loss_weights
from microgen_jax.errors import UserError
from tests.diffusion.gaussians import NO_CONDITION, alpha_sigma, gaussian_x0

SCHEDULE = make_schedule("cosine")
SNR = SCHEDULE.alpha_bar / (1 - SCHEDULE.alpha_bar)
STEP_KL = 0.5 * np.concatenate([[np.nan], SNR[:-1] - SNR[1:]]) * 1000

PUBLISHED = {
    # Hang et al. 2023, section 3.4 and its table for the three predictions
    ("min_snr", "x0"): np.minimum(SNR, 5),
    ("min_snr", "eps"): np.minimum(SNR, 5) / SNR,
    ("min_snr", "v"): np.minimum(SNR, 5) / (SNR + 1),
    # Choi et al. 2022, eq. 8, on the eps loss, with k = gamma = 1
    ("p2", "eps"): 1 / (1 + SNR),
    # Kingma et al. 2021, eqs. 13 and 14
    ("vlb", "x0"): STEP_KL,
    ("vlb", "eps"): 0.5 * 1000 * np.concatenate([[np.nan], SNR[:-1] / SNR[1:] - 1]),
    ("uniform", "eps"): np.ones(1000),
    ("uniform", "v"): np.ones(1000),
}


@pytest.mark.parametrize(("weighting", "prediction"), PUBLISHED)
def test_weights_are_the_published_ones(weighting, prediction):
    published = PUBLISHED[weighting, prediction]
    known = ~np.isnan(published)
    weights = loss_weights(weighting, prediction, SCHEDULE)
    np.testing.assert_allclose(weights[known], published[known], rtol=1e-9)


def test_ddpm_writes_the_bound_s_weight_as_beta():
    """Ho et al. 2020, eq. 12: beta^2 / (2 std^2 (1 - beta) (1 - alpha_bar)), with the posterior's variance."""
    s = make_schedule("linear")
    before = s.alpha_bar[:-1]
    beta, alpha_bar = s.beta[1:], s.alpha_bar[1:]
    variance = (1 - before) / (1 - alpha_bar) * beta
    published = beta**2 / (2 * variance * (1 - beta) * (1 - alpha_bar))
    np.testing.assert_allclose(loss_weights("vlb", "eps", s)[1:] / 1000, published, rtol=1e-9)


@pytest.mark.parametrize("weighting", ["min_snr", "p2", "vlb"])
def test_one_loss_whichever_prediction_it_is_written_in(weighting):
    with jax.enable_x64(True):
        x0 = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (64, 2, 2, 1)))

        def loss(prediction):
            def denoise(xt, t, cond):
                alpha, sigma = alpha_sigma(SCHEDULE, t, xt.dtype)
                x0_hat = gaussian_x0(xt, alpha, sigma, 0.1, 0.4)
                return convert("x0", prediction, x0_hat, xt, alpha, sigma)

            key = jax.random.key(1)
            settings = {"prediction": prediction, "weighting": weighting, "time_sampling": "stratified"}
            return diffusion_loss(denoise, SCHEDULE, x0, NO_CONDITION, key, **settings)[1].per_example

        losses = [loss(prediction) for prediction in PREDICTIONS]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-6)


@pytest.mark.parametrize(("weighting", "prediction"), list(product(["min_snr", "p2", "vlb"], ["x0", "v"])))
def test_weights_stay_finite_at_zero_terminal_snr(weighting, prediction):
    weights = loss_weights(weighting, prediction, make_schedule("linear", zero_terminal_snr=True))
    assert np.all(np.isfinite(weights))
    assert np.all(weights >= 0)


def test_refusals():
    with pytest.raises(UserError, match=r"^weighting: .*minsnr"):
        loss_weights("minsnr", "eps", SCHEDULE)
