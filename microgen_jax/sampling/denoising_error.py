"""Denoising error of a diffusion model: held-out images noised and denoised in one call, and a likelihood bound."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from microgen_jax.data import Dataset, evaluation_batches
from microgen_jax.diffusion import from_logits, variational_bound
from microgen_jax.diffusion.process import convert, diffuse
from microgen_jax.diffusion.schedules import at
from microgen_jax.evaluation import entries
from microgen_jax.evaluation.features import perceptual, weights
from microgen_jax.evaluation.features.perceptual import RIM
from microgen_jax.evaluation.summary import DENOISING_ERROR, DENOISING_SHARES, VLB
from microgen_jax.images import to_uint8
from microgen_jax.methods import DDPM
from microgen_jax.sampling import batching
from microgen_jax.types import Batch, Condition, Denoiser, Method, Params

IMAGES = 64  # held-out images
BATCH = 16
CALLS = 20  # network calls for the bound
UNITS = {"psnr": "dB", "ssim": "1", "lpips": "1"}


def measure(
    method: Method,
    params: Params,
    dataset: Dataset,
    names: tuple[str, ...],
    progress: Progress,
    *,
    workers: int = 4,
) -> dict[str, dict[str, Any]]:
    """Return entries of metrics.json: means over held-out images, each given its own class and conditions.

    Args:
      method: training method of the run.
      params: averaged parameters.
      dataset: dataset of the run, with held-out images.
      names: names of DENOISING_ERROR; () takes all of them.
      progress: progress display.
      workers: threads that read images.
    """
    reason = ""
    if not isinstance(method, DDPM):
        reason = "only diffusion models of one stage are measured"
    elif jax.process_count() > 1:
        reason = "needs a single process"
    if reason:
        return {name: entries.entry(0, 0, reason) for name in names}
    batches = _held_out(dataset, workers)
    count = sum(len(batch.image) for batch in batches)
    task = progress.add_task("denoising held-out images", total=len(batches) * (len(DENOISING_SHARES) + 1))
    real = to_uint8(np.concatenate([batch.image for batch in batches]))
    found = {}
    for share in DENOISING_SHARES:
        t = np.int32(round(share / 100 * (method.schedule.timesteps - 1)))
        parts = []
        for n, batch in enumerate(batches):
            parts.append(jax.device_get(_predict_x0(method, params, batch, _keys(n, len(batch.image)), t)))
            progress.advance(task)
        note = f"{count} held-out images, t = {t} of {method.schedule.timesteps}"
        for kind, values in _similarities(real, to_uint8(np.concatenate(parts))).items():
            name = f"{kind}_x0_{share}"
            if isinstance(values, str):
                found[name] = entries.entry(count, 0, values)
            else:
                found[name] = entries.mean(values, UNITS[kind], note)
    parts = []
    for n, batch in enumerate(batches):
        parts.append(jax.device_get(_bound(method, params, batch, _keys(n, len(batch.image)))))
        progress.advance(task)
    note = f"{count} held-out images, {CALLS} of the chain's steps; 8 bit a channel"
    found[VLB] = entries.mean(np.concatenate(parts), "bits/dimension", note)
    return {name: found[name] for name in DENOISING_ERROR if not names or name in names}


def _held_out(dataset: Dataset, workers: int) -> list[Batch]:
    """Full batches of up to IMAGES held-out images; a smaller batch if there are fewer than BATCH."""
    limit = min(IMAGES, len(dataset.holdout))
    size = min(BATCH, limit)
    stream = evaluation_batches(
        dataset.holdout,
        dataset.preparation,
        batch_size=size,
        limit=limit // size * size,
        workers=workers,
    )
    return [batch for batch, _ in stream]


def _keys(batch: int, count: int) -> jax.Array:
    return batching.image_keys(jnp.uint32(0), jnp.arange(batch * BATCH, batch * BATCH + count))


def _denoiser(method: DDPM, params: Params) -> Denoiser | Callable:
    denoise = method.denoiser(params)
    return from_logits(denoise) if method.loss == "bce" else denoise


@partial(jax.jit, static_argnums=0)
def _predict_x0(method: DDPM, params: Params, batch: Batch, keys: jax.Array, t: jax.Array) -> jax.Array:
    """Noise images to time t and predict x0 by one call of the network."""
    x0 = jnp.asarray(batch.image)
    eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(keys)
    t = jnp.full(len(x0), t)
    xt = diffuse(method.schedule, x0, eps, t)
    predicted = _denoiser(method, params)(xt, t, Condition(batch.label, batch.condition))
    alpha, sigma = at(method.schedule.alpha, t, x0), at(method.schedule.sigma, t, x0)
    return convert(method.prediction, "x0", predicted, xt, alpha, sigma)


@partial(jax.jit, static_argnums=0)
def _bound(method: DDPM, params: Params, batch: Batch, keys: jax.Array) -> jax.Array:
    return variational_bound(
        _denoiser(method, params),
        method.schedule,
        jnp.asarray(batch.image),
        Condition(batch.label, batch.condition),
        keys,
        prediction=method.prediction,
        evaluations=CALLS,
    ).total


def _similarities(real: np.ndarray, denoised: np.ndarray) -> dict[str, np.ndarray | str]:
    """Values by kind, or the reason why there are none."""
    found: dict[str, np.ndarray | str] = {"psnr": perceptual.psnr(real, denoised)}
    small = min(real.shape[1:3]) <= 2 * RIM
    found["ssim"] = "smaller than SSIM's window of 11 px" if small else perceptual.ssim(real, denoised)
    if weights.find(weights.ALEXNET) is None:
        found["lpips"] = f"the extra 'eval' is not installed: {weights.INSTALL}"
    elif real.shape[-1] not in (1, 3):
        found["lpips"] = f"LPIPS takes 1 or 3 channels, the images have {real.shape[-1]}"
    else:
        found["lpips"] = perceptual.lpips(perceptual.open_lpips(), real, denoised)
    return found
