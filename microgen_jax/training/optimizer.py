"""AdamW with a warmed-up learning rate and a clipped gradient norm."""

import jax
import optax

from microgen_jax.types import Params


def learning_rate_schedule(
    learning_rate: float, lr_schedule: str, warmup_steps: int, schedule_steps: int
) -> optax.Schedule:
    """Return a linear warm-up to `learning_rate`, then a cosine to zero at `schedule_steps`, or the constant.

    Args:
      learning_rate: learning rate at the peak.
      lr_schedule: 'cosine' or 'constant'.
      warmup_steps: updates until the peak; at most `schedule_steps`.
      schedule_steps: updates until the cosine's end.
    """
    warmup = min(warmup_steps, schedule_steps)
    if lr_schedule == "constant":
        return optax.warmup_constant_schedule(0.0, learning_rate, max(warmup, 1))
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, max(schedule_steps, warmup + 1))


def _decayed(params: Params) -> Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def adamw(
    schedule: optax.Schedule,
    *,
    weight_decay: float,
    clip_norm: float,
    b1: float = 0.9,
    b2: float = 0.999,
) -> optax.GradientTransformation:
    """Return AdamW (Loshchilov and Hutter 2019) behind a clip of the global gradient norm.

    Weights are decayed where they have more than one axis: kernels and tables, not biases and norm scales.

    Args:
      schedule: learning rate by update.
      weight_decay: decoupled weight decay, times the learning rate.
      clip_norm: largest global norm let through; 0 leaves the gradient alone.
      b1: decay of the first moment.
      b2: decay of the second moment.
    """
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    return optax.chain(clip, optax.adamw(schedule, b1, b2, weight_decay=weight_decay, mask=_decayed))
