"""The training loss of a diffusion model, and the same loss on held-out images.

  (1) L = mean_i  w[t_i] / (T p[t_i])  mean over pixels of  l(prediction_i, target_i)

with l the squared, absolute or Huber error, or binary cross-entropy of x0; w from `weighting`, t and p from
`times`. Every example has a key of its own, folded from its row in the global batch, so that what is sampled
does not depend on how the batch lies on the devices.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from microgen_jax.diffusion.process import diffuse, require_prediction, target
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.diffusion.times import sample_times
from microgen_jax.diffusion.weighting import WEIGHTINGS, loss_weights
from microgen_jax.errors import UserError, require_known
from microgen_jax.types import Condition, Denoiser


def squared_error(prediction: Array, target: Array) -> Array:
    """Return the squared error of every pixel."""
    return (prediction - target) ** 2


def absolute_error(prediction: Array, target: Array) -> Array:
    """Return the absolute error of every pixel."""
    return jnp.abs(prediction - target)


def huber(prediction: Array, target: Array, delta: float = 1.0) -> Array:
    """Return half the squared error up to `delta`, and straight from there on (Huber 1964)."""
    error = jnp.abs(prediction - target)
    return jnp.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta))


def binary_cross_entropy(logits: Array, x0: Array) -> Array:
    """Return the cross-entropy of pixels that are -1 or 1, from the logits of their being 1."""
    return jnp.logaddexp(0.0, logits) - logits * (x0 + 1) / 2


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "mse": squared_error,
    "l1": absolute_error,
    "huber": huber,
    "bce": binary_cross_entropy,
}


class LossParts(NamedTuple):
    """The parts of a loss.

    Attributes:
      per_example: float32 [B], weighted losses, without the correction for importance sampling.
      t: int32 [B], time of each example.
    """

    per_example: Array
    t: Array

    def squares(self, timesteps: int) -> Float[Array, "2 T"]:
        """Return the number of examples at each time, and the sum of their squared losses.

        Args:
          timesteps: length T of the chain.
        """
        ones = jnp.ones_like(self.per_example)
        both = jnp.stack([ones, self.per_example**2])
        return jnp.zeros((2, timesteps), both.dtype).at[:, self.t].add(both)


def require_loss(
    schedule: Schedule, prediction: str, *, loss: str = "mse", weighting: str = "uniform"
) -> None:
    """Refuse a loss or weighting that is not known or does not go with the prediction.

    Args:
      schedule: noise schedule of the chain.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      loss: name in `LOSSES`.
      weighting: name in `weighting.WEIGHTINGS`.

    Raises:
      UserError: an unknown name, eps with zero terminal SNR, or 'bce' with anything but x0.
    """
    require_known("loss", loss, LOSSES)
    require_known("weighting", weighting, WEIGHTINGS)
    require_prediction(prediction, schedule)
    if loss == "bce" and prediction != "x0":
        raise UserError("loss", f"'bce' gives logits of x0 and not {prediction!r}", "set prediction to 'x0'")


def diffusion_loss(
    denoise: Denoiser,
    schedule: Schedule,
    x0: Float[Array, "B H W C"],
    cond: Condition,
    key: Key[Array, ""],
    *,
    prediction: str,
    loss: str = "mse",
    weighting: str = "uniform",
    time_sampling: str = "uniform",
    probabilities: Float[Array, "T"] | None = None,
    rows: Int[Array, "B"] | None = None,
    total: int | None = None,
) -> tuple[Float[Array, ""], LossParts]:
    """Return the loss of a batch (1).

    With `time_sampling='fixed'`, one key and the rows of the held-out set it is a deterministic measure of
    the network, fit to choose the best checkpoint.

    Args:
      denoise: the network; logits of x0 for 'bce'.
      schedule: noise schedule of the chain.
      x0: clean images in [-1, 1].
      cond: label and conditions of each image.
      key: PRNG key of this batch.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      loss: 'mse', 'l1', 'huber' or 'bce'.
      weighting: 'uniform', 'min_snr', 'p2' or 'vlb'.
      time_sampling: 'uniform', 'stratified', 'importance' or 'fixed'.
      probabilities: probability of each time, for 'importance'.
      rows: index of each example in the global batch, or in the held-out set; 0..B-1 where not given. A
        micro-batch with its own rows samples what the whole batch would have sampled for them.
      total: examples in the global batch, for stratified times; B where not given.

    Returns:
      The scalar loss, and its parts.

    Raises:
      UserError: names that are not known or do not go together.
    """
    require_loss(schedule, prediction, loss=loss, weighting=weighting)
    rows = jnp.arange(x0.shape[0]) if rows is None else rows
    time_key, noise_key = jax.random.split(key)
    fold_rows = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    t = sample_times(
        time_sampling,
        time_key,
        fold_rows(time_key, rows),
        rows,
        total or x0.shape[0],
        schedule.timesteps,
        probabilities,
    )
    eps = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:], x0.dtype))(fold_rows(noise_key, rows))
    output = denoise(diffuse(schedule, x0, eps, t), t, cond)
    error = LOSSES[loss](output, target(prediction, schedule, x0, eps, t))
    weights = jnp.asarray(loss_weights(weighting, prediction, schedule), x0.dtype)
    per_example = weights[t] * error.mean(axis=(1, 2, 3))
    if time_sampling == "importance":
        return jnp.mean(per_example / (schedule.timesteps * probabilities[t])), LossParts(per_example, t)
    return per_example.mean(), LossParts(per_example, t)
