"""A trained run as an object that generates samples; reads `config.json` and a checkpoint, never a config file."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, UInt8

from microgen_jax import methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config, MeshConfig
from microgen_jax.errors import UserError, did_you_mean, renamed
from microgen_jax.images import to_uint8
from microgen_jax.runtime import compile_cache, storage
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling import batching, requests
from microgen_jax.sampling.samples import Samples
from microgen_jax.training import checkpoint, ema
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState
from microgen_jax.types import Condition, Method, Params

MAX_PROFILE_ERROR = 0.1  # share of its profile by which an average made after training may miss it unwarned
_CHECKPOINT_FIELDS = ("checkpoint", "ema", "autoguidance")

Progress = Callable[[int, int], object]


class Generator:
    """A trained model that generates microstructures.

    What was compiled is kept: a call with settings that were used before compiles nothing.

    Attributes:
      config: configuration of the run, with the `sample` part that this generator uses unless told otherwise.
      resolved: classes, conditions and channels.
      step: number of updates of the checkpoint.
      params: averaged parameters.
      method: method that the run was trained with.
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
        self._methods: dict[tuple, Method] = {self._settings(config): method}
        self._programs: dict[tuple, batching.Generate] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.resolved.classes

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the continuous conditions."""
        return self.resolved.conditions

    def sample(
        self,
        num: int,
        label: Any = None,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        *,
        progress: Progress | None = None,
        **sampling: Any,
    ) -> Samples:
        """Generate images; image i of a seed is the same whatever `num` is.

        Args:
          num: number of images.
          label: a class by name or index, or a sequence with one for each image; None takes every class in turn.
          condition: by name, in the data's units, one value for all images or an array with one for each; what is left
            out is left to the model.
          seed: seed of the images, from 0 to 2**32 - 1.
          progress: called as `progress(step, total)` with the sampler's steps that are done and those of all batches.
          **sampling: settings of the sampler for this call, such as `sampler="ddim"`, `steps=50`, `eta`, `spacing`,
            `clip`, `clip_percentile`, `guidance`, `guidance_interval`, `guidance_rescale`, `eps_scale`; what is left
            out is as in `config.sample`.

        Raises:
          UserError: names the argument: a class, condition or setting that does not exist, or a value that cannot be.
        """
        config, method = self._with_settings(sampling)
        num, seed = _checked("num", num), _checked("seed", seed)
        labels, conditions, values = self._request(num, label, condition)
        requests.warn_outside(self.resolved, conditions)
        parts: list[np.ndarray] = []
        batches = -(-num // self._batch_size)
        steps = config.sample.steps if isinstance(method, methods.DDPM) else 1
        for part in self._batches(self._program(config, method), labels, values, seed):
            parts.append(part)
            if progress is not None:  # once a batch; a scan that runs in pieces reports from within
                progress(len(parts) * steps, batches * steps)
        label = label if isinstance(label, str) else ""
        sample = dataclasses.replace(config.sample, num=num, seed=seed, label=label)
        settings = dataclasses.replace(config, sample=sample)
        return Samples(np.concatenate(parts), labels, conditions, seed, self.step, settings, self.resolved)

    def trajectory(
        self,
        num: int,
        times: int | tuple[int, ...],
        label: Any = None,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        **sampling: Any,
    ) -> UInt8[np.ndarray, "K N H W C"]:
        """Return how the first images of `sample` come out of the noise.

        Args:
          num: number of images; those of the first batch are returned at most.
          times: number of images of each trajectory, evenly spaced from the noise to the image, or times of the chain.
          label: as in `sample`.
          condition: as in `sample`.
          seed: as in `sample`.
          **sampling: as in `sample`.

        Raises:
          UserError: as `sample`; of `times`: the method has no steps to look at, or there is no such time.
        """
        if not isinstance(self.method, methods.DDPM):
            raise UserError("times", f"{self.config.method} generates in one step", "leave it out")
        config, method = self._with_settings(sampling)
        num, seed = _checked("num", num), _checked("seed", seed)
        labels, _, values = self._request(num, label, condition)
        indices = np.arange(self._batch_size, dtype=np.int32)
        rows = np.minimum(indices, num - 1)
        cond = Condition(labels[rows].astype(np.int32), values[rows].astype(np.float32))
        with renamed({"trajectory": "times"}):
            frames = self._program(config, method, times)(self._parameters(), seed, indices, cond)
        return np.stack([to_uint8(frame) for frame in jax.device_get(frames)])[:, :num]

    def batches(self, labels: np.ndarray, value: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """Generate a batch at a time.

        Args:
          labels: class of each image.
          value: standardised conditions of each image [N, K]; NaN = not given.
          seed: seed of the images.
        """
        return self._batches(self._program(self.config, self.method), labels, value, seed)

    def _batches(
        self, program: batching.Generate, labels: np.ndarray, value: np.ndarray, seed: int
    ) -> Iterator[np.ndarray]:
        return batching.generate_batches(
            program, self._parameters(), labels, value, seed=seed, batch_size=self._batch_size
        )

    @property
    def _batch_size(self) -> int:
        return self.config.sample.batch_size * self._mesh.size

    def _parameters(self) -> Params:
        return self.params if self.weak is None else (self.params, self.weak)

    def _request(
        self, num: int, label: Any, condition: Mapping[str, Any] | None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Return the classes, the conditions by name and the standardised conditions of the images."""
        labels = requests.choose_labels(self.resolved, num, label)
        dropout = self.config.diffusion.condition_dropout
        conditions = requests.choose_conditions(self.resolved, num, condition or {}, dropout)
        return labels, conditions, requests.standardise(self.resolved, conditions, num)

    def _settings(self, config: Config) -> tuple:
        """Return what a compiled program depends on."""
        return tuple(getattr(config.sample, name) for name in methods.sampling_fields(config.method))

    def _with_settings(self, sampling: Mapping[str, Any]) -> tuple[Config, Method]:
        """Return the configuration and the method with other settings of the sampler."""
        config = _with_sample(self.config, sampling, methods.sampling_fields(self.config.method))
        key = self._settings(config)
        if key not in self._methods:
            self._methods[key] = _build(config, self.resolved, sampling)
        return config, self._methods[key]

    def _program(self, config: Config, method: Method, times: int | tuple[int, ...] = 0) -> batching.Generate:
        key = (self._settings(config), times)
        if key not in self._programs:
            function = partial(method.frames, which=times) if times else method.generate

            def guided(both: tuple[Params, Params], keys: Array, cond: Condition) -> Array:
                return function(both[0], keys, cond, both[1])

            generate = function if self.weak is None else guided
            self._programs[key] = batching.compile_batch(generate, self._mesh, config.data.size)
        return self._programs[key]


