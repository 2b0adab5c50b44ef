"""The variational bound on the negative log-likelihood, in bits per dimension.

For the chain with the posterior's own variance (Ho et al. 2020, eq. 5; Kingma et al. 2021, eqs. 11-13):

  (1) prior    KL(q(xT|x0) | N(0, I)) = 1/2 sum (alpha^2 x0^2 + sigma^2 - 1 - log sigma^2),  both at T-1
  (2) step t   KL = (SNR[t-1] - SNR[t])/2 |x0 - x0_hat|^2,  t = 1..T-1
  (3) decoder  -log p(x0 | x at 0), a Gaussian about x0_hat of standard deviation sigma[0]; for images of
               discrete levels its mass in the level's bin, the outer bins open (Ho et al. 2020, eq. 13)

The decoder is always evaluated; of the steps, the middles of as many even strata as calls are spent, and their mean
stands for all T-1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from microgen_jax.diffusion.process import convert, diffuse, require_prediction
from microgen_jax.diffusion.schedules import Schedule, at
from microgen_jax.diffusion.weighting import vlb_weights
from microgen_jax.types import Condition, Denoiser


class Bound(NamedTuple):
    """Bits per dimension, float32 [B] each.

    Attributes:
      total: the bound, prior + steps + decoder.
      prior: prior term (1).
      steps: sum of the terms (2) over t = 1..T-1.
      decoder: decoder term (3).
    """

    total: Array
    prior: Array
    steps: Array
    decoder: Array


def variational_bound(
    denoise: Denoiser,
    schedule: Schedule,
    x0: Float[Array, "B H W C"],
    cond: Condition,
    keys: Key[Array, "B"],
    *,
    prediction: str,
    evaluations: int | None = None,
    levels: int = 256,
) -> Bound:
    """Bound the negative log-likelihood of images.

    Args:
      denoise: the network.
      schedule: noise schedule that it was trained with, of two times or more.
      x0: images in [-1, 1].
      cond: label and conditions of each image.
      keys: one PRNG key for each image, so that its noise does not depend on the batch.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      evaluations: network calls spent on the T-1 steps; one each where not given.
      levels: number of grey levels in the images, 256 for 8 bit; 0 for continuous images, whose bound is on a density.

    Raises:
      UserError: an unknown prediction, or eps with zero terminal SNR.
    """
    require_prediction(prediction, schedule)
    count = schedule.timesteps - 1
    calls = min(evaluations or count, count)
    times = (1 + (np.arange(calls) + 0.5) * count / calls).astype(np.int32)
    weights = jnp.asarray(vlb_weights(schedule) / schedule.timesteps, x0.dtype)

    def predict_x0(t: Array) -> Float[Array, "B H W C"]:
        folded = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)
        eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:], x0.dtype))(folded)
        t = jnp.full(x0.shape[0], t)
        xt = diffuse(schedule, x0, eps, t)
        alpha, sigma = at(schedule.alpha, t, x0), at(schedule.sigma, t, x0)
        return convert(prediction, "x0", denoise(xt, t, cond), xt, alpha, sigma)

    def add_step(total: Array, t: Array) -> tuple[Array, None]:
        return total + weights[t] * jnp.mean((x0 - predict_x0(t)) ** 2, axis=(1, 2, 3)), None

    summed, _ = jax.lax.scan(add_step, jnp.zeros(x0.shape[0], x0.dtype), jnp.asarray(times))
    steps = summed * (count / calls)
    alpha, sigma = schedule.alpha[-1], schedule.sigma[-1]
    prior = 0.5 * (alpha**2 * jnp.mean(x0**2, axis=(1, 2, 3)) + (sigma**2 - 1 - 2 * np.log(sigma)))
    std = schedule.sigma[0]
    x0_hat = predict_x0(jnp.int32(0))
    log_p = norm.logpdf(x0, x0_hat, std) if levels == 0 else log_mass(x0, x0_hat, std, levels)
    decoder = -log_p.mean(axis=(1, 2, 3))
    return Bound(*(nats / np.log(2) for nats in (prior + steps + decoder, prior, steps, decoder)))


def log_mass(
    x0: Float[Array, "B H W C"], mean: Float[Array, "B H W C"], std: float, levels: int
) -> Float[Array, "B H W C"]:
    """Return the log of a Gaussian's mass within half a level of x0; the outer levels reach to infinity (3)."""
    half = 1 / (levels - 1)
    above = jnp.where(x0 > 1 - half, jnp.inf, (x0 + half - mean) / std)
    below = jnp.where(x0 < -1 + half, -jnp.inf, (x0 - half - mean) / std)
    mirrored = above + below > 0
    low, high = jnp.where(mirrored, -above, below), jnp.where(mirrored, -below, above)
    return norm.logcdf(high) + jnp.log(-jnp.expm1(norm.logcdf(low) - norm.logcdf(high)))
