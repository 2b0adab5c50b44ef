"""The noise levels that a sampler visits: which times of the chain are kept.

With T times and n steps, k = 0..n-1:

  (1) trailing  t_k = round(T - k T/n) - 1             Lin et al. 2023, table 2; starts at T-1
  (2) linspace  t_k = round((T-1) (1 - k/(n-1)))       starts at T-1 and ends at 0
  (3) leading   t_k = (n-1-k) floor(T/n)               Ho's and Nichol's code; ends at 0, starts below T-1
  (4) karras    sigma_k/alpha_k = (a + k/(n-1) (b-a))^7, a and b the seventh roots of the
                largest and the smallest sigma/alpha   Karras et al. 2022, eq. 5

After the last kept time comes the clean image, alpha = 1 and sigma = 0. The first three keep whole times
(int32). Karras' noise levels lie between the times that were trained, so t is a float32: the one at which
log_snr, interpolated between the chain's own, is the level's. A sinusoidal time embedding takes it as it is.

`trailing`, `linspace` and `karras` start from the noise that training ended in; `leading` does not.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.errors import UserError, require_known

SPACINGS = ("trailing", "linspace", "leading", "karras")
KARRAS_RHO = 7.0


class NoiseLevels(NamedTuple):
    """Noise levels in the order in which a sampler visits them, on the host.

    Attributes:
      t: int32 or float64 [n+1], times that the network is given; that of a clean end is never used.
      alpha: float64 [n+1], factor of the image.
      sigma: float64 [n+1], standard deviation of the noise.
    """

    t: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray


def make_levels(schedule: Schedule, steps: int, spacing: str) -> NoiseLevels:
    """Choose the noise levels of a sampler, the clean end included.

    Args:
      schedule: noise schedule of the chain.
      steps: number of levels n, from 1 to T.
      spacing: 'trailing', 'linspace', 'leading' or 'karras'.

    Raises:
      UserError: an unknown name, steps outside 1..T, or a spacing that the zero terminal SNR rules out.
    """
    require_known("spacing", spacing, SPACINGS)
    if not 1 <= steps <= schedule.timesteps:
        raise UserError(
            "steps",
            f"{steps} lies outside 1..{schedule.timesteps}",
            "the chain has no more timesteps than that",
        )
    if spacing == "karras":
        return karras_levels(schedule, steps)
    t = {"trailing": trailing, "linspace": linspace, "leading": leading}[spacing](schedule.timesteps, steps)
    if schedule.zero_terminal_snr and t[0] != schedule.timesteps - 1:
        raise UserError(
            "spacing",
            f"{spacing!r} starts at time {t[0]} and not at {schedule.timesteps - 1}, where the SNR is zero",
            "use 'trailing' or 'linspace'",
        )
    return NoiseLevels(
        np.append(t, 0).astype(np.int32),
        np.append(schedule.alpha[t], 1.0),
        np.append(schedule.sigma[t], 0.0),
    )


def trailing(timesteps: int, steps: int) -> Int64[np.ndarray, "n"]:
    """Return the kept times by (1)."""
    return np.round(timesteps - np.arange(steps) * (timesteps / steps)).astype(int) - 1


def linspace(timesteps: int, steps: int) -> Int64[np.ndarray, "n"]:
    """Return the kept times by (2)."""
    return np.round(np.linspace(timesteps - 1, 0, steps)).astype(int)


def leading(timesteps: int, steps: int) -> Int64[np.ndarray, "n"]:
    """Return the kept times by (3)."""
    return np.arange(steps)[::-1] * (timesteps // steps)


def karras_levels(schedule: Schedule, steps: int) -> NoiseLevels:
    """Return the levels of (4), with the fractional times that belong to them.

    Args:
      schedule: noise schedule of the chain.
      steps: number of levels n.

    Raises:
      UserError: zero terminal SNR, whose first sigma/alpha is infinite.
    """
    if schedule.zero_terminal_snr:
        raise UserError(
            "spacing",
            "'karras' has no first noise level at zero terminal SNR",
            "use 'trailing' or 'linspace'",
        )
    ratio = np.exp(-schedule.log_snr / 2)
    ends = ratio[[-1, 0]] ** (1 / KARRAS_RHO)
    levels = (ends[0] + np.linspace(0, 1, steps) * (ends[1] - ends[0])) ** KARRAS_RHO
    t = np.interp(np.log(levels), np.log(ratio), np.arange(ratio.size))
    alpha = 1 / np.sqrt(1 + levels**2)
    return NoiseLevels(np.append(t, 0.0), np.append(alpha, 1.0), np.append(levels * alpha, 0.0))


def start_at(levels: NoiseLevels, schedule: Schedule, time: int) -> NoiseLevels:
    """Return the levels from a time on: the nearest one is moved to that time, and those after it follow.

    Args:
      levels: levels of the whole chain, the clean end included.
      schedule: noise schedule of the chain.
      time: whole time in 0..T-1 to start at.

    Raises:
      UserError: a time outside of the chain.
    """
    if not 0 <= time < schedule.timesteps:
        raise UserError(
            "start_time", f"{time} lies outside 0..{schedule.timesteps - 1}", "give a time of the chain"
        )
    after = np.abs(levels.t[:-1] - time).argmin() + 1
    first = (time, schedule.alpha[time], schedule.sigma[time])
    tables = (np.append(value, table[after:]).astype(table.dtype) for value, table in zip(first, levels))
    return NoiseLevels(*tables)


def log_snr_of(levels: NoiseLevels) -> Float64[np.ndarray, "n"]:
    """Return 2 log(alpha / sigma) of every level; infinite at a clean end, minus infinity at pure noise."""
    with np.errstate(divide="ignore"):
        return 2 * (np.log(levels.alpha) - np.log(levels.sigma))
