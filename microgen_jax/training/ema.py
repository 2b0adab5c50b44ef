"""Averages of the parameters with power-function profiles, and averages of any width after training.

  (1) p(tau, t) = (g + 1) tau^g / t^(g+1),  0 <= tau <= t        Karras et al. 2023 (EDM2), section 3.1
  (2) avg_t = b avg_(t-1) + (1 - b) theta_t,  b = (1 - 1/t)^(g+1)
  (3) width = sqrt((g + 1) / ((g + 2)^2 (g + 3)))                standard deviation of (1) over t, EDM2's sigma_rel

Averages of other widths are sums of stored ones, over profiles and checkpoints, whose profiles come closest to the one
that is wanted (section 3.2): x = argmin |sum x_i p_i - p|^2, by the inner products (4). Here sum x_i = 1 holds as well,
so that few checkpoints make another average and never parameters of another size:

  (4) (p_a, p_b) = (a + 1)(b + 1) m^(a+b+1) / ((a + b + 1) t_a^(a+1) t_b^(b+1)),  m = min(t_a, t_b)
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int

from microgen_jax.errors import UserError
from microgen_jax.types import Params

WIDEST = 12**-0.5  # of (3), at g = 0: the plain mean of all parameters so far


def exponent(width: float) -> float:
    """Return the exponent g of a width, by (3).

    Args:
      width: standard deviation of the profile, relative to the run's length.

    Raises:
      UserError: no profile has this width.
    """
    if not 0 < width < WIDEST:
        raise UserError(
            "width",
            f"{width:g} must lie between 0 and {WIDEST:.3f}, relative to the run's length",
            "choose 0.05 or 0.1, as EDM2 does",
        )
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    return float(roots.real.max())


def update(average: Params, params: Params, width: float, step: Int[Array, ""]) -> Params:
    """Return an average after one step of (2).

    Args:
      average: average so far.
      params: parameters after this update.
      width: width of its profile.
      step: number of updates done, 1 after the first.
    """
    t = step.astype(jnp.float32)
    share = -jnp.expm1((exponent(width) + 1) * jnp.log1p(-1 / t))
    return jax.tree.map(lambda a, p: a + share * (p - a), average, params)


def coefficients(
    widths: Sequence[float], steps: Sequence[int], width: float, step: int
) -> Float64[np.ndarray, "N"]:
    """Return the weights of the stored averages whose sum comes closest to the wanted profile.

    Args:
      widths: width of each stored average.
      steps: step at which each was stored.
      width: wanted width.
      step: step at which it is wanted, not later than the last stored one.
    """
    g, t = np.array([exponent(w) for w in widths]), np.array(steps, float)
    products = step * _inner(g[:, None], t[:, None], g[None], t[None])
    wanted = step * _inner(g, t, np.array([exponent(width)]), np.array([float(step)]))
    one = np.ones((g.size, 1))
    constrained = np.block([[products, one], [one.T, np.zeros((1, 1))]])
    return np.linalg.lstsq(constrained, np.append(wanted, 1.0), rcond=None)[0][:-1]


def misfit(
    weights: Float64[np.ndarray, "N"], widths: Sequence[float], steps: Sequence[int], width: float, step: int
) -> float:
    """Return how far a sum of stored profiles lies from the wanted one: |sum x_i p_i - p| / |p|.

    Args:
      weights: x, from `coefficients`.
      widths: width of each stored average.
      steps: step at which each was stored.
      width: wanted width.
      step: step at which it is wanted.
    """
    g, t = np.array([exponent(w) for w in (*widths, width)]), np.array([*steps, step], float)
    products = _inner(g[:, None], t[:, None], g[None], t[None])
    difference = np.append(weights, -1.0)
    return float(np.sqrt(max(difference @ products @ difference, 0.0) / products[-1, -1]))


def _inner(a: np.ndarray, t_a: np.ndarray, b: np.ndarray, t_b: np.ndarray) -> np.ndarray:
    m = np.minimum(t_a, t_b)
    return (a + 1) * (b + 1) / (a + b + 1) * (m / t_a) ** a * (m / t_b) ** b * m / (t_a * t_b)
