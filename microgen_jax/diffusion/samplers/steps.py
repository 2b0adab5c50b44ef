"""Samplers, each a step function: from the image at time t to the one at the next kept time s.

All steps share one signature, `step(predict, xt, memory, move, noise) -> (xs, x0)`:

  predict  (xt, t, alpha, sigma) -> (x0, eps), the network's answer, thresholded
  memory   the x0 of the two steps before, the later one first
  move     the scalars of this step, a `Move`
  noise    () -> standard normal noise of this step; a deterministic step never calls it

With h = log(alpha_s sigma_t / (sigma_s alpha_t)), half the gain in log_snr, and g = 1 - e^(-2h):

  (1) ancestral  xs = alpha_s g x0 + (sigma_s/sigma_t) e^(-h) xt + std z       Ho et al. 2020, eq. 7
                 std^2 = sigma_s^2 g (small) or sigma_t^2 g (large)
  (2) ddim       xs = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std z         Song et al. 2021, eq. 12
                 std^2 = eta^2 sigma_s^2 g; eta = 1 is (1) with its small variance
  (3) euler      (2) with eta = 0: in y = x/alpha and r = sigma/alpha it reads dy/dr = eps, whose Euler step
                 y_s = y_t + (r_s - r_t) eps is (2)                            Karras et al. 2022, algorithm 1
  (4) heun       xs = (3) + alpha_s (r_s - r_t)/2 (eps' - eps), eps' predicted at (3);
                 (3) alone where r is infinite or r_s = 0                      Karras et al. 2022, algorithm 1
  (5) dpmpp2m    xs = (sigma_s/sigma_t) e^(-eta h) xt + alpha_s (1 - e^(-(1+eta) h)) D
                      + sigma_s sqrt(1 - e^(-2 eta h)) z
                 D = x0 + (h / 2h') (x0 - x0'), primes for the step before; x0 on the first and last step
                 eta = 0: Lu et al. 2022b, algorithm 2; eta = 1: its SDE form, section 5
  (6) unipc      xt corrected by the x0 predicted there, and from that (5) with eta = 0:
                 xt + alpha_t g' [b (x0 - x0') - (1/2 - a) (h'/h'') (x0' - x0'')],  g' = 1 - e^(-h')
                 m = (h' - g') / (h' g'),  a = (m - (h'^2 - 2h' + 2g') / (h'^2 g')) h' / (h' + h''),
                 b = m - a; after the first step b = 1/2 and no second term
                                          Zhao et al. 2023, algorithms 1 and 2 of order 2, B(h) = e^h - 1
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from microgen_jax.diffusion.spacing import Levels, log_snr_of
from microgen_jax.errors import UserError, require_known

Predict = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
Images = Float[Array, "B H W C"]

NO_NOISE_LEFT = 100.0  # h where it is infinite: e^-100 is nothing, and 0 h is still 0


class Move(NamedTuple):
    """One step from t to s: scalars inside the scan, [n] on the host.

    Attributes:
      k: int32, number of the step, from 0.
      t: time that the network is told at the start (int32, or float between trained times).
      s: time that it is told at the end.
      alpha: factor of the image at t.
      sigma: standard deviation of the noise at t.
      alpha_s: as alpha, at s.
      sigma_s: as sigma, at s.
      h: half the gain in log_snr, at most NO_NOISE_LEFT.
      slope: alpha_s (r_s - r_t) / 2 of (4), zero where a Heun step is an Euler step.
      lookback: h / 2h' of (5), zero on the first and the last step.
      correction: alpha_t g' b of (6), zero on the first step and after one from pure noise.
      correction_before: alpha_t g' (1/2 - a) h'/h'' of (6), zero on the second step as well.
    """

    k: Array
    t: Array
    s: Array
    alpha: Array
    sigma: Array
    alpha_s: Array
    sigma_s: Array
    h: Array
    slope: Array
    lookback: Array
    correction: Array
    correction_before: Array


Memory = tuple[Images, Images]
Step = Callable[[Predict, Images, Memory, Move, Callable[[], Array]], tuple[Images, Images]]


def make_moves(levels: Levels) -> Move:
    """Works out the scalars of every step in float64 on the host."""
    h = np.diff(log_snr_of(levels)) / 2
    finite = np.isfinite(h)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = levels.sigma / levels.alpha
        slope = np.where(finite, levels.alpha[1:] * np.diff(ratio) / 2, 0.0)
        lookback = np.append(0.0, h[1:] / (2 * h[:-1]))
    now, before = corrections(h)
    return Move(
        k=np.arange(h.size, dtype=np.int32),
        t=levels.t[:-1],
        s=levels.t[1:],
        alpha=levels.alpha[:-1],
        sigma=levels.sigma[:-1],
        alpha_s=levels.alpha[1:],
        sigma_s=levels.sigma[1:],
        h=np.where(finite, h, NO_NOISE_LEFT),
        slope=slope,
        lookback=np.where(finite, lookback, 0.0),
        correction=levels.alpha[:-1] * now,
        correction_before=levels.alpha[:-1] * before,
    )


def corrections(h: Float64[np.ndarray, "n"]) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The factors g' b and g' (1/2 - a) h'/h'' of (6) at every step."""
    led, gain = h[:-1], -np.expm1(-h[:-1])
    with np.errstate(invalid="ignore"):
        ratio = led / np.append(np.inf, h[:-2])
        moment, second = (led - gain) / (led * gain), (led**2 - 2 * led + 2 * gain) / (led**2 * gain)
        a = (moment - second) * ratio / (1 + ratio)
    b = np.append(0.5, (moment - a)[1:])[: led.size]
    finite = np.isfinite(led)
    now, before = np.where(finite, gain * b, 0.0), np.where(finite, gain * (0.5 - a) * ratio, 0.0)
    return np.append(0.0, now), np.append(0.0, before)


