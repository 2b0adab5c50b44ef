"""The chain's own posterior, with g = 1 - e^(-2h).

(1) xs = alpha_s g x0 + (sigma_s/sigma_t) e^(-h) xt + std z       Ho et al. 2020, eq. 7
    std^2 = sigma_s^2 g (small variance) or sigma_t^2 g (large)
"""

from functools import partial

import jax.numpy as jnp

from microgen_jax.diffusion.samplers.base import (
    Images,
    Noise,
    Predict,
    PreviousX0,
    Sampler,
    StepScalars,
    step_scalars,
)


def step(
    predict: Predict,
    xt: Images,
    previous_x0: PreviousX0,
    scalars: StepScalars,
    noise: Noise,
    *,
    large_variance: bool = False,
) -> tuple[Images, Images]:
    """Sample the chain's posterior given the predicted x0 (1); the last step adds no noise."""
    x0, _ = predict(xt, scalars.t, scalars.alpha, scalars.sigma)
    gain = -jnp.expm1(-2 * scalars.h)
    mean = scalars.alpha_s * gain * x0 + scalars.sigma_s / scalars.sigma * jnp.exp(-scalars.h) * xt
    spread = scalars.sigma if large_variance else scalars.sigma_s
    std = jnp.sqrt(gain) * jnp.where(scalars.sigma_s == 0, 0.0, spread)
    return mean + std * noise(), x0


SAMPLERS = {
    "ancestral": Sampler(step_scalars, step, stochastic=True),
    "ancestral_large": Sampler(step_scalars, partial(step, large_variance=True), stochastic=True),
}
