"""Steps along the predicted noise, with g = 1 - e^(-2h).

(1) ddim   xs = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std z         Song et al. 2021a, eq. 12
           std^2 = eta^2 sigma_s^2 g; eta = 1 is the ancestral step with its small variance
(2) euler  (1) with eta = 0: in y = x/alpha and r = sigma/alpha it reads dy/dr = eps, whose Euler step
           y_s = y_t + (r_s - r_t) eps is (1)                            Karras et al. 2022, algorithm 1
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
    eta: float,
) -> tuple[Images, Images]:
    """Follow the predicted noise, a share eta of it replaced by fresh noise (1); eta = 0 is deterministic (2)."""
    x0, eps = predict(xt, scalars.t, scalars.alpha, scalars.sigma)
    if eta == 0:
        return scalars.alpha_s * x0 + scalars.sigma_s * eps, x0
    fresh = eta**2 * -jnp.expm1(-2 * scalars.h)
    mixed = jnp.sqrt(1 - fresh) * eps + jnp.sqrt(fresh) * noise()
    return scalars.alpha_s * x0 + scalars.sigma_s * mixed, x0


SAMPLERS = {
    "ddim": Sampler(step_scalars, step, takes_eta=True),
    "euler": Sampler(step_scalars, partial(step, eta=0.0), spacing="karras"),
}
