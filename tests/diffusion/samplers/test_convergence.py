"""Order of convergence on a mixture of two Gaussians, in continuous time and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from microgen_jax.diffusion.samplers import make_sampler
from microgen_jax.diffusion.samplers.generate import make_predict
from microgen_jax.diffusion.samplers.scan import Chain, run_scan
from microgen_jax.diffusion.spacing import NoiseLevels
from tests.diffusion.gaussians import NO_CONDITION, mixture_eps

MEANS, STDS, SHARES = np.array([[[-0.6, 0.7]]]), np.array([[[0.3, 0.4]]]), np.array([[[0.4, 0.6]]])
LOG_SNR = (-8.0, 6.0)  # from sigma = 0.9998 to sigma = 0.05
START = np.linspace(-2, 2, 9)
STEPS = (32, 64, 128, 256, 512)
ORDERS = {"ddim": 1, "heun": 2, "dpmpp2m": 2, "unipc": 3}


def alpha_sigma(log_snr):
    return np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))


def exact():
    """The probability-flow ODE dy/dr = eps, y = x / alpha, r = sigma / alpha, solved to 1e-12."""
    (alpha, alpha_end), (sigma, sigma_end) = alpha_sigma(np.array(LOG_SNR))

    def slope(r, y):
        alpha = 1 / np.sqrt(1 + r**2)
        spread = alpha**2 * STDS[0] ** 2 + (r * alpha) ** 2
        away = (alpha * y)[:, None] - alpha * MEANS[0]
        part = SHARES[0] * np.exp(-0.5 * away**2 / spread) / np.sqrt(spread)
        return r * alpha * ((part * away / spread).sum(1) / part.sum(1))

    ends = (sigma / alpha, sigma_end / alpha_end)
    y = solve_ivp(slope, ends, START / alpha, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return y * alpha_end


def error(sampler, steps):
    """Root mean square over the starts, at steps even in log_snr."""
    alpha, sigma = alpha_sigma(np.linspace(*LOG_SNR, steps + 1))
    levels = NoiseLevels(np.linspace(*LOG_SNR, steps + 1), alpha, sigma)
    with jax.enable_x64(True):

        def denoise(xt, log_snr, cond):
            log_snr = log_snr[:, None, None, None]
            alpha, sigma = jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
            return mixture_eps(xt, alpha, sigma, MEANS, STDS, SHARES)

        start = jnp.asarray(START).reshape(9, 1, 1, 1)
        predict = make_predict(denoise, NO_CONDITION, "eps", None)
        x = jax.jit(lambda: run_scan(Chain(make_sampler(sampler), predict, levels, lambda k: start))[0])()
    return np.sqrt(np.mean((np.asarray(x).ravel() - exact()) ** 2))


@pytest.mark.parametrize("sampler", ORDERS)
def test_order_of_convergence(sampler):
    errors = [error(sampler, steps) for steps in STEPS]
    slopes = -np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes[-2:], ORDERS[sampler], atol=0.15)
    assert errors[-1] < 0.01
