"""A trained model as an object that generates samples."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8

from microgen_jax import methods
from microgen_jax.config import fields
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.data.representations import Orientations, OrientationStack
from microgen_jax.diffusion.samplers.scan import kept_levels
from microgen_jax.errors import UserError, did_you_mean, renamed
from microgen_jax.sampling import batching, requests
from microgen_jax.sampling.samples import Samples
from microgen_jax.types import Method, Params

Progress = Callable[[int, UInt8[np.ndarray, "B H W C"]], object]


class Generator:
    """A trained model that generates microstructures.

    Compiled programs are kept: settings that were used before are not compiled again.

    Attributes:
      config: configuration of the run, with the `sample` part that this generator uses by default.
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
        self._programs: dict[tuple, batching.Walk] = {}

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
        progress_every: int = 1,
        **sampling: Any,
    ) -> Samples:
        """Generate images; image i of a seed is the same whatever `num` is, and with or without `progress`.

        `progress(step, x0)` is called after every `progress_every` steps of the sampler and at the end of each batch:
        with the steps done so far, counted over all batches up to `count_steps(num)`, and with the clean images that
        the network predicts for the current batch, at the end of a batch its samples, uint8 as in `Samples.images`. If
        it returns False the sampling stops: the result holds the finished batches and this one's predictions, and its
        `finished` is False. Its exceptions are passed on. Among several processes it must return the same on each.

        Args:
          num: number of images.
          label: a class by name or index, or a sequence with one for each image; None takes every class in turn.
          condition: values by name in the data's units, one for all images or an array with one for each; conditions
            left out are not given to the model.
          seed: seed of the images, from 0 to 2**32 - 1.
          progress: function that is called during sampling and can stop it.
          progress_every: number of steps between two calls of `progress`; a method that generates in one step calls it
            once a batch.
          **sampling: settings of the sampler for this call, such as `sampler="ddim"`, `steps=50`, `eta`, `spacing`,
            `clip`, `clip_percentile`, `guidance`, `guidance_interval`, `guidance_rescale`, `eps_scale`; what is left
            out is as in `config.sample`.

        Raises:
          UserError: names the argument: a class, condition or setting that does not exist, or a value that cannot be.
        """
        config, method = self._with_settings(sampling)
        num, seed = _checked("num", num), _checked("seed", seed)
        if progress_every < 1:
            raise UserError("progress_every", f"{progress_every} is less than 1", "give a number of steps")
        labels, conditions, values = self._request(num, label, condition)
        requests.warn_outside(self.resolved, labels, conditions)
        steps, representation = batching.count_steps(method), self.resolved.representation
        stops = [*range(progress_every, steps, progress_every), steps] if progress else [steps]
        program, parts = self._program(config, method), []
        for indices, cond in batching.batches_of(labels, values, self._batch_size):
            left, stopped = num - indices[0], False
            for stop, (x, x0) in zip(stops, program(self._parameters(), seed, indices, cond, stops)):
                if stop == steps:
                    shown, maps = self._decoded(np.asarray(x)[:left])
                else:
                    shown, maps = representation.render(np.asarray(x0)[:left]), None
                if progress is not None:
                    stopped = progress(len(parts) * steps + stop, shown) is False
                if stopped or stop == steps:
                    parts.append((shown, maps))
                if stopped:
                    break
            if stopped:
                break
        images = np.concatenate([shown for shown, _ in parts])
        maps = [found for _, found in parts if found is not None]
        made = len(images)
        label = label if isinstance(label, str) else ""
        sample = dataclasses.replace(config.sample, num=made, seed=seed, label=label)
        return Samples(
            images,
            labels[:made],
            {name: values[:made] for name, values in conditions.items()},
            seed,
            self.step,
            dataclasses.replace(config, sample=sample),
            self.resolved,
            finished=made == num and stop == steps,
            orientations=OrientationStack.joined(maps) if maps else None,
        )

    def count_steps(self, num: int, **sampling: Any) -> int:
        """Return the number that the steps of `sample` with `progress` count up to.

        Args:
          num: number of images.
          **sampling: as in `sample`.

        Raises:
          UserError: as `sample`.
        """
        return -(-_checked("num", num) // self._batch_size) * batching.count_steps(
            self._with_settings(sampling)[1]
        )

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
            several = isinstance(self.method, methods.Cascade)
            why = (
                "orientations come in two stages"
                if several
                else f"{self.config.method} generates in one step"
            )
            raise UserError("times", f"{why}, and there is no trajectory", "leave it out")
        config, method = self._with_settings(sampling)
        num, seed = _checked("num", num), _checked("seed", seed)
        labels, _, values = self._request(num, label, condition)
        levels = method.sampling.levels(method.schedule)
        with renamed({"trajectory": "times"}):
            stops, frame_of = np.unique(kept_levels(levels, times), return_inverse=True)
        indices, cond = next(batching.batches_of(labels, values, self._batch_size))
        walk = self._program(config, method)(self._parameters(), seed, indices, cond, stops.tolist())
        render = self.resolved.representation.render
        return np.stack([render(np.asarray(x)[:num]) for x, _ in walk])[frame_of]

    def batches(
        self, labels: np.ndarray, value: np.ndarray, seed: int
    ) -> Iterator[UInt8[np.ndarray, "B H W C"]]:
        """Generate the images of a batch at a time.

        Args:
          labels: class of each image.
          value: standardised conditions of each image [N, K]; NaN = not given.
          seed: seed of the images.
        """
        program, stops = self._program(self.config, self.method), [batching.count_steps(self.method)]
        for indices, cond in batching.batches_of(labels, value, self._batch_size):
            for x, _ in program(self._parameters(), seed, indices, cond, stops):
                yield self._decoded(np.asarray(x)[: len(labels) - indices[0]])[0]

    def _decoded(
        self, channels: Float[np.ndarray, "B H W C"]
    ) -> tuple[UInt8[np.ndarray, "B H W c"], OrientationStack | None]:
        """Return images of 8 bits, and the maps of orientation models."""
        representation = self.resolved.representation
        if not isinstance(representation, Orientations):
            return representation.render(channels), None
        maps = representation.decode(
            channels, "none" if self.config.sample.reconstruct == "none" else "grains"
        )
        return representation.colours(maps.quaternions, maps.phase), maps

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
        config = with_sample(self.config, sampling, methods.sampling_fields(self.config.method))
        key = self._settings(config)
        if key not in self._methods:
            self._methods[key] = build_method(config, self.resolved, sampling)
        return config, self._methods[key]

    def _program(self, config: Config, method: Method) -> batching.Walk:
        key = self._settings(config)
        if key not in self._programs:
            self._programs[key] = batching.compile_walk(
                method,
                self._mesh,
                config.data.size,
                self.resolved.representation,
                weak=self.weak is not None,
            )
        return self._programs[key]


def _checked(name: str, value: Any) -> Any:
    """Return an argument as its field of `config.sample` takes it."""
    with renamed({f"sample.{name}": name}):
        return fields.check_value(fields.fields()[f"sample.{name}"], _plain(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def with_sample(config: Config, values: Mapping[str, Any], known: tuple[str, ...]) -> Config:
    """Return the configuration with other values in its `sample` part, checked one by one.

    Args:
      config: configuration of the run.
      values: new values by name.
      known: names that can be set here.

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


def build_method(config: Config, resolved: Resolved, changed: Mapping[str, Any] | None = None) -> Method:
    """Return a run's method.

    Args:
      config: configuration of the run, with the `sample` part to use.
      resolved: classes, conditions and channels of the run.
      changed: settings that a caller changed, by name.

    Raises:
      UserError: a value that the method cannot have; it names the caller's argument where it was changed.
    """
    with renamed({f"sample.{name}": name for name in changed or {}}):
        return methods.build(
            config,
            channels=resolved.channels,
            stages=resolved.stages,
            num_classes=len(resolved.classes),
            num_conditions=len(resolved.conditions),
        )
