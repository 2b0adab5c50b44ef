"""UniPC of order 2 with B(h) = e^h - 1 (Zhao et al. 2023, algorithms 1 and 2).

(1) x_corrected = xt + alpha_t g' [b (x0 - x0') - (1/2 - a) (h'/h'') (x0' - x0'')],  g' = 1 - e^(-h')
    m = (h' - g') / (h' g'),  a = (m - (h'^2 - 2h' + 2g') / (h'^2 g')) h' / (h' + h''),
    b = m - a; after the first step b = 1/2 and no second term; primes for the steps before
(2) xs = (sigma_s/sigma_t) x_corrected + alpha_s (1 - e^(-h)) D, D as in `dpmpp`
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from microgen_jax.diffusion.samplers import dpmpp
from microgen_jax.diffusion.samplers.base import Images, Noise, Predict, PreviousX0, Sampler, half_gains
from microgen_jax.diffusion.spacing import NoiseLevels


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UniPCScalars(dpmpp.MultistepScalars):
    """The scalars of a step with a correction of the step before.

    Attributes:
      correction: alpha_t g' b of (1), zero on the first step and after one from pure noise.
      correction_before: alpha_t g' (1/2 - a) h'/h'' of (1), zero on the second step as well.
    """

    correction: Any
    correction_before: Any


def prepare(levels: NoiseLevels) -> UniPCScalars:
    """Return the scalars of every step."""
    now, before = corrections(half_gains(levels))
    return UniPCScalars(
        **vars(dpmpp.prepare(levels)),
        correction=levels.alpha[:-1] * now,
        correction_before=levels.alpha[:-1] * before,
    )


def corrections(h: Float64[np.ndarray, "n"]) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Return the factors g' b and g' (1/2 - a) h'/h'' of (1) at every step."""
    led, gain = h[:-1], -np.expm1(-h[:-1])
    with np.errstate(invalid="ignore"):
        ratio = led / np.append(np.inf, h[:-2])
        moment, second = (led - gain) / (led * gain), (led**2 - 2 * led + 2 * gain) / (led**2 * gain)
        a = (moment - second) * ratio / (1 + ratio)
    b = np.append(0.5, (moment - a)[1:])[: led.size]
    finite = np.isfinite(led)
    now, before = np.where(finite, gain * b, 0.0), np.where(finite, gain * (0.5 - a) * ratio, 0.0)
    return np.append(0.0, now), np.append(0.0, before)


def step(
    predict: Predict, xt: Images, previous_x0: PreviousX0, scalars: UniPCScalars, noise: Noise
) -> tuple[Images, Images]:
    """Correct the step that led here by the x0 predicted now (1), and step on (2)."""
    x0, _ = predict(xt, scalars.t, scalars.alpha, scalars.sigma)
    last, earlier = previous_x0
    x_corrected = xt + scalars.correction * (x0 - last) - scalars.correction_before * (last - earlier)
    x0_extrapolated = x0 + scalars.extrapolation * (x0 - last)
    xs = scalars.sigma_s / scalars.sigma * x_corrected
    return xs - scalars.alpha_s * jnp.expm1(-scalars.h) * x0_extrapolated, x0


SAMPLERS = {"unipc": Sampler(prepare, step)}
