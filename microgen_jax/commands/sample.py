"""--mode=sample: new images from a trained run, into `samples/<name>/`."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from microgen_jax import files
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.errors import UserError, argument_of, renamed
from microgen_jax.images import gif, grid, png
from microgen_jax.runtime import distributed
from microgen_jax.sampling import Generator, choose_conditions, choose_labels, open_run
from microgen_jax.sampling.samples import MAX_IN_GRID, require_formats

_MAX_TRAJECTORIES = 8
_ANIMATION_MS = 4000


def sample(request: Request) -> None:
    """Generate `sample.num` images and write them whole: images, grid, npz and manifest.

    Raises:
      UserError: no run or checkpoint, or a request that the run cannot meet.
    """
    workdir = request.workdir
    if workdir is None:
        raise UserError(
            "--workdir", "is missing", "name the folder of a trained run, as in --workdir=runs/mine"
        )
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    files.check_writable(workdir)
    asked = {
        "num": config.sample.num,
        "label": config.sample.label,
        "condition": _condition(config.sample.condition),
        "seed": config.sample.seed,
    }
    with argument_of("sample"):
        require_formats(config.sample.formats, run.resolved)
        choose_labels(run.resolved, asked["num"], asked["label"])
        choose_conditions(run.resolved, asked["num"], asked["condition"], config.diffusion.condition_dropout)
    generator = open_run(config, run.resolved, workdir)
    extra_files = _trajectories(generator, asked)
    total = generator.count_steps(asked["num"])

    def log(step: int, _: object) -> None:
        distributed.log(f"sampled {step} of {total} steps")

    samples = generator.sample(**asked, progress=log, progress_every=config.sample.steps)
    if not distributed.is_process_0():
        return
    folder = workdir / "samples" / config.sample.name
    with renamed({"folder": "sample.name"}):
        notes = samples.save(folder, config.sample.formats, extra_files)
    for note in notes:
        print(f"note: {note}")
    print(f"{samples.flat_share():.1%} of neighbouring pixels differ by at most 24 of 255")
    print(f"written: {folder}")


def _condition(text: str) -> Mapping[str, Any]:
    """Return the conditions asked for, from JSON text; '' asks for none."""
    if not text:
        return {}
    fix = "write an object, as in '{\"name\": 12.5}'"
    try:
        condition = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError("sample.condition", f"{text!r} is not JSON ({error})", fix) from error
    if not isinstance(condition, dict):
        raise UserError("sample.condition", f"{text!r} is not an object", fix)
    return condition


def _trajectories(generator: Generator, asked: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that show how the first images came out of the noise, by name."""
    sample, found = generator.config.sample, {}
    if sample.frames:
        with renamed({"times": "sample.frames"}):
            frames = generator.trajectory(**asked, times=sample.frames)
        grids = [grid(frame[:MAX_IN_GRID]) for frame in frames]
        found["denoising.gif"] = gif(grids, milliseconds=max(_ANIMATION_MS // len(grids), 40))
        found["denoising.png"] = _sheet(frames)
    if sample.trajectory_times:
        with renamed({"times": "sample.trajectory_times"}):
            found["trajectory.png"] = _sheet(generator.trajectory(**asked, times=sample.trajectory_times))
    return found


def _sheet(frames: np.ndarray) -> bytes:
    """Return a PNG with a trajectory in each row, from the noise on the left to the image."""
    rows = frames.swapaxes(0, 1)[:_MAX_TRAJECTORIES]
    return png(grid(rows.reshape(-1, *rows.shape[2:]), columns=len(frames)))
