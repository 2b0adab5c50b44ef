"""Data whose best denoiser is known: Gaussians, and mixtures of them, pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np

from microgen_jax.diffusion.process import convert
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.types import Condition

NO_CONDITION = Condition(np.zeros(1, np.int32), np.zeros((1, 0), np.float32))


def mixture_eps(xt, alpha, sigma, means, stds, shares):
    """E[eps | xt] of a mixture; images [..., W, C], parts [W, C, parts], alpha and sigma shaped to scale xt."""
    alpha, sigma = alpha[..., None], sigma[..., None]
    means, stds, shares = (jnp.asarray(p, xt.dtype)[None, None] for p in (means, stds, shares))
    variance = alpha**2 * stds**2 + sigma**2
    away = xt[..., None] - alpha * means
    part = jax.nn.softmax(jnp.log(shares) - 0.5 * jnp.log(variance) - 0.5 * away**2 / variance)
    return (sigma * part * away / variance).sum(-1)


def alpha_sigma(schedule: Schedule, t, dtype=jnp.float32):
    """alpha and sigma [B,1,1,1] at whole times, and between them by interpolating log_snr."""
    times = jnp.arange(schedule.timesteps, dtype=dtype)
    log_snr = jnp.interp(t.astype(dtype), times, jnp.asarray(schedule.log_snr, dtype))[:, None, None, None]
    return jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))


def mixture_denoiser(schedule: Schedule, prediction: str, means, stds, shares):
    def denoise(xt, t, cond):
        alpha, sigma = alpha_sigma(schedule, t, xt.dtype)
        return convert(
            "eps", prediction, mixture_eps(xt, alpha, sigma, means, stds, shares), xt, alpha, sigma
        )

    return denoise


def gaussian_x0(xt, alpha, sigma, mean, std):
    """E[x0 | xt] of N(mean, std^2)."""
    return mean + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (xt - alpha * mean)


def small(ab, ab_s, beta):
    return (1 - ab_s) / (1 - ab) * beta


def large(ab, ab_s, beta):
    return beta


def ancestral_moments(schedule, t, data_mean, data_std, variance_of, start=(0.0, 1.0)):
    """Mean and variance of the chain of Ho et al. 2020, eqs. 6 and 7, on the kept times t, from those at its start."""
    mean, variance = [start[0]], [start[1]]
    for now, after in zip(t, [*t[1:], None]):
        ab, ab_s = schedule.alpha_bar[now], 1.0 if after is None else schedule.alpha_bar[after]
        beta = 1 - ab / ab_s
        gain = np.sqrt(ab) * data_std**2 / (ab * data_std**2 + 1 - ab)  # of E[x0 | xt]
        from_x0 = np.sqrt(ab_s) * beta / (1 - ab)
        slope = from_x0 * gain + np.sqrt(ab / ab_s) * (1 - ab_s) / (1 - ab)
        mean.append(slope * mean[-1] + from_x0 * (1 - gain * np.sqrt(ab)) * data_mean)
        variance.append(slope**2 * variance[-1] + (variance_of(ab, ab_s, beta) if after is not None else 0))
    return mean, variance