def _checked(name: str, value: Any) -> Any:
    """Return an argument as its field of `config.sample` takes it."""
    with renamed({f"sample.{name}": name}):
        return fields.check_value(fields.fields()[f"sample.{name}"], _plain(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _with_sample(config: Config, values: Mapping[str, Any], known: tuple[str, ...]) -> Config:
    """Return the configuration with other values in its `sample` part, checked one by one.

    Raises:
      UserError: names the argument: one that is not known here, or a value that the schema refuses.
    """
    for name in values:
        if name not in known:
            fix = f"{did_you_mean(name, known)}there are: {', '.join(known)}"
            raise UserError(name, "cannot be set here", fix)
    changed = {f"sample.{name}": _plain(value) for name, value in values.items()}
    with renamed({name: name.removeprefix("sample.") for name in changed}):
        return fields.replace(config, changed)


def _build(config: Config, resolved: Resolved, changed: Mapping[str, Any] | None = None) -> Method:
    """Return the run's method; what is wrong with a changed setting names the argument."""
    with renamed({f"sample.{name}": name for name in changed or {}}):
        return methods.build(
            config,
            channels=resolved.channels,
            num_classes=len(resolved.classes),
            num_conditions=len(resolved.conditions),
        )


def open_run(config: Config, resolved: Resolved, workdir: Path) -> Generator:
    """Return a generator of a run.

    Args:
      config: configuration of the run, with the `sample` and `mesh` parts to use.
      resolved: what the run's data decided.
      workdir: folder of the run.

    Raises:
      UserError: no checkpoint, one that does not fit, or a setting that cannot be.
    """
    method = _build(config, resolved)
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
        ('newest', 'best' or a step), `ema`, `autoguidance`.

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
    known = (*methods.sampling_fields(run.config.method), *_CHECKPOINT_FIELDS, "batch_size")
    config = _with_sample(run.config, sample, known)
    without_files = dataclasses.replace(config.sample, frames=0, trajectory_times=())
    config = dataclasses.replace(config, sample=without_files, mesh=MeshConfig())
    with renamed({f"sample.{name}": name for name in sample}):
        return open_run(config, run.resolved, workdir)
