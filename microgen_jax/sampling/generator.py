"""A trained run as an object that draws images; reads `config.json` and a checkpoint, never a config file."""

import dataclasses
import math
import numbers
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from microgen_jax import methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config, MeshConfig
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.images import to_uint8
from microgen_jax.runtime import compile_cache, storage
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling import batching
from microgen_jax.training import checkpoint, ema
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState
from microgen_jax.types import Condition, Method, Params

_LARGEST_MISFIT = 0.1  # of the profile of an average that was made afterwards
_OF_CHECKPOINTS = ("checkpoint", "ema", "autoguidance")


class Generator:
    """Draws microstructures from a trained model.

    Attributes:
      config: as the run was trained, with the `sample` part that this generator uses.
      resolved: classes, conditions and channels.
      step: of the checkpoint.
      params: the averaged parameters.
      method: that draws with them.
      weak: parameters of an earlier checkpoint, for autoguidance, or None.
    """

    def __init__(
        self,
        config: Config,
        resolved: Resolved,
        params: Params,
        step: int,
        mesh: Mesh,
        method: Method,
        weak: Params | None = None,
    ):
        self.config, self.resolved, self.step = config, resolved, step
        self.params, self.method, self.weak, self._mesh = params, method, weak, mesh
        self._generate = self._compiled(method.generate)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.resolved.classes

    @property
    def conditions(self) -> tuple[str, ...]:
        return self.resolved.conditions

    def sample(
        self,
        num: int,
        *,
        label: str | int | None = None,
        condition: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Draws images; image i of a seed is the same whatever `num` is.

        Args:
          num: how many.
          label: a class by name or number; None takes every class in turn.
          condition: values by name, in the data's units; what is left out is left to the model.
          seed: of the images.

        Returns:
          uint8 [num, H, W, C].

        Raises:
          UserError: no such class or condition, or nothing to draw.
        """
        if num < 1:
            raise UserError(f"sample.num={num} must be at least 1")
        fields.check_value(fields.fields()["sample.seed"], seed)
        labels = choose_labels(self.resolved, num, label)
        row = standardise(self.resolved, condition or {}, self.config.diffusion.condition_dropout)
        return np.concatenate(list(self.batches(labels, np.tile(row, (num, 1)), seed)))

    def batches(self, labels: np.ndarray, value: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """As `sample`, a batch at a time, with class [N] and standardised conditions [N, K] of every image."""
        return batching.draw(
            self._generate, self._parameters(), labels, value, seed=seed, batch_size=self._batch_size
        )

    def frames(
        self, labels: np.ndarray, value: np.ndarray, seed: int, which: int | tuple[int, ...]
    ) -> np.ndarray:
        """How the first batch of the same images came out of the noise: uint8 [K, N, H, W, C].

        Args:
          labels: as in `batches`.
          value: as in `batches`.
          seed: of the images.
          which: how many stills, evenly spaced, or at which times of the chain.

        Raises:
          UserError: the method has no steps to look at.
        """
        if not isinstance(self.method, methods.DDPM):
            raise UserError(
                f"sample.frames and sample.trajectory_times: {self.config.method} draws in one go; set 0 and ()"
            )
        function = self._compiled(partial(self.method.frames, which=which))
        indices = np.arange(self._batch_size, dtype=np.int32)
        rows = np.minimum(indices, len(labels) - 1)
        cond = Condition(labels[rows].astype(np.int32), value[rows].astype(np.float32))
        frames = function(self._parameters(), seed, indices, cond)
        return np.stack([to_uint8(frame) for frame in jax.device_get(frames)])[:, : len(labels)]

    @property
    def _batch_size(self) -> int:
        return self.config.sample.batch_size * self._mesh.size

    def _parameters(self) -> Params:
        return self.params if self.weak is None else (self.params, self.weak)

    def _compiled(self, function: Callable[..., Array]) -> batching.Generate:
        def guided(both: tuple[Params, Params], keys: Array, cond: Condition) -> Array:
            return function(both[0], keys, cond, both[1])

        draw = function if self.weak is None else guided
        return batching.compiled(draw, self._mesh, self.config.data.size)


def choose_labels(resolved: Resolved, num: int, label: str | int | None = None) -> np.ndarray:
    """int32 [num]: the class asked for by name or number, or every class in turn.

    Raises:
      UserError: the class does not exist; lists those that do.
    """
    classes = resolved.classes
    if label is None or label == "":
        return batching.in_turn(num, len(classes))
    if label in classes:
        index = classes.index(label)
    elif str(label).isdecimal() and int(label) < len(classes):
        index = int(label)
    else:
        raise UserError(
            f"label {str(label)!r} does not exist; {did_you_mean(str(label), classes)}there are: {', '.join(classes)}"
        )
    return np.full(num, index, np.int32)


def standardise(resolved: Resolved, condition: Mapping[str, Any], dropout: float) -> np.ndarray:
    """float32 [K]: the values in units of the training data's spread; NaN where nothing was asked.

    A value outside of what the model was trained on is warned of, on standard error.

    Args:
      resolved: of the run.
      condition: values by name, in the data's units.
      dropout: share of the conditions that was hidden in training; where it is 0 none may be left out.

    Raises:
      UserError: an unknown name, a value that is no finite number, or one that must be given and is not.
    """
    for name, value in condition.items():
        if name not in resolved.conditions:
            known = ", ".join(resolved.conditions) or "none, this model was trained without any"
            near = did_you_mean(name, resolved.conditions)
            raise UserError(f"condition {name!r} does not exist; {near}there are: {known}")
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise UserError(f"condition {name}={value!r} must be a finite number")
    missing = [name for name in resolved.conditions if name not in condition]
    if missing and not dropout:
        raise UserError(
            f"condition {missing[0]!r} is missing: the model was trained with diffusion.condition_dropout=0 and needs "
            f"every one of {', '.join(resolved.conditions)}"
        )
    for name, low, high in zip(resolved.conditions, resolved.low, resolved.high):
        if name in condition and not low <= condition[name] <= high:
            print(
                f"warning: condition {name}={condition[name]:g} lies outside of the {low:g} to {high:g} that the "
                "model was trained on",
                file=sys.stderr,
            )
    asked = np.array([condition.get(name, np.nan) for name in resolved.conditions])
    return ((asked - np.array(resolved.mean)) / np.array(resolved.std)).astype(np.float32)


def open_run(config: Config, resolved: Resolved, workdir: Path) -> Generator:
    """A generator from a run's configuration (with the `sample` and `mesh` parts to use) and its checkpoints.

    Raises:
      UserError: no checkpoint, or one that does not fit.
    """
    method = methods.build(
        config,
        channels=resolved.channels,
        num_classes=len(resolved.classes),
        num_conditions=len(resolved.conditions),
    )
    mesh = meshes.make_mesh(config.mesh.data, config.mesh.fsdp)
    compile_cache.use_compile_cache()
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} holds no checkpoint yet; train it first")
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
    """The run's own average at a step, or one of the width `sample.ema`, from all that was kept up to that step.

    A width that they come nowhere near is warned of, on standard error.

    Raises:
      UserError: the run kept no averages to make it from, or there is no such width.
    """
    width, widths = config.sample.ema, config.train.ema_widths
    if not width:
        return checkpoints.restore_ema(step, target)
    ema.exponent(width)
    if not widths:
        raise UserError(
            f"sample.ema={width:g}: the run was trained with no train.ema_widths to make it from; set 0, or train "
            "with --config.train.ema_widths='(0.05,0.1)'"
        )
    step = step or checkpoints.newest()
    steps = [kept for kept in checkpoints.steps() if 0 < kept <= step]
    stored = [(other, kept) for kept in steps for other in widths]
    profiles = [w for w, _ in stored], [k for _, k in stored], width, step
    weights = ema.coefficients(*profiles)
    misfit = ema.misfit(weights, *profiles)
    if misfit > _LARGEST_MISFIT:
        print(
            f"warning: sample.ema={width:g} is missed by {misfit:.0%}: the averages of widths {tuple(widths)} at "
            f"updates {tuple(steps)} come no closer; ask for a width near theirs, or train with a larger train.keep",
            file=sys.stderr,
        )
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), target.params)
    for k, kept in enumerate(steps):
        state = checkpoints.restore(kept, target)
        for weight, part in zip(weights[k * len(widths) :], state.opt_state.averages):
            total = jax.tree.map(lambda t, p, w=float(weight): t + w * p, total, part)
    return step, total


def _choose(checkpoints: Checkpoints, which: str, workdir: Path, field: str) -> int | None:
    """The step asked for; None stands for the newest that is whole."""
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f"--workdir={workdir} holds no checkpoint yet; train it first")
    named = {"newest": None, "best": checkpoints.best()}
    if which in named:
        return named[which]
    if which.isdecimal() and int(which) in steps:
        return int(which)
    there = ", ".join(map(str, steps))
    raise UserError(
        f"sample.{field}={which!r} does not exist; {did_you_mean(which, list(named))}use newest, best or one of {there}"
    )


def load(workdir: str | Path, **sample: object) -> Generator:
    """Opens a trained run.

    Args:
      workdir: the run's folder, or its gs:// or s3:// address.
      **sample: settings of the sampler, such as `sampler="ddim", steps=50`; `batch_size`; `checkpoint=500`.

    Raises:
      UserError: no run, no checkpoint, or a field that does not exist.
    """
    if storage.is_remote(str(workdir)):
        with storage.opened(str(workdir)) as folder:
            return load(folder, **sample)
    workdir = Path(workdir).expanduser()
    run = run_config.read(workdir)
    known = (*_OF_CHECKPOINTS, "batch_size")
    if run.config.method == "ddpm":
        known = (*Sampling.names(), *known)
    for name, value in sample.items():
        if name not in known:
            raise UserError(f"sample.{name} cannot be set here; there are: {', '.join(known)}")
        if name in ("checkpoint", "autoguidance") and isinstance(value, numbers.Integral):
            sample[name] = str(value)
    config = fields.replace(run.config, {f"sample.{name}": value for name, value in sample.items()})
    return open_run(dataclasses.replace(config, mesh=MeshConfig()), run.resolved, workdir)
