"""The forward process, and what a network may predict about it.

  (1) xt  = alpha x0 + sigma eps          Ho et al. 2020, eq. 4
  (2) v   = alpha eps - sigma x0          Salimans & Ho 2022, section 4

A network gives one of eps, x0 and v. With xt at hand, and alpha^2 + sigma^2 = 1, each follows from each:

  (3) x0  = (xt - sigma eps) / alpha      from (1); undefined at zero SNR
  (4) eps = (xt - alpha x0) / sigma       from (1)
  (5) x0  = alpha xt - sigma v            (1) and (2)
  (6) eps = sigma xt + alpha v            (1) and (2)
  (7) v   = (eps - sigma xt) / alpha      from (6); undefined at zero SNR
  (8) v   = (alpha xt - x0) / sigma       from (5)
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from microgen_jax.diffusion.schedules import Schedule, at
from microgen_jax.errors import UserError, require_known
from microgen_jax.types import Condition, Denoiser

Converter = Callable[[Array, Array, Array, Array], Array]  # (prediction, xt, alpha, sigma) -> the other one

CONVERTERS: dict[tuple[str, str], Converter] = {
    ("eps", "eps"): lambda eps, xt, alpha, sigma: eps,
    ("eps", "x0"): lambda eps, xt, alpha, sigma: (xt - sigma * eps) / alpha,  # (3)
    ("eps", "v"): lambda eps, xt, alpha, sigma: (eps - sigma * xt) / alpha,  # (7)
    ("x0", "eps"): lambda x0, xt, alpha, sigma: (xt - alpha * x0) / sigma,  # (4)
    ("x0", "x0"): lambda x0, xt, alpha, sigma: x0,
    ("x0", "v"): lambda x0, xt, alpha, sigma: (alpha * xt - x0) / sigma,  # (8)
    ("v", "eps"): lambda v, xt, alpha, sigma: sigma * xt + alpha * v,  # (6)
    ("v", "x0"): lambda v, xt, alpha, sigma: alpha * xt - sigma * v,  # (5)
    ("v", "v"): lambda v, xt, alpha, sigma: v,
}
PREDICTIONS = ("eps", "x0", "v")


def require_prediction(prediction: str, schedule: Schedule) -> None:
    """Refuse a prediction that is not known, or that does not determine x0 at the noisy end of the schedule.

    Args:
      prediction: output of the network: 'eps', 'x0' or 'v'.
      schedule: noise schedule of the chain.

    Raises:
      UserError: an unknown prediction, or eps with a schedule of zero terminal SNR.
    """
    require_known("prediction", prediction, PREDICTIONS)
    if prediction == "eps" and schedule.zero_terminal_snr:
        raise UserError("prediction", "'eps' does not determine x0 at zero terminal SNR", "use 'v' or 'x0'")


def diffuse(
    schedule: Schedule, x0: Float[Array, "B H W C"], eps: Float[Array, "B H W C"], t: Int[Array, "B"]
) -> Float[Array, "B H W C"]:
    """Return clean images diffused to time t with the given noise (1)."""
    return at(schedule.alpha, t, x0) * x0 + at(schedule.sigma, t, x0) * eps


def target(
    prediction: str,
    schedule: Schedule,
    x0: Float[Array, "B H W C"],
    eps: Float[Array, "B H W C"],
    t: Int[Array, "B"],
) -> Float[Array, "B H W C"]:
    """Return the right prediction of diffused images: eps, x0 or v (2)."""
    require_prediction(prediction, schedule)
    if prediction == "v":
        return at(schedule.alpha, t, x0) * eps - at(schedule.sigma, t, x0) * x0
    return {"eps": eps, "x0": x0}[prediction]


def convert(
    source: str,
    to: str,
    prediction: Float[Array, "*shape"],
    xt: Float[Array, "*shape"],
    alpha: Float[Array, "..."],
    sigma: Float[Array, "..."],
) -> Float[Array, "*shape"]:
    """Turn one prediction into another by equations (3) to (8).

    Args:
      source: name of `prediction`: 'eps', 'x0' or 'v'.
      to: name of the prediction to return.
      prediction: output of the network.
      xt: noisy images that it was given.
      alpha: factor of the image, a scalar or shaped to scale `xt`.
      sigma: standard deviation of the noise, shaped as alpha.

    Raises:
      UserError: an unknown name.
    """
    require_known("prediction", source, PREDICTIONS)
    require_known("prediction", to, PREDICTIONS)
    return CONVERTERS[source, to](prediction, xt, alpha, sigma)


def from_logits(denoise: Denoiser) -> Denoiser:
    """Make a network that was trained with binary cross-entropy predict x0 = 2 sigmoid(logits) - 1."""

    def denoise_x0(xt: Array, t: Array, cond: Condition) -> Array:
        return jnp.tanh(denoise(xt, t, cond) / 2)

    return denoise_x0
