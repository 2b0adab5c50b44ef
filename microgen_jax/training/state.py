"""The state of a run: arrays only, so that a checkpoint is the state and nothing else."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from microgen_jax.types import Batch, Metrics, Params


@struct.dataclass
class TrainState:
    """What changes from one update to the next.

    Attributes:
      step: int32 [], the number of updates done.
      params: the trained parameters, float32.
      ema_params: their exponential moving average, float32; what samples are generated with.
      opt_state: the optimizer's state.
      extra: further arrays of a method by name, such as running losses or further averages.
    """

    step: Any
    params: Any
    ema_params: Any
    opt_state: Any
    extra: Any = struct.field(default_factory=dict)


def create(
    params: Params, optimizer: optax.GradientTransformation, extra: dict[str, Any] | None = None
) -> TrainState:
    """Return the state before the first update; the average starts as a copy of the parameters.

    Args:
      params: parameters, float32.
      optimizer: optimizer of these parameters.
      extra: arrays that the method keeps beside them, by name.
    """
    average = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, average, optimizer.init(params), extra or {})


def ema_update(ema: Params, params: Params, decay: float, step: Int[Array, ""]) -> Params:
    """Return the moving average after one more update, warmed up: decay_t = min(decay, (1 + t) / (10 + t)).

    The warm-up (TensorFlow's `ExponentialMovingAverage` with `num_updates`) lets the average forget the
    initial weights within the first tenth of a run, however close to 1 its decay is.

    Args:
      ema: average so far.
      params: parameters after this update.
      decay: largest decay.
      step: t, the number of updates before this one.
    """
    t = step.astype(jnp.float32)
    keep = jnp.minimum(decay, (1.0 + t) / (10.0 + t))
    return jax.tree.map(lambda e, p: e + (1.0 - keep) * (p - e), ema, params)


def apply_gradients(
    state: TrainState, grads: Params, optimizer: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    """Return the state after one update of the parameters and of their average; `extra` stays.

    Args:
      state: state before the update.
      grads: gradient of the parameters.
      optimizer: optimizer that `state.opt_state` belongs to.
      ema_decay: largest decay of the average.
    """
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = ema_update(state.ema_params, params, ema_decay, state.step)
    return TrainState(state.step + 1, params, ema, opt_state, state.extra)


def finite_layers(grads: Params) -> Bool[Array, "G"]:
    """Return whether the gradient is finite, for each entry of the tree's first level, sorted by name."""
    return jnp.stack([jnp.isfinite(optax.tree.norm(part)) for _, part in sorted(grads.items())])


def accumulated_gradients(
    loss: Callable[[Params, Batch, Array, jax.Array], tuple[Float[Array, ""], Metrics]],
    params: Params,
    batch: Batch,
    key: jax.Array,
    count: int,
) -> tuple[Metrics, Params]:
    """Return means of a loss's metrics and gradients over `count` micro-batches, taken in turn to save memory.

    Args:
      loss: `(params, batch, rows, key) -> (scalar, metrics)`; its random numbers of an image should depend on the
        image's row in the whole batch, so that the cut does not matter.
      params: parameters to differentiate by.
      batch: batch [B, ...]; micro-batch i takes the rows i, i + count, ... so that every device keeps its own rows.
      key: PRNG key of this batch, passed to every micro-batch.
      count: number of micro-batches; divides B.
    """
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    rows = jnp.arange(batch.label.shape[0])
    if count == 1:
        (_, metrics), grads = value_and_grad(params, batch, rows, key)
        return metrics, grads

    def split(x):
        return jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)

    def add(total, part):
        (_, metrics), grads = value_and_grad(params, *part, key)
        return jax.tree.map(jnp.add, total, (metrics, grads)), None

    parts = jax.tree.map(split, (batch, rows))
    first = jax.tree.map(lambda x: x[0], parts)
    (_, metrics), grads = jax.eval_shape(value_and_grad, params, *first, key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (metrics, grads))
    total, _ = jax.lax.scan(add, zeros, parts)
    return jax.tree.map(lambda x: x / count, total)
