"""Heun's method on the probability-flow ODE dy/dr = eps, with y = x/alpha and r = sigma/alpha.

(1) euler = alpha_s x0 + sigma_s eps                              Karras et al. 2022, algorithm 1
(2) xs = euler + alpha_s (r_s - r_t)/2 (eps' - eps), eps' predicted at (1); (1) alone where r_t is infinite or r_s = 0
"""

from dataclasses import dataclass
from typing import Any

import jax
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
class HeunScalars(StepScalars):
    """The scalars of a step of Heun's method.

    Attributes:
      s: time that the network is given at the end.
      slope: alpha_s (r_s - r_t) / 2, zero where a step is an Euler step.
    """

    s: Any
    slope: Any


def prepare(levels: NoiseLevels) -> HeunScalars:
    """Return the scalars of every step."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = levels.alpha[1:] * np.diff(levels.sigma / levels.alpha) / 2
    slope = np.where(np.isfinite(half_gains(levels)), slope, 0.0)
    return HeunScalars(**vars(step_scalars(levels)), s=levels.t[1:], slope=slope)


def step(
    predict: Predict, xt: Images, previous_x0: PreviousX0, scalars: HeunScalars, noise: Noise
) -> tuple[Images, Images]:
    """Correct an Euler step by the slope at its end (2), at the price of a second call of the network."""
    x0, eps = predict(xt, scalars.t, scalars.alpha, scalars.sigma)
    euler = scalars.alpha_s * x0 + scalars.sigma_s * eps

    def correct() -> Images:
        _, eps_s = predict(euler, scalars.s, scalars.alpha_s, scalars.sigma_s)
        return euler + scalars.slope * (eps_s - eps)

    return jax.lax.cond(scalars.slope != 0, correct, lambda: euler), x0


SAMPLERS = {"heun": Sampler(prepare, step, spacing="karras")}
