"""The part of `--mode=evaluate` that asks a run's network to restore held-out images, and bounds their likelihood."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from microgen_jax.data import evaluation_batches
from microgen_jax.diffusion import from_logits, variational_bound
from microgen_jax.diffusion.process import convert, diffuse
from microgen_jax.diffusion.schedules import at
from microgen_jax.evaluation import entries
from microgen_jax.evaluation.features import perceptual, weights
from microgen_jax.evaluation.features.perceptual import RIM
from microgen_jax.evaluation.sets import Run
from microgen_jax.images import to_uint8
from microgen_jax.methods import DDPM
from microgen_jax.sampling import batching
from microgen_jax.types import Batch, Condition, Params

IMAGES = 64  # held-out ones
BATCH = 16
SHARES = (10, 25, 50)  # of the diffusion time, in percent
CALLS = 20  # of the network for the bound's steps
VLB = "vlb"
KINDS = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS(alex)"}
DESCRIPTIONS = {
    f"{kind}_x0_{share}": f"{title} of x0 restored from {share} % of the noise's way"
    for kind, title in KINDS.items()
    for share in SHARES
} | {VLB: "bound on the negative log-likelihood, bits per dimension"}


def measure(run: Run, names: tuple[str, ...], progress: Progress) -> dict[str, dict]:
    """Entries of metrics.json: means over held-out images, each told its own class and conditions.

    Args:
      run: with a generator.
      names: of DESCRIPTIONS; empty takes all that can be had.
    """
    method, params = run.generator.method, run.generator.params
    if not isinstance(method, DDPM):
        return {name: entries.null(0, 0, "only diffusion models restore images") for name in names}
    if jax.process_count() > 1:
        return {name: entries.null(0, 0, "needs a single process") for name in names}
    batches = _held_out(run)
    count = sum(len(batch.image) for batch in batches)
    task = progress.add_task("restoring held-out images", total=len(batches) * (len(SHARES) + 1))
    real = to_uint8(np.concatenate([batch.image for batch in batches]))
    found = {}
    restore, bound = _restorer(method), _bound(method)
    for share in SHARES:
        t = np.int32(round(share / 100 * (method.schedule.timesteps - 1)))
        parts = []
        for n, batch in enumerate(batches):
            parts.append(jax.device_get(restore(params, batch, _keys(n, len(batch.image)), t)))
            progress.advance(task)
        note = f"{count} held-out images, t = {t} of {method.schedule.timesteps}"
        for kind, values in _alike(real, to_uint8(np.concatenate(parts))).items():
            name = f"{kind}_x0_{share}"
            if isinstance(values, str):
                found[name] = entries.null(count, 0, values)
            else:
                found[name] = entries.mean(values, count, note)
    parts = []
    for n, batch in enumerate(batches):
        parts.append(jax.device_get(bound(params, batch, _keys(n, len(batch.image)))))
        progress.advance(task)
    note = f"{count} held-out images, {CALLS} of the chain's steps; 8 bit a channel"
    found[VLB] = entries.mean(np.concatenate(parts), count, note)
    return {name: entry for name, entry in found.items() if not names or name in names}


def _held_out(run: Run) -> list[Batch]:
    """Full batches of held-out images, as many as there are up to PICTURES; one that is not full if there is none."""
    limit = min(IMAGES, len(run.dataset.holdout))
    size = min(BATCH, limit)
    stream = evaluation_batches(
        run.dataset.holdout,
        run.dataset.preparation,
        batch_size=size,
        limit=limit // size * size,
        workers=run.config.data.workers,
    )
    return [batch for batch, _ in stream]


def _keys(batch: int, count: int) -> jax.Array:
    return batching.image_keys(jnp.uint32(0), jnp.arange(batch * BATCH, batch * BATCH + count))


def _denoiser(method: DDPM, params: Params):
    denoise = method.denoiser(params)
    return from_logits(denoise) if method.loss == "bce" else denoise


def _restorer(method: DDPM):
    """Images at time t, and back to x0 by one call of the network."""

    @jax.jit
    def restore(params: Params, batch: Batch, keys: jax.Array, t: jax.Array) -> jax.Array:
        x0 = jnp.asarray(batch.image)
        eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(keys)
        t = jnp.full(len(x0), t)
        xt = diffuse(method.schedule, x0, eps, t)
        predicted = _denoiser(method, params)(xt, t, Condition(batch.label, batch.condition))
        alpha, sigma = at(method.schedule.alpha, t, x0), at(method.schedule.sigma, t, x0)
        return convert(method.prediction, "x0", predicted, xt, alpha, sigma)

    return restore


def _bound(method: DDPM):
    @jax.jit
    def bound(params: Params, batch: Batch, keys: jax.Array) -> jax.Array:
        return variational_bound(
            _denoiser(method, params),
            method.schedule,
            jnp.asarray(batch.image),
            Condition(batch.label, batch.condition),
            keys,
            prediction=method.prediction,
            evaluations=CALLS,
        ).total

    return bound


def _alike(real: np.ndarray, restored: np.ndarray) -> dict[str, Any]:
    """Values by kind, or in words why there are none."""
    small = min(real.shape[1:3]) <= 2 * RIM
    missing = weights.find(weights.ALEXNET) is None
    found = {"psnr": perceptual.psnr(real, restored)}
    found["ssim"] = "smaller than SSIM's window of 11 px" if small else perceptual.ssim(real, restored)
    if missing:
        found["lpips"] = f"the extra 'eval' is not installed: {weights.INSTALL}"
    elif real.shape[-1] not in (1, 3):
        found["lpips"] = f"LPIPS sees 1 or 3 channels, the images have {real.shape[-1]}"
    else:
        found["lpips"] = perceptual.lpips(perceptual.open_lpips(), real, restored)
    return found
