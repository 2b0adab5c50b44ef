"""DPM-Solver++ of second order, multistep (Lu et al. 2022b).

(1) xs = (sigma_s/sigma_t) e^(-eta h) xt + alpha_s (1 - e^(-(1+eta) h)) D + sigma_s sqrt(1 - e^(-2 eta h)) z
    D = x0 + (h / 2h') (x0 - x0'), primes for the step before; D = x0 on the first and the last step
    eta = 0: algorithm 2; eta = 1: its SDE form, section 5
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from microgen_jax.diffusion.samplers.base import (
    Images,
    Noise,
    Predict,
    PreviousX0,
    Sampler,
    StepScalars,
    half_gains,
    step_scalars,
)
from microgen_jax.diffusion.spacing import NoiseLevels


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MultistepScalars(StepScalars):
    """The scalars of a step that extrapolates x0.

    Attributes:
      extrapolation: h / 2h' of (1), zero on the first and the last step.
    """

    extrapolation: Any


def prepare(levels: NoiseLevels) -> MultistepScalars:
    """Return the scalars of every step."""
    h = half_gains(levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.append(0.0, h[1:] / (2 * h[:-1]))
    extrapolation = np.where(np.isfinite(h), ratio, 0.0)
    return MultistepScalars(**vars(step_scalars(levels)), extrapolation=extrapolation)


def step(
    predict: Predict,
    xt: Images,
    previous_x0: PreviousX0,
    scalars: MultistepScalars,
    noise: Noise,
    *,
    eta: float,
) -> tuple[Images, Images]:
    """Extrapolate x0 from this step and the one before, and step towards it (1)."""
    x0, _ = predict(xt, scalars.t, scalars.alpha, scalars.sigma)
    x0_extrapolated = x0 + scalars.extrapolation * (x0 - previous_x0[0])
    xs = scalars.sigma_s / scalars.sigma * jnp.exp(-eta * scalars.h) * xt
    xs = xs - scalars.alpha_s * jnp.expm1(-(1 + eta) * scalars.h) * x0_extrapolated
    if eta == 0:
        return xs, x0
    return xs + scalars.sigma_s * jnp.sqrt(-jnp.expm1(-2 * eta * scalars.h)) * noise(), x0


SAMPLERS = {
    "dpmpp2m": Sampler(prepare, partial(step, eta=0.0)),
    "dpmpp2m_sde": Sampler(prepare, partial(step, eta=1.0), stochastic=True),
}
