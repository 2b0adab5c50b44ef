"""Images from a denoiser: the entry point of the samplers.

    sampling = Sampling(sampler="dpmpp2m", steps=20)
    x0 = sample(denoise, schedule, keys, cond, shape=(64, 64, 3), prediction="v", null_label=5, sampling=sampling)

A network that was trained briefly predicts less noise than there is, and deterministic steps keep what it leaves in.
Its noise made k times as much (Ning et al. 2024, who scale it down) gives

  (1) x0' = x0 - (k - 1) min(sigma / alpha, 10) eps     the bound holds x0' where there is hardly an image left

Autoguidance, and any other denoiser made of denoisers, goes in as `denoise`: see `guidance`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from microgen_jax.diffusion.guidance import guide
from microgen_jax.diffusion.process import convert
from microgen_jax.diffusion.samplers import make_sampler
from microgen_jax.diffusion.samplers.base import Predict
from microgen_jax.diffusion.samplers.scan import Chain, Known, run_piece, run_scan, start_state
from microgen_jax.diffusion.samplers.settings import Sampling
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.diffusion.spacing import start_at
from microgen_jax.diffusion.thresholding import make_threshold
from microgen_jax.errors import UserError
from microgen_jax.types import Condition, Denoiser

EPS_SCALE_MAX_RATIO = 10.0  # sigma / alpha above which `eps_scale` changes x0 no more

Progress = Callable[[int, Array], bool | None]
KnownPixels = tuple[Array, Array]  # values [B, H, W, C], mask bool [B, H, W] or [B, H, W, 1]


def sample(
    denoise: Denoiser,
    schedule: Schedule,
    keys: Key[Array, "B"],
    cond: Condition | None,
    *,
    shape: tuple[int, int, int],
    prediction: str,
    null_label: int,
    sampling: Sampling = Sampling(),  # noqa: B008
    start: Float[Array, "B H W C"] | None = None,
    start_time: int | None = None,
    known: KnownPixels | None = None,
    trajectory: int | tuple[int, ...] = 0,
    progress: Progress | None = None,
    progress_every: int = 1,
) -> Float[Array, "B H W C"] | tuple[Float[Array, "B H W C"], Float[Array, "K B H W C"]]:
    """Sample images.

    With `progress` the steps run in pieces, outside of any jit of the caller's, and the bits do not depend on how many
    steps a piece has (one scan without `progress` may differ in the last bit). `progress(step, x0)` is called after
    each piece with the number of steps taken and the predicted clean images, and ends the sampling where it returns
    False; the result is then the x0 that it was called with. What it raises goes through.

    Args:
      denoise: the network.
      schedule: noise schedule that it was trained with.
      keys: one PRNG key for each image.
      cond: label and conditions of each image; None calls the network with null labels and no condition at all.
      shape: (H, W, C) of an image.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      null_label: label that stands for "no class".
      sampling: the sampler and its settings.
      start: clean images to start from, noised to `start_time`; None starts from pure noise.
      start_time: time 0..T-1 to start at; of the sampler's levels the nearest is moved there, and those after follow.
      known: clean values, and a mask that is True where they are known: these pixels are replaced by noisy versions
        of their values at every level, and are exact in the result.
      trajectory: frames to keep from the first level to the image: how many, or at which times, see `kept_levels`.
      progress: function called after each piece; None runs all steps in one scan.
      progress_every: steps of a piece.

    Returns:
      float32 images, in [-1, 1] where x0 is clipped; with a trajectory, also its frames.

    Raises:
      UserError: settings that `Sampling.check` refuses; a start or known pixels of a wrong shape; a start_time without
        a start; a trajectory with progress.
    """
    sampling.check(schedule, prediction)
    chain = make_chain(
        denoise,
        schedule,
        keys,
        cond,
        shape=shape,
        prediction=prediction,
        null_label=null_label,
        sampling=sampling,
        start=start,
        start_time=start_time,
        known=known,
    )
    if progress is not None:
        if trajectory:
            raise UserError(
                "trajectory", f"{trajectory} does not go with progress", "keep what progress is given"
            )
        return _run_in_pieces(chain, progress, progress_every)
    images, frames = run_scan(chain, trajectory)
    return (images, frames) if trajectory else images


def make_chain(
    denoise: Denoiser,
    schedule: Schedule,
    keys: Key[Array, "B"],
    cond: Condition | None,
    *,
    shape: tuple[int, int, int],
    prediction: str,
    null_label: int,
    sampling: Sampling,
    start: Float[Array, "B H W C"] | None = None,
    start_time: int | None = None,
    known: KnownPixels | None = None,
) -> Chain:
    """Return the chain that `sample` runs, for `scan.run_scan`, or `scan.start_state` and `scan.run_piece` under jit.

    Args:
      denoise: see `sample`, as all other arguments.
      schedule: noise schedule.
      keys: one PRNG key for each image.
      cond: label and conditions.
      shape: (H, W, C) of an image.
      prediction: output of the network.
      null_label: label of no class.
      sampling: the sampler and its settings.
      start: clean images to start from.
      start_time: time to start at.
      known: values and mask.

    Raises:
      UserError: see `sample`.
    """
    if (start is None) != (start_time is None):
        given, missing = ("start", "start_time") if start_time is None else ("start_time", "start")
        raise UserError(missing, f"is missing beside {given}", "give both or neither")
    if cond is None:
        if sampling.guidance != 1:
            raise UserError("guidance", f"{sampling.guidance} has no condition to guide by", "leave it 1")
        count = keys.shape[0]
        cond = Condition(jnp.full(count, null_label, jnp.int32), jnp.zeros((count, 0), jnp.float32))
    levels = sampling.levels(schedule)
    if start is not None:
        _require_shape("start", start, (keys.shape[0], *shape))
        levels = start_at(levels, schedule, start_time)
    guided = guide(
        denoise,
        schedule,
        null_label,
        scale=sampling.guidance,
        interval=sampling.guidance_interval,
        rescale=sampling.guidance_rescale,
    )
    threshold = make_threshold(sampling.clip, sampling.clip_percentile)
    predict = make_predict(guided, cond, prediction, threshold, sampling.eps_scale)
    fold_in = jax.vmap(jax.random.fold_in, in_axes=(0, None))

    def noise(k: Array) -> Float[Array, "B H W C"]:
        return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(fold_in(keys, k))

    sampler = make_sampler(sampling.sampler, sampling.eta)
    return Chain(sampler, predict, levels, noise, start, _known(known, (keys.shape[0], *shape)))


def make_predict(
    denoise: Denoiser,
    cond: Condition,
    prediction: str,
    threshold: Callable[[Array], Array] | None,
    eps_scale: float = 1.0,
) -> Predict:
    """Return what turns a network's prediction into x0, scaled (1) and thresholded, and the eps that belongs to it.

    Args:
      denoise: the network.
      cond: label and conditions of each image.
      prediction: output of the network: 'eps', 'x0' or 'v'.
      threshold: function that x0 goes through, or None.
      eps_scale: factor of the predicted noise.
    """

    def predict(xt: Array, t: Array, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        output = denoise(xt, jnp.full(xt.shape[0], t), cond)
        x0 = convert(prediction, "x0", output, xt, alpha, sigma)
        eps = convert(prediction, "eps", output, xt, alpha, sigma)
        if threshold is None and eps_scale == 1:
            return x0, eps
        if eps_scale != 1:
            x0 = x0 - (eps_scale - 1) * jnp.minimum(sigma / alpha, EPS_SCALE_MAX_RATIO) * eps  # (1)
        if threshold is not None:
            x0 = threshold(x0)
        return x0, convert("x0", "eps", x0, xt, alpha, sigma)

    return predict


def _run_in_pieces(chain: Chain, progress: Progress, every: int) -> Float[Array, "B H W C"]:
    """Run a chain in pieces of one compiled program, and report after each."""
    if every < 1:
        raise UserError("progress_every", f"{every} is less than 1", "give the steps of a piece")
    piece = jax.jit(lambda state, until: run_piece(chain, state, until))
    state = jax.jit(lambda: start_state(chain))()
    for begun in range(0, chain.steps, every):
        done = min(begun + every, chain.steps)
        state = piece(state, np.int32(done))
        x0 = state.x0
        if chain.known is not None:
            x0 = jnp.where(chain.known.mask, chain.known.value, x0)
        if progress(done, x0) is False:
            return x0
    return state.x


def _known(known: KnownPixels | None, shape: tuple) -> Known | None:
    if known is None:
        return None
    value, mask = known
    _require_shape("known", value, shape)
    mask = mask[..., None] if mask.ndim == 3 else mask
    _require_shape("known", mask, (*shape[:-1], 1))
    if mask.dtype != bool:
        raise UserError(
            "known", f"its mask is of type {mask.dtype}", "give booleans, True where a pixel is known"
        )
    return Known(value, mask)


def _require_shape(where: str, array: Array, shape: tuple) -> None:
    if array.shape != shape:
        raise UserError(where, f"has shape {tuple(array.shape)}", f"{shape} is needed")
