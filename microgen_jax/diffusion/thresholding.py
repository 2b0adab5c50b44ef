"""Keeping the predicted x0 where images are, [-1, 1]."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from microgen_jax.errors import UserError


def static(x0: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Clip to [-1, 1]."""
    return jnp.clip(x0, -1.0, 1.0)


def dynamic(x0: Float[Array, "B H W C"], percentile: float) -> Float[Array, "B H W C"]:
    """Clip each image to [-s, s] and divide it by s, the given percentile of |x0| or 1 if that is larger.

    Saharia et al. 2022 (Imagen), section 2.3.
    """
    s = jnp.maximum(jnp.quantile(jnp.abs(x0), percentile / 100, axis=(1, 2, 3), keepdims=True), 1.0)
    return jnp.clip(x0, -s, s) / s


def make_threshold(clip: bool, percentile: float = 0.0) -> Callable[[Array], Array] | None:
    """Return the function that x0 goes through, or None where it is left alone.

    Args:
      clip: whether x0 is kept in [-1, 1].
      percentile: 0 is static thresholding; from 1 to 100 dynamic thresholding at this percentile of |x0|.

    Raises:
      UserError: a percentile that is neither, such as the share 0.995 for 99.5.
    """
    if percentile != 0 and not 1 <= percentile <= 100:
        raise UserError(
            "clip_percentile",
            f"{percentile} lies outside [1, 100]",
            "give a percentile, as in 99.5, or 0 for plain clipping",
        )
    if not clip:
        return None
    return partial(dynamic, percentile=percentile) if percentile > 0 else static
