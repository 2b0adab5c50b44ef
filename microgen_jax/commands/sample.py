"""--mode=sample: new images from a trained run, into `samples/<name>/`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np

from microgen_jax import files
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.config.fields import to_dict
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError
from microgen_jax.images import gif, grid, png
from microgen_jax.runtime import distributed
from microgen_jax.sampling import batching
from microgen_jax.sampling.generator import Generator, choose_labels, open_run, standardise

_LARGEST_GRID = 64
_ROWS_OF_STILLS = 8


def sample(request: Request) -> None:
    """Draws `sample.num` images and writes them whole: images, grid, npz and manifest.

    Raises:
      UserError: no run or checkpoint, or a request that the run cannot meet.
    """
    workdir = request.workdir
    if workdir is None:
        raise UserError("--workdir is missing: name the folder of a trained run, as in --workdir=runs/mine")
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    files.check_writable(workdir)
    labels = choose_labels(run.resolved, config.sample.num, config.sample.label)
    condition = _condition(config.sample.condition)
    row = standardise(run.resolved, condition, config.diffusion.condition_dropout)
    generator = open_run(config, run.resolved, workdir)
    value, seed = np.tile(row, (len(labels), 1)), config.sample.seed
    frames, stills = (
        generator.frames(labels, value, seed, which) if which else None
        for which in (config.sample.frames, tuple(config.sample.trajectory_times))
    )
    parts = []
    for part in generator.batches(labels, value, seed):
        parts.append(part)
        distributed.log(f"drawn {sum(map(len, parts))} of {len(labels)}")
    if not distributed.is_process_0():
        return
    folder = workdir / "samples" / config.sample.name
    images = np.concatenate(parts)
    shown = batching.shown(images, generator.config.data)
    flat = float(np.mean([flat_share(image) for image in images]))
    manifest = _manifest(generator, condition) | {"flat_share": flat}

    def fill(fresh: Path) -> None:
        _write(fresh, images, labels, manifest, shown)
        if frames is not None:
            _write_animation(fresh / "denoising.gif", frames)
            _write_stills(fresh / "denoising.png", frames)
        if stills is not None:
            _write_stills(fresh / "stills.png", stills)

    files.write_folder(folder, fill)
    print(f"flat neighbours: {flat:.1%} of pixel pairs differ by 24 of 255 at most")
    print(f"written: {folder}")


def _condition(text: str) -> Mapping[str, float]:
    """The conditions asked for, from JSON text; '' asks for none."""
    if not text:
        return {}
    try:
        condition = json.loads(text)
    except ValueError as fault:
        raise UserError(
            f"sample.condition={text!r} is no JSON ({fault}); write '{{\"name\": 12.5}}'"
        ) from fault
    if not isinstance(condition, dict):
        raise UserError(f"sample.condition={text!r} must be an object, as in '{{\"name\": 12.5}}'")
    return condition


def _manifest(generator: Generator, condition: Mapping[str, float]) -> dict:
    sampling = asdict(generator.config.sample)
    names = Sampling.names() if generator.config.method == "ddpm" else ()
    return {
        "checkpoint": generator.step,
        "seed": sampling["seed"],
        "method": generator.config.method,
        "sampler": {name: sampling[name] for name in (*names, "ema", "autoguidance")},
        "num": sampling["num"],
        "label": sampling["label"],
        "condition": dict(condition),
        "resolved": asdict(generator.resolved),
        "config": to_dict(generator.config),
        "versions": run_config.versions(),
        "device": jax.devices()[0].device_kind,
    }


def _write(folder: Path, images: np.ndarray, labels: np.ndarray, manifest: dict, shown: np.ndarray) -> None:
    (folder / "images").mkdir()
    if shown.shape[-1] in (1, 3):
        for i, image in enumerate(shown):
            (folder / "images" / f"{i:05d}.png").write_bytes(png(image))
    (folder / "grid.png").write_bytes(png(grid(shown[:_LARGEST_GRID])))
    np.savez_compressed(folder / "samples.npz", images=images, labels=labels)
    files.write_json(folder / "manifest.json", manifest)


def _write_animation(path: Path, frames: np.ndarray) -> None:
    grids = [grid(frame[:_LARGEST_GRID]) for frame in frames]
    path.write_bytes(gif(grids, milliseconds=max(4000 // len(grids), 40)))


def _write_stills(path: Path, frames: np.ndarray) -> None:
    """An image a row, its stills from left to right."""
    stills = frames.swapaxes(0, 1)[:_ROWS_OF_STILLS]
    sheet = grid(stills.reshape(-1, *stills.shape[2:]), columns=len(frames))
    path.write_bytes(png(sheet))
