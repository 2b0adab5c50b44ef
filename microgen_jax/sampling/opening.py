"""From a run's folder to its `Generator`; reads `config.json` and a checkpoint, never a config file."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from microgen_jax import methods
from microgen_jax.config import run_config
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config, MeshConfig
from microgen_jax.errors import UserError, argument_of, did_you_mean, renamed
from microgen_jax.runtime import compile_cache, storage
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling.generator import Generator, build_method, with_sample
from microgen_jax.training import checkpoint, ema
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState
from microgen_jax.types import Params

MAX_PROFILE_ERROR = 0.1  # share of its profile by which an average made after training may miss it unwarned
_CHECKPOINT_FIELDS = ("checkpoint", "ema", "autoguidance")


def open_run(config: Config, resolved: Resolved, workdir: Path) -> Generator:
    """Return a generator of a run.

    Args:
      config: configuration of the run, with the `sample` and `mesh` parts to use.
      resolved: what the run's data decided.
      workdir: folder of the run.

    Raises:
      UserError: no checkpoint, one that does not fit, or a setting that cannot be.
    """
    if config.sample.reconstruct == "grains" and not resolved.phases:
        problem = "'grains' is for orientations, and this model makes images"
        raise UserError("sample.reconstruct", problem, "set auto")
    if config.sample.ema and len(resolved.stages) > 1:
        problem = f"{config.sample.ema:g}: a model of several stages keeps one average of each"
        raise UserError("sample.ema", problem, "set 0")
    method = build_method(config, resolved)
    with argument_of("mesh"):
        mesh = meshes.make_mesh(config.mesh.data, config.mesh.fsdp)
    compile_cache.use_compile_cache()
    if not (workdir / "checkpoints").is_dir():
        raise _no_checkpoint(workdir)
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        step = _choose(checkpoints, config.sample.checkpoint, workdir, "checkpoint")
        shapes = jax.eval_shape(method.init, jax.random.key(0))
        target = checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, mesh))
        step, params = _averaged(config, checkpoints, step, target)
        weak = None
        if config.sample.autoguidance:
            earlier = _choose(checkpoints, config.sample.autoguidance, workdir, "autoguidance")
            weak = checkpoints.restore_ema(earlier, target)[1]
    finally:
        checkpoints.close()
    return Generator(config, resolved, params, step, mesh, method, weak)


def _averaged(
    config: Config, checkpoints: Checkpoints, step: int | None, target: TrainState
) -> tuple[int, Params]:
    """Return the run's own average at a step, or one of the width `sample.ema` from the averages kept up to that step.

    Warn, on standard error, of a width that these come nowhere near.

    Raises:
      UserError: the run kept no averages to make it from, or there is no such width.
    """
    width, widths = config.sample.ema, config.train.ema_widths
    if not width:
        return checkpoints.restore_ema(step, target)
    with renamed({"width": "sample.ema"}):
        ema.exponent(width)
    if not widths:
        raise UserError(
            "sample.ema",
            f"{width:g}: the run was trained with no train.ema_widths to make it from",
            "set 0, or train with --config.train.ema_widths='(0.05,0.1)'",
        )
    step = step or checkpoints.newest()
    steps = [kept for kept in checkpoints.steps() if 0 < kept <= step]
    stored = [(other, kept) for kept in steps for other in widths]
    profiles = [w for w, _ in stored], [k for _, k in stored], width, step
    weights = ema.coefficients(*profiles)
    misfit = ema.misfit(weights, *profiles)
    if misfit > MAX_PROFILE_ERROR:
        print(
            f"warning: sample.ema={width:g} is missed by {misfit:.0%}: the averages of widths {tuple(widths)} at "
            f"updates {tuple(steps)} come no closer; ask for a width near theirs, or train with a larger train.keep",
            file=sys.stderr,
        )
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), target.params)
    for k, kept in enumerate(steps):
        averages = checkpoints.restore_averages(kept, target)
        for weight, part in zip(weights[k * len(widths) :], averages):
            total = jax.tree.map(lambda t, p, w=float(weight): t + w * p, total, part)
    return step, total


def _choose(checkpoints: Checkpoints, which: str, workdir: Path, field: str) -> int | None:
    """Return the step asked for; None stands for the newest that is whole."""
    steps = checkpoints.steps()
    if not steps:
        raise _no_checkpoint(workdir)
    named = {"newest": None, "best": checkpoints.best()}
    if which in named:
        return named[which]
    if which.isdecimal() and int(which) in steps:
        return int(which)
    fix = f"{did_you_mean(which, list(named))}use newest, best or one of {', '.join(map(str, steps))}"
    raise UserError(f"sample.{field}", f"{which!r} does not exist", fix)


def _no_checkpoint(workdir: Path) -> UserError:
    return UserError(f"--workdir={workdir}", "holds no checkpoint yet", "train it first")


def load(workdir: str | Path, **sample: Any) -> Generator:
    """Open a trained run.

    Args:
      workdir: folder of the run, or its gs:// or s3:// address.
      **sample: settings of the sampler, such as `sampler="ddim", steps=50`; `batch_size` of a device; `checkpoint`
        ('newest', 'best' or a step), `ema`, `autoguidance`; `reconstruct`, 'none' for each pixel's own orientation.

    Raises:
      UserError: no run, no checkpoint, or (names the argument) a setting that does not exist or cannot be.
    """
    if storage.is_remote(str(workdir)):
        with storage.opened(str(workdir)) as folder:
            return load(folder, **sample)
    workdir = Path(workdir).expanduser()
    run = run_config.read(workdir)
    for name in {"checkpoint", "autoguidance"} & sample.keys():
        if not isinstance(sample[name], (str, bool)):
            sample[name] = str(sample[name])
    known = (*methods.sampling_fields(run.config.method), *_CHECKPOINT_FIELDS, "batch_size", "reconstruct")
    config = with_sample(run.config, sample, known)
    without_files = dataclasses.replace(config.sample, frames=0, trajectory_times=())
    config = dataclasses.replace(config, sample=without_files, mesh=MeshConfig())
    with renamed({f"sample.{name}": name for name in sample}):
        return open_run(config, run.resolved, workdir)
