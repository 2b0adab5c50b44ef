"""Noise schedules: how much of the image is left at every time of the chain.

With t in 0..T-1 (the papers' t, shifted by one):

  (1) alpha_bar[t] = prod_{r <= t} (1 - beta[r])       Ho et al. 2020, section 2
  (2) alpha[t] = sqrt(alpha_bar[t]),  sigma[t] = sqrt(1 - alpha_bar[t])
  (3) log_snr[t] = log(alpha[t]^2 / sigma[t]^2)        Kingma et al. 2021, eq. 3

Tables are float64 numpy arrays made once on the host. Jitted code closes over them: `at` turns one into a
constant of the dtype of the image at hand (float32, or float64 in tests) and looks it up.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from microgen_jax.errors import UserError, require_known

MAX_LEFT = 0.01  # share of the image's variance that the end of a chain may hold; Ho et al. 2020 leave 4e-5


class Schedule(NamedTuple):
    """The tables of a noise schedule, float64 [T] each, in order of growing noise.

    Attributes:
      beta: variance added by a single step of the forward chain.
      alpha_bar: share of the image's variance that is left (1).
      alpha: factor of the image (2).
      sigma: standard deviation of the noise (2).
      log_snr: logarithm of the signal-to-noise ratio (3); -inf where alpha is zero.
    """

    beta: np.ndarray
    alpha_bar: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    log_snr: np.ndarray

    @property
    def timesteps(self) -> int:
        """Length T of the chain."""
        return self.beta.size

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether nothing of the image is left at T-1."""
        return bool(self.alpha[-1] == 0)


def linear_betas(timesteps: int, beta_start: float, beta_end: float) -> Float64[np.ndarray, "T"]:
    """Return betas of Ho et al. 2020, section 4."""
    return np.linspace(beta_start, beta_end, timesteps)


def cosine_betas(timesteps: int, beta_start: float, beta_end: float) -> Float64[np.ndarray, "T"]:
    """Return betas of Nichol & Dhariwal 2021, eq. 17, with s = 0.008 and beta at most 0.999; the ends play no part."""
    progress = np.arange(timesteps + 1) / timesteps
    alpha_bar = np.cos((progress + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def sigmoid_betas(timesteps: int, beta_start: float, beta_end: float) -> Float64[np.ndarray, "T"]:
    """Return betas of Xu et al. 2022 (GeoDiff): a sigmoid over [-6, 6] between the two ends of beta."""
    return beta_start + (beta_end - beta_start) / (1 + np.exp(-np.linspace(-6, 6, timesteps)))


SCHEDULES: dict[str, Callable[[int, float, float], np.ndarray]] = {
    "linear": linear_betas,
    "cosine": cosine_betas,
    "sigmoid": sigmoid_betas,
}


def make_schedule(
    name: str,
    timesteps: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    zero_terminal_snr: bool = False,
) -> Schedule:
    """Make the tables of a schedule.

    Args:
      name: 'linear', 'cosine' or 'sigmoid'.
      timesteps: length T of the chain.
      beta_start: first beta; linear and sigmoid only.
      beta_end: last beta; linear and sigmoid only.
      zero_terminal_snr: whether alpha is shifted and scaled so that nothing of the image is left at T-1.

    Raises:
      UserError: an unknown name, fewer than one time step, or betas that do not rise inside (0, 1).
    """
    require_known("schedule", name, SCHEDULES)
    if timesteps < 1:
        raise UserError(
            "timesteps", f"{timesteps} is less than 1", "give the length of the chain, as in 1000"
        )
    if not 0 < beta_start <= beta_end < 1:
        raise UserError(
            "beta_start" if not 0 < beta_start < 1 else "beta_end",
            f"beta_start={beta_start} and beta_end={beta_end} do not rise inside (0, 1)",
            "give two betas, as in 0.0001 and 0.02",
        )
    beta = SCHEDULES[name](timesteps, beta_start, beta_end)
    alpha_bar = np.cumprod(1 - beta)
    if zero_terminal_snr:
        alpha_bar = rescale_to_zero_terminal_snr(alpha_bar)
        beta = 1 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]])
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha_bar) - np.log1p(-alpha_bar)
    return Schedule(beta, alpha_bar, np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar), log_snr)


def still_visible(schedule: Schedule) -> str:
    """Return a warning where the chain ends with the image still visible, else ''.

    Args:
      schedule: the schedule that is trained.
    """
    left = float(schedule.alpha_bar[-1])
    if left <= MAX_LEFT:
        return ""
    return (
        f"after all {schedule.timesteps} time steps {left:.1%} of the image's variance is left, and sampling starts "
        "from pure noise: raise diffusion.timesteps or beta_end, or set diffusion.schedule=cosine"
    )


def rescale_to_zero_terminal_snr(alpha_bar: Float64[np.ndarray, "T"]) -> Float64[np.ndarray, "T"]:
    """Keep alpha at time 0 and bring it to exactly zero at T-1 (Lin et al. 2023, algorithm 1).

    Raises:
      UserError: a chain of one step has no two ends to keep apart.
    """
    if alpha_bar.size < 2:
        raise UserError(
            "zero_terminal_snr", "a chain of one step has no two ends", "set timesteps to 2 or more"
        )
    alpha = np.sqrt(alpha_bar)
    return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2


def at(
    table: Float64[np.ndarray, "T"], t: Int[Array, "B"], x: Float[Array, "B H W C"]
) -> Float[Array, "B 1 1 1"]:
    """Look a table up at every example's own time, in the dtype of `x` and shaped to scale it."""
    return jnp.asarray(table, x.dtype)[t][:, None, None, None]
