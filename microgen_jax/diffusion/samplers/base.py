"""What a sampler is: a function that prepares the scalars of every step, and the step itself.

A step has the signature `step(predict, xt, previous_x0, scalars, noise) -> (xs, x0)`; it goes from the time t to the
next level's time s:

  predict      (xt, t, alpha, sigma) -> (x0, eps), the network's prediction, thresholded
  previous_x0  the x0 of the step before and that of the step before it
  scalars      what `prepare` made of the noise levels, for this step
  noise        () -> standard normal noise of this step; a deterministic step never calls it

All steps are written in h = log(alpha_s sigma_t / (sigma_s alpha_t)), half the gain in log_snr.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float64

from microgen_jax.diffusion.spacing import NoiseLevels, log_snr_of

Images = Float[Array, "B H W C"]
Predict = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
Noise = Callable[[], Array]
PreviousX0 = tuple[Images, Images]

H_MAX = 100.0  # h where it is infinite: e^-100 is nothing, and 0 h is still 0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepScalars:
    """The scalars of a step from t to s: one number each inside the scan, [n] on the host.

    Attributes:
      t: time that the network is given at the start (int32, or float between trained times).
      alpha: factor of the image at t.
      sigma: standard deviation of the noise at t.
      alpha_s: factor of the image at s.
      sigma_s: standard deviation of the noise at s.
      h: half the gain in log_snr, at most H_MAX.
    """

    t: Any
    alpha: Any
    sigma: Any
    alpha_s: Any
    sigma_s: Any
    h: Any


Prepare = Callable[[NoiseLevels], StepScalars]
Step = Callable[[Predict, Images, PreviousX0, Any, Noise], tuple[Images, Images]]


@dataclass(frozen=True)
class Sampler:
    """A sampler, as it is registered under its name.

    Attributes:
      prepare: noise levels -> `StepScalars` or a subclass, tables [n] in float64.
      step: one step; with `takes_eta` it has a keyword `eta` as well.
      stochastic: whether steps call `noise`.
      spacing: the spacing that 'auto' stands for.
      takes_eta: whether the share of fresh noise can be chosen.
    """

    prepare: Prepare
    step: Callable[..., tuple[Images, Images]]
    stochastic: bool = False
    spacing: str = "trailing"
    takes_eta: bool = False


def half_gains(levels: NoiseLevels) -> Float64[np.ndarray, "n"]:
    """Return h of every step; infinite from pure noise and to a clean image."""
    return np.diff(log_snr_of(levels)) / 2


def step_scalars(levels: NoiseLevels) -> StepScalars:
    """Return the scalars that every sampler has, worked out in float64 on the host."""
    h = half_gains(levels)
    return StepScalars(
        t=levels.t[:-1],
        alpha=levels.alpha[:-1],
        sigma=levels.sigma[:-1],
        alpha_s=levels.alpha[1:],
        sigma_s=levels.sigma[1:],
        h=np.where(np.isfinite(h), h, H_MAX),
    )