def ancestral(
    predict: Predict,
    xt: Images,
    memory: Memory,
    move: Move,
    noise: Callable[[], Array],
    *,
    large_variance: bool = False,
) -> tuple[Images, Images]:
    """Draws from the chain's posterior given the predicted x0 (1); the last step draws nothing."""
    x0, _ = predict(xt, move.t, move.alpha, move.sigma)
    gain = -jnp.expm1(-2 * move.h)
    mean = move.alpha_s * gain * x0 + move.sigma_s / move.sigma * jnp.exp(-move.h) * xt
    std = jnp.sqrt(gain) * jnp.where(move.sigma_s == 0, 0.0, move.sigma if large_variance else move.sigma_s)
    return mean + std * noise(), x0


def ddim(
    predict: Predict,
    xt: Images,
    memory: Memory,
    move: Move,
    noise: Callable[[], Array],
    *,
    eta: float,
) -> tuple[Images, Images]:
    """Goes on along the predicted noise, a share eta of it drawn anew (2); eta = 0 is deterministic (3)."""
    x0, eps = predict(xt, move.t, move.alpha, move.sigma)
    if eta == 0:
        return move.alpha_s * x0 + move.sigma_s * eps, x0
    fresh = eta**2 * -jnp.expm1(-2 * move.h)
    return move.alpha_s * x0 + move.sigma_s * (jnp.sqrt(1 - fresh) * eps + jnp.sqrt(fresh) * noise()), x0


def heun(
    predict: Predict, xt: Images, memory: Memory, move: Move, noise: Callable[[], Array]
) -> tuple[Images, Images]:
    """Corrects an Euler step by the slope at its end (4), at the price of a second call of the network."""
    x0, eps = predict(xt, move.t, move.alpha, move.sigma)
    euler = move.alpha_s * x0 + move.sigma_s * eps

    def correct() -> Images:
        _, eps_s = predict(euler, move.s, move.alpha_s, move.sigma_s)
        return euler + move.slope * (eps_s - eps)

    return jax.lax.cond(move.slope != 0, correct, lambda: euler), x0


def dpmpp2m(
    predict: Predict,
    xt: Images,
    memory: Memory,
    move: Move,
    noise: Callable[[], Array],
    *,
    eta: float,
) -> tuple[Images, Images]:
    """Extrapolates x0 from this step and the one before (5)."""
    x0, _ = predict(xt, move.t, move.alpha, move.sigma)
    ahead = x0 + move.lookback * (x0 - memory[0])
    xs = move.sigma_s / move.sigma * jnp.exp(-eta * move.h) * xt
    xs = xs - move.alpha_s * jnp.expm1(-(1 + eta) * move.h) * ahead
    if eta == 0:
        return xs, x0
    return xs + move.sigma_s * jnp.sqrt(-jnp.expm1(-2 * eta * move.h)) * noise(), x0


def unipc(
    predict: Predict, xt: Images, memory: Memory, move: Move, noise: Callable[[], Array]
) -> tuple[Images, Images]:
    """Mends the step that led here by what the network says now, and goes on as `dpmpp2m` (6)."""
    x0, _ = predict(xt, move.t, move.alpha, move.sigma)
    last, earlier = memory
    mended = xt + move.correction * (x0 - last) - move.correction_before * (last - earlier)
    ahead = x0 + move.lookback * (x0 - last)
    return move.sigma_s / move.sigma * mended - move.alpha_s * jnp.expm1(-move.h) * ahead, x0


SAMPLERS = {
    "ancestral": ancestral,
    "ancestral_large": partial(ancestral, large_variance=True),
    "ddim": ddim,
    "euler": partial(ddim, eta=0.0),
    "heun": heun,
    "dpmpp2m": partial(dpmpp2m, eta=0.0),
    "dpmpp2m_sde": partial(dpmpp2m, eta=1.0),
    "unipc": unipc,
}


def make_step(sampler: str, eta: float = 0.0) -> Step:
    """Gives the step function of a sampler.

    Args:
      sampler: 'ancestral' and 'ancestral_large' (small and large variance), 'ddim', 'euler', 'heun',
        'dpmpp2m', 'dpmpp2m_sde', 'unipc'.
      eta: share of fresh noise, for 'ddim' alone.

    Raises:
      UserError: an unknown name, or an eta outside [0, 1] or with another sampler.
    """
    require_known("sampler", sampler, SAMPLERS)
    if not 0 <= eta <= 1:
        raise UserError(f"eta (={eta}) must lie in [0, 1]")
    if sampler == "ddim":
        return partial(ddim, eta=eta)
    if eta != 0:
        raise UserError(f"eta (={eta}) is for sampler 'ddim' only: leave it 0 for {sampler!r}")
    return SAMPLERS[sampler]
