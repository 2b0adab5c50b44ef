"""One scan that runs every sampler.

  xT ~ N(0, I);  for k = 0..n-1:  x, x0 = step(predict, x, the two x0 before, move[k], noise[k])

A network that was trained briefly predicts less noise than there is, and deterministic steps keep what it leaves in.
Its noise made k times as much (Ning et al. 2024, who scale it down) gives

  x0' = x0 - (k - 1) min(sigma / alpha, 10) eps         the bound holds x0' where there is hardly an image left

The noise of image i at step k is a function of its own key and of k alone, so an image is the same
whichever batch it is drawn in, as long as the batches have one shape.

    x0 = sample(denoise, schedule, keys, cond, shape=(64, 64, 3), prediction="v", null_label=5, steps=20)

Autoguidance, and any other denoiser made of denoisers, goes in as `denoise`: see `guidance`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from microgen_jax.diffusion.guidance import guide, require_guidance
from microgen_jax.diffusion.process import convert, require_prediction
from microgen_jax.diffusion.samplers.steps import Move, Predict, Step, make_moves, make_step
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.diffusion.spacing import Levels, make_levels
from microgen_jax.diffusion.thresholding import make_threshold
from microgen_jax.errors import UserError
from microgen_jax.types import Condition, Denoiser

MOST_NOISE = 10.0  # sigma / alpha above which `eps_scale` changes x0 no more
OWN_SPACING = {"euler": "karras", "heun": "karras"}  # trailing for all others


def resolve_spacing(spacing: str, sampler: str) -> str:
    """The spacing that 'auto' stands for."""
    return OWN_SPACING.get(sampler, "trailing") if spacing == "auto" else spacing


def sample(
    denoise: Denoiser,
    schedule: Schedule,
    keys: Key[Array, "B"],
    cond: Condition,
    *,
    shape: tuple[int, int, int],
    prediction: str,
    null_label: int,
    sampler: str = "ddim",
    steps: int = 50,
    eta: float = 0.0,
    spacing: str = "auto",
    clip: bool = True,
    clip_percentile: float = 0.0,
    guidance: float = 1.0,
    guidance_interval: tuple[float, float] = (0.0, math.inf),
    guidance_rescale: float = 0.0,
    eps_scale: float = 1.0,
    trajectory: int | tuple[int, ...] = 0,
) -> Float[Array, "B H W C"] | tuple[Float[Array, "B H W C"], Float[Array, "K B H W C"]]:
    """Draws images.

    Args:
      denoise: the network.
      schedule: that it was trained with.
      keys: one for each image.
      cond: what the network is told of each image.
      shape: (H, W, C) of an image.
      prediction: what the network gives: 'eps', 'x0' or 'v'.
      null_label: the label that stands for "no class", for guidance.
      sampler: a name of `steps.SAMPLERS`.
      steps: network calls (Heun's method: two a step but the last), from 1 to T.
      eta: share of fresh noise, for 'ddim' alone: 0 is deterministic, 1 is ancestral.
      spacing: 'trailing', 'linspace', 'leading', 'karras' (see `spacing`), or 'auto': karras for euler and
        heun, trailing for all others; both start at T-1.
      clip: keep the predicted x0 in [-1, 1].
      clip_percentile: of |x0|, for dynamic thresholding; 0 is plain clipping.
      guidance: scale of classifier-free guidance; 1 is off.
      guidance_interval: noise levels sigma/alpha between which it holds.
      guidance_rescale: share of the standard deviation given back.
      eps_scale: times the predicted noise; 1 leaves it.
      trajectory: frames of the way to keep, from pure noise to the image: how many, or at which times; see
        `kept_levels`.

    Returns:
      float32 images, in [-1, 1] where x0 is clipped; with a trajectory, also its frames.

    Raises:
      UserError: a request that `require_sampling` refuses.
    """
    require_prediction(prediction, schedule)
    step = make_step(sampler, eta)
    levels = make_levels(schedule, steps, resolve_spacing(spacing, sampler))
    threshold = make_threshold(clip, clip_percentile)
    denoise = guide(
        denoise, schedule, null_label, scale=guidance, interval=guidance_interval, rescale=guidance_rescale
    )
    predict = make_predict(denoise, cond, prediction, threshold, eps_scale)
    fold_in = jax.vmap(jax.random.fold_in, in_axes=(0, None))

    def noise(k: Array) -> Float[Array, "B H W C"]:
        return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(fold_in(keys, k))

    x0, frames = run_scan(step, predict, levels, noise, trajectory)
    return (x0, frames) if trajectory else x0


def require_sampling(
    schedule: Schedule,
    prediction: str,
    *,
    sampler: str = "ddim",
    steps: int = 50,
    eta: float = 0.0,
    spacing: str = "auto",
    clip: bool = True,
    clip_percentile: float = 0.0,
    guidance: float = 1.0,
    guidance_interval: tuple[float, float] = (0.0, math.inf),
    guidance_rescale: float = 0.0,
    eps_scale: float = 1.0,
    trajectory: int | tuple[int, ...] = 0,
) -> None:
    """Refuses on the host, before anything is compiled, what `sample` cannot do with the same keywords.

    Raises:
      UserError: unknown names; steps, eta, clip_percentile, guidance, eps_scale or trajectory out of range; at
        zero terminal SNR, eps prediction or a spacing that starts below T-1.
    """
    require_prediction(prediction, schedule)
    make_step(sampler, eta)
    levels = make_levels(schedule, steps, resolve_spacing(spacing, sampler))
    make_threshold(clip, clip_percentile)
    require_guidance(guidance, guidance_interval, guidance_rescale)
    if not 0 < eps_scale <= 2:
        raise UserError(
            f"eps_scale (={eps_scale}) must lie above 0 and at most at 2; 1 leaves the noise as predicted"
        )
    kept_levels(levels, trajectory)


def make_predict(
    denoise: Denoiser,
    cond: Condition,
    prediction: str,
    threshold: Callable[[Array], Array] | None,
    eps_scale: float = 1.0,
) -> Predict:
    """Turns the network's answer into x0, with its noise scaled and thresholded, and the eps that belongs to it."""

    def predict(xt: Array, t: Array, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        output = denoise(xt, jnp.full(xt.shape[0], t), cond)
        x0 = convert(prediction, "x0", output, xt, alpha, sigma)
        eps = convert(prediction, "eps", output, xt, alpha, sigma)
        if threshold is None and eps_scale == 1:
            return x0, eps
        if eps_scale != 1:
            x0 = x0 - (eps_scale - 1) * jnp.minimum(sigma / alpha, MOST_NOISE) * eps
        if threshold is not None:
            x0 = threshold(x0)
        return x0, convert("x0", "eps", x0, xt, alpha, sigma)

    return predict


def kept_levels(levels: Levels, trajectory: int | tuple[int, ...]) -> np.ndarray:
    """Which of the levels a trajectory keeps.

    Args:
      levels: that the sampler visits, the clean end the last of them.
      trajectory: how many, evenly spaced from the pure noise to the image; or times from T-1 to 0, for each of
        which the nearest level is kept, 0 being the image.

    Raises:
      UserError: more frames than there are levels, or a time outside of the chain.
    """
    count = levels.t.size
    if isinstance(trajectory, int):
        if not 0 <= trajectory <= count:
            raise UserError(f"trajectory (={trajectory}) must lie in 0..{count}, the noise levels there are")
        return np.round(np.linspace(count - 1, 0, trajectory)).astype(int)[::-1]
    for time in trajectory:
        if not 0 <= time <= levels.t[0]:
            raise UserError(f"a still's time (={time}) must lie in 0..{levels.t[0]:g}, 0 being the image")
    nearest = [np.abs(levels.t[::-1] - time).argmin() for time in trajectory]
    return count - 1 - np.array(nearest, int)


def run_scan(
    step: Step,
    predict: Predict,
    levels: Levels,
    noise: Callable[[Array], Array],
    trajectory: int | tuple[int, ...] = 0,
) -> tuple[Float[Array, "B H W C"], Float[Array, "K B H W C"]]:
    """Runs a step function over the levels.

    Args:
      step: of the sampler.
      predict: the network.
      levels: noise levels; the last one need not be clean.
      noise: of number k, [B, H, W, C]: 0 is what the images start from, k + 1 belongs to step k.
      trajectory: frames to keep, see `kept_levels`.

    Returns:
      The images at the last level, and the frames.
    """
    xt = noise(jnp.int32(0))
    moves = on_device(make_moves(levels), xt.dtype)
    kept, of_frame = np.unique(kept_levels(levels, trajectory), return_inverse=True)
    slots = np.full(len(moves.k) + 1, kept.size, np.int32)  # the last row takes what is not kept
    slots[kept] = np.arange(kept.size)
    frames = jnp.zeros((kept.size + 1, *xt.shape), xt.dtype).at[slots[0]].set(xt)

    def body(carry: tuple, scanned: tuple[Move, Array]) -> tuple[tuple, None]:
        xt, memory, frames = carry
        move, slot = scanned
        xs, x0 = step(predict, xt, memory, move, lambda: noise(move.k + 1))
        return (xs, (x0, memory[0]), frames.at[slot].set(xs)), None

    start = (xt, (jnp.zeros_like(xt), jnp.zeros_like(xt)), frames)
    (x0, _, frames), _ = jax.lax.scan(body, start, (moves, jnp.asarray(slots[1:])))
    return x0, frames[of_frame]


def on_device(moves: Move, dtype: jnp.dtype) -> Move:
    """The tables of the moves in the dtype of the images; whole numbers stay int32."""
    return Move(*(jnp.asarray(table, None if table.dtype == np.int32 else dtype) for table in moves))
