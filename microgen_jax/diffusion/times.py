"""The time that every training example is diffused to.

A number u in [0, 1) an example is turned into a time by t = floor(u T), or by the inverse of a cumulated
probability. The ways differ in where u comes from:

  uniform     sampled for each example on its own
  stratified  u_i = frac(u + i / B), one u for the batch (Kingma et al. 2021, appendix I.1)
  importance  stratified, through probabilities p ~ sqrt(E[loss^2 | t]); the loss is then weighted by
              1 / (T p[t]), which leaves its mean as it was (Nichol & Dhariwal 2021, eq. 18)
  fixed       u_i = frac(1/2 + i / golden ratio): a function of the example's index alone, evenly spread
              over any run of examples, so that held-out losses of two checkpoints see the same times;
              in 32-bit integers, where the fraction is what is left after overflow (Knuth, vol. 3, 6.4)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from microgen_jax.errors import UserError, require_known

TIME_SAMPLINGS = ("uniform", "stratified", "importance", "fixed")
INVERSE_GOLDEN_RATIO = 2654435769  # times 2^32


def sample_times(
    time_sampling: str,
    key: Key[Array, ""],
    row_keys: Key[Array, "B"],
    rows: Int[Array, "B"],
    total: int,
    timesteps: int,
    probabilities: Float[Array, "T"] | None = None,
) -> Int[Array, "B"]:
    """Sample a time in 0..T-1 for every example.

    Args:
      time_sampling: 'uniform', 'stratified', 'importance' or 'fixed'.
      key: PRNG key of this batch.
      row_keys: PRNG key of each example.
      rows: index of each example in the global batch (in the held-out set, for 'fixed').
      total: number of examples in the global batch.
      timesteps: length T of the chain.
      probabilities: probability of each time, for 'importance'.

    Raises:
      UserError: an unknown name, or 'importance' without probabilities.
    """
    require_known("time_sampling", time_sampling, TIME_SAMPLINGS)
    if time_sampling == "uniform":
        u = jax.vmap(lambda k: jax.random.uniform(k, dtype=jnp.float32))(row_keys)
    elif time_sampling == "fixed":
        fraction = jnp.uint32(2**31) + rows.astype(jnp.uint32) * jnp.uint32(INVERSE_GOLDEN_RATIO)
        u = (fraction >> 8).astype(jnp.float32) / 2**24
    else:
        u = (jax.random.uniform(key, dtype=jnp.float32) + rows.astype(jnp.float32) / total) % 1.0
    if time_sampling == "importance":
        if probabilities is None:
            raise UserError(
                "probabilities", "missing for time_sampling 'importance'", "give one for each time"
            )
        t = jnp.searchsorted(jnp.cumsum(probabilities), u, side="right").astype(jnp.int32)
    else:
        t = (u * timesteps).astype(jnp.int32)
    return jnp.minimum(t, timesteps - 1)


def update_square_losses(
    square_losses: Float[Array, "T"], squares: Float[Array, "2 T"], decay: float = 0.9
) -> Float[Array, "T"]:
    """Fold a batch's losses into the running mean of loss^2 at each time; zero stands for "not seen yet".

    Args:
      square_losses: the running mean.
      squares: counts and sums of `losses.LossParts.squares`; a common factor does not matter.
      decay: weight of the running mean, at the times that the batch has.
    """
    count, total = squares
    mean = total / jnp.where(count == 0, 1.0, count)
    blended = jnp.where(square_losses == 0, mean, decay * square_losses + (1 - decay) * mean)
    return jnp.where(count == 0, square_losses, blended)


def importance(square_losses: Float[Array, "T"], uniform_share: float = 0.001) -> Float[Array, "T"]:
    """Return probabilities of the times, p ~ sqrt(E[loss^2 | t]), uniform until every time was seen.

    Args:
      square_losses: running mean of loss^2, from `update_square_losses`.
      uniform_share: share spread evenly, so that no time starves.
    """
    root = jnp.sqrt(square_losses)
    even = jnp.ones_like(root) / root.size
    p = (1 - uniform_share) * root / jnp.maximum(root.sum(), 1e-20) + uniform_share * even
    return jnp.where(jnp.all(square_losses > 0), p, even)
