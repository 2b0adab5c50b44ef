"""Guidance: denoisers made of denoisers.

  (1) guided = without + scale (with - without)                    Ho & Salimans 2021, eq. 6, scale = 1 + w
  (2) scale holds for sigma/alpha in [lo, hi], and is 1 elsewhere  Kynkäänniemi et al. 2024
  (3) rescaled = guided std(with) / std(guided), and a share of it
      mixed into guided                                            Lin et al. 2023, section 3.4
  (4) guided = weak + scale (strong - weak)                        Karras et al. 2024 (autoguidance)

The conversions between eps, x0 and v are affine at given xt and t, so (1) and (4) are the same whichever is
predicted; (3) acts on the prediction as the network gives it.

The null condition has the number of classes as its label and NaN for every value.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num

from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.errors import UserError
from microgen_jax.types import Condition, Denoiser

LOWEST_LOG_SNR = -60.0  # log_snr that stands for minus infinity


def null_condition(cond: Condition, null_label: int) -> Condition:
    """Return the condition of the same shape with no class and no value."""
    return Condition(jnp.full_like(cond.label, null_label), jnp.full_like(cond.value, jnp.nan))


def hide_conditions(
    key: Key[Array, ""],
    cond: Condition,
    null_label: int,
    rate: float,
    rows: Int[Array, "B"] | None = None,
) -> Condition:
    """Hide the label, and each value, of a share of the examples, so that guidance learns to do without.

    Everything of an example is hidden with probability q, and each part by itself with probability q, where
    (1 - q)^2 = 1 - rate: the share of each that is hidden is `rate`.

    Args:
      key: PRNG key of this batch.
      cond: labels and values of the batch.
      null_label: label that stands for no class.
      rate: share to hide, in [0, 1].
      rows: index of each example in the global batch; 0..B-1 where not given.

    Raises:
      UserError: a rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise UserError("condition_dropout", f"{rate} lies outside [0, 1]", "give a share, as in 0.1")
    batch, parts = cond.value.shape
    rows = jnp.arange(batch) if rows is None else rows
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
    random = jax.vmap(lambda k: jax.random.uniform(k, (parts + 2,), jnp.float32))(keys)
    hidden = random < 1 - math.sqrt(1 - rate)
    hidden = hidden[:, :1] | hidden[:, 1:]
    null = null_condition(cond, null_label)
    return Condition(
        jnp.where(hidden[:, 0], null.label, cond.label),
        jnp.where(hidden[:, 1:], null.value, cond.value),
    )


def noise_level(schedule: Schedule, t: Num[Array, "B"]) -> Float[Array, "B"]:
    """Return sigma / alpha at whole times, and between them by interpolating log_snr."""
    log_snr = jnp.maximum(jnp.asarray(schedule.log_snr, jnp.float32), LOWEST_LOG_SNR)
    times = jnp.arange(schedule.timesteps, dtype=jnp.float32)
    return jnp.exp(-jnp.interp(t.astype(jnp.float32), times, log_snr) / 2)


def guide(
    denoise: Denoiser,
    schedule: Schedule,
    null_label: int,
    *,
    scale: float,
    interval: tuple[float, float] = (0.0, math.inf),
    rescale: float = 0.0,
) -> Denoiser:
    """Return a denoiser with classifier-free guidance (1), by one call of the network on a doubled batch.

    Args:
      denoise: a network trained with `hide_conditions`.
      schedule: noise schedule that it was trained with.
      null_label: label that stands for no class.
      scale: factor of the condition's effect: 0 ignores it, 1 takes it as trained (and costs nothing).
      interval: noise levels sigma/alpha, lowest and highest, where the scale holds (2).
      rescale: share of the rescaled prediction (3), from 0 to 1; 0.7 in the paper.

    Raises:
      UserError: a scale, interval or share out of range.
    """
    require_guidance(scale, interval, rescale)
    if scale == 1:
        return denoise

    def denoise_guided(xt: Array, t: Array, cond: Condition) -> Array:
        null = null_condition(cond, null_label)
        twice = Condition(interleave(cond.label, null.label), interleave(cond.value, null.value))
        output = denoise(jnp.repeat(xt, 2, axis=0), jnp.repeat(t, 2), twice)
        with_cond, without = output[0::2], output[1::2]
        level = noise_level(schedule, t)
        held = (interval[0] <= level) & (level <= interval[1])
        factor = jnp.where(held, scale, 1.0).astype(xt.dtype)[:, None, None, None]
        return rescale_std(without + factor * (with_cond - without), with_cond, rescale)

    return denoise_guided


def autoguide(strong: Denoiser, weak: Denoiser, *, scale: float) -> Denoiser:
    """Return a model guided by a worse one, such as an earlier checkpoint of its own (4).

    Args:
      strong: the model.
      weak: the worse one.
      scale: factor of their difference.

    Raises:
      UserError: a scale out of range.
    """
    require_guidance(scale)

    def denoise_guided(xt: Array, t: Array, cond: Condition) -> Array:
        worse = weak(xt, t, cond)
        return worse + scale * (strong(xt, t, cond) - worse)

    return denoise_guided


def require_guidance(
    scale: float, interval: tuple[float, float] = (0.0, math.inf), rescale: float = 0.0
) -> None:
    """Refuse guidance out of range.

    Args:
      scale: scale of the guidance.
      interval: noise levels between which it holds.
      rescale: share of the rescaled prediction.

    Raises:
      UserError: a negative or infinite scale, an interval that does not rise, a share outside [0, 1].
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise UserError("guidance", f"{scale} is not a finite number of 0 or more", "1 is off")
    if not 0 <= interval[0] <= interval[1]:
        raise UserError(
            "guidance_interval", f"{interval} does not rise from 0 or more", "give the lower level first"
        )
    if not 0 <= rescale <= 1:
        raise UserError("guidance_rescale", f"{rescale} lies outside [0, 1]", "give a share, as in 0.7")


def interleave(first: Array, second: Array) -> Array:
    """Return rows 0, 0, 1, 1, ... of two arrays, so that both rows of an image stay on its device."""
    return jnp.stack([first, second], axis=1).reshape(2 * first.shape[0], *first.shape[1:])


def rescale_std(
    guided: Float[Array, "B H W C"], with_cond: Float[Array, "B H W C"], share: float
) -> Float[Array, "B H W C"]:
    """Give each image a share of the standard deviation that it had without guidance (3)."""
    if share == 0:
        return guided
    axes = (1, 2, 3)
    factor = jnp.std(with_cond, axes, keepdims=True) / jnp.std(guided, axes, keepdims=True)
    return guided * (share * factor + (1 - share))
