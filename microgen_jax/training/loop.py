"""The training loop: the one place where things happen in order.

The order within a step is a contract:

1. batch k = step is taken (a pure function of seed and k), the update is dispatched with `fold_in(key, k)`;
2. the metrics of the update before are read, while this one runs; a value that is not finite stops the run;
3. what is due at this step happens: log, held-out loss, checkpoint, samples, in this order;
4. a stop saves after the log and leaves; one that comes during 3 lets the measurement or sampling end first. The
   held-out loss and the samples that were not begun are then made at the next start.

A run that starts again from the checkpoint of a step therefore does what the undisturbed run did after it. Within 1
and 2 nothing moves between host and devices but by an explicit call (`jax.transfer_guard`).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.training.checkpoint import METRIC, Checkpoints
from microgen_jax.training.logging import Writer
from microgen_jax.training.progress import Progress
from microgen_jax.training.state import TrainState
from microgen_jax.training.watchdog import FACTOR, RunningMedian, Watch
from microgen_jax.types import Batch, Metrics

FINITE_LAYERS = "finite_layers"
MAX_NAMED = 16  # images in a message
UPDATES_BEFORE_PROFILE = 2  # the first one compiles

_fold_in = jax.jit(jax.random.fold_in)


class Diverged(UserError):
    """The loss or the gradient was not finite; the message names the step, its images and where it began."""


class Interrupted(Exception):
    """A signal asked to stop; the state was saved first. The message says where."""


@dataclass(frozen=True)
class Steps:
    """How far to train, and how often what happens (in updates; 0 = never).

    Attributes:
      total: number of the last update.
      log_every: updates between two lines of the log.
      sample_every: updates between two grids of samples.
      eval_every: updates between two held-out losses.
      checkpoint_every: updates between two checkpoints.
      skip: numbers of batches to pass over.
      profile: updates to trace for TensorBoard's profiler.
    """

    total: int
    log_every: int
    sample_every: int
    eval_every: int
    checkpoint_every: int
    skip: tuple[int, ...] = ()
    profile: int = 0


@dataclass(frozen=True)
class Run:
    """What the loop needs beside the state and the batches.

    Attributes:
      train_step: compiled `(state, batch, key) -> (state, metrics)`; the state is donated.
      heldout: `state -> metrics`, means over the held-out images; None where there are none.
      preview: `state -> uint8 [N, H, W, C]`, samples of the same seeds at every call.
      key: PRNG key of the run, on every device; update k uses `fold_in(key, k)`.
      steps: how far, and how often what happens.
      batch_size: images of an update, over all devices, for the speed.
      workdir: folder of the run.
      checkpoints: checkpoints of the run.
      writer: log of metrics and samples.
      images: `k -> names` of the images of batch k.
      layers: names of the groups of parameters, in the order of the metric `finite_layers`.
    """

    train_step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
    heldout: Callable[[TrainState], dict[str, float]] | None
    preview: Callable[[TrainState], np.ndarray]
    key: jax.Array
    steps: Steps
    batch_size: int
    workdir: Path
    checkpoints: Checkpoints
    writer: Writer
    images: Callable[[int], list[str]] = lambda k: []
    layers: tuple[str, ...] = ()


def train(run: Run, state: TrainState, batches: Iterator[Batch]) -> TrainState:
    """Train from the state's step to the last one and return the state there.

    Args:
      run: functions to call, how often, and where results go.
      state: state to start from.
      batches: batches on the devices, starting with number `state.step`.

    Raises:
      Diverged: a loss or gradient norm was not finite.
      Interrupted: SIGTERM or SIGINT came; the state is saved.
    """
    step, loss, active = int(state.step), None, distributed.is_process_0()
    first, pending, stopwatch, losses = step + 1, {}, _Stopwatch(), RunningMedian()
    with (
        distributed.StopSignal() as stop,
        Progress(step, run.steps.total, active) as progress,
        Watch(run.workdir, active) as watch,
        _Profile(run, first, active) as profile,
    ):
        missing = owed(step, run.steps, run.writer)
        _measure(step, missing, state, run, progress)
        if not stop.received:
            _preview(step, missing, state, run)
        while step < run.steps.total and not stop.received:
            profile.start(step + 1)
            stopwatch.start()
            watch.start()
            with jax.transfer_guard("disallow"), jax.profiler.StepTraceAnnotation("train", step_num=step):
                batch = next(batches)
                stopwatch.waited()
                state, metrics = _update(run, state, batch, step)
                _read(step, pending, run)
            step, pending = step + 1, metrics
            due = _due(step, first, run.steps)
            values = _read(step, pending, run) if stop.reached(step) or any(due) else {}
            stopwatch.stop()
            profile.stop(step, state)
            progress.advance(step)
            if slow := watch.stop(step):
                distributed.log(f"warning: {slow}")

            if due.log:
                values |= stopwatch.report(run.batch_size, compiled=step == first)
                run.writer.scalars(step, values)
                progress.report(step, values)
                if (factor := losses.add(values.get("loss", 0.0))) > FACTOR:
                    distributed.log(f"warning: {_explosion(step, values['loss'], factor, run)}")

            measured = None if stop.received else _measure(step, due, state, run, progress)
            loss = measured if due.save else None
            if due.save and not stop.received:
                run.checkpoints.save(step, state, loss)
            if not stop.received:
                _preview(step, due, state, run)
        noticed = time.perf_counter()
        run.checkpoints.wait()
        if stop.received:
            _read(step, pending, run)
            if run.checkpoints.newest() != step:
                run.checkpoints.save(step, state, loss)
                run.checkpoints.wait()
            if step < run.steps.total or any(owed(step, run.steps, run.writer)):
                seconds = time.perf_counter() - noticed
                raise Interrupted(
                    f"{stop.received}: stopped after step {step}, saved as checkpoints/{step} in {seconds:.1f} s"
                )
    return state


class _Due(NamedTuple):
    log: bool
    heldout: bool
    preview: bool
    save: bool


def _due(step: int, first: int, steps: Steps) -> _Due:
    """Return what happens after update `step`; the last step does everything, a saved step has its held-out loss."""

    def now(every: int) -> bool:
        return bool(every) and (step % every == 0 or step == steps.total)

    save = now(steps.checkpoint_every) or step == steps.total
    heldout = now(steps.eval_every) or (save and bool(steps.eval_every))
    return _Due(now(steps.log_every) or step == first, heldout, now(steps.sample_every), save)


def owed(step: int, steps: Steps, writer: Writer) -> _Due:
    """Return what was due after update `step` and is not there, as a stop left without it.

    Args:
      step: updates done.
      steps: how often what happens.
      writer: log of the run; process 0's is asked, for every process.
    """
    due = _due(step, step, steps) if step else _Due(False, False, False, False)
    heldout = due.heldout and not writer.has_scalar(step, METRIC)
    preview = due.preview and not writer.has_images(step)
    return _Due(
        False,
        distributed.broadcast_from_process_0(heldout),
        distributed.broadcast_from_process_0(preview),
        False,
    )


def _update(run: Run, state: TrainState, batch: Any, step: int) -> tuple[TrainState, Metrics]:
    if step in run.steps.skip:
        with jax.transfer_guard("allow"):  # the 1
            return state.replace(step=state.step + 1), {}
    return run.train_step(state, batch, _fold_in(run.key, state.step))


def _measure(step: int, due: _Due, state: TrainState, run: Run, progress: Progress) -> float | None:
    """Log the held-out loss where it is due and return it; None where there is none to rank by."""
    if not (due.heldout and run.heldout):
        return None
    heldout = run.heldout(state)
    run.writer.scalars(step, heldout)
    progress.report(step, heldout)
    return heldout[METRIC] if math.isfinite(heldout[METRIC]) else None


def _preview(step: int, due: _Due, state: TrainState, run: Run) -> None:
    if due.preview:
        run.writer.images(step, run.preview(state))


def _read(step: int, metrics: Metrics, run: Run) -> dict[str, float]:
    """Return the metrics of update `step` as numbers.

    Raises:
      Diverged: one of them is not finite.
    """
    found = jax.device_get(metrics)
    finite = found.pop(FINITE_LAYERS, ())
    values = {name: float(value) for name, value in found.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        layers = [name for name, good in zip(run.layers, finite) if not good]
        every = len(layers) == len(run.layers)
        where = f" (gradient: {'every layer' if every else ', '.join(layers)})" if layers else ""
        raise Diverged(
            f"step {step}",
            f"{' and '.join(bad)} not finite{where}{_images(step, run)}",
            f"checkpoints of earlier steps are intact: start again with --config.train.skip_batches='({step - 1},)' "
            "to pass over this batch, or look at the data, or train in another workdir with a smaller "
            "train.learning_rate",
        )
    return values


def _explosion(step: int, loss: float, factor: float, run: Run) -> str:
    return (
        f"step {step}: loss {loss:.4g} is {factor:.0f} times the median{_images(step, run)}. If it does not come "
        f"back: stop, remove the later checkpoints, and start again with --config.train.skip_batches='({step - 1},)' "
        "or a smaller train.learning_rate in another workdir"
    )


def _images(step: int, run: Run) -> str:
    """Name the images of the batch of update `step`."""
    images = run.images(step - 1)
    more = f" and {len(images) - MAX_NAMED} more" if len(images) > MAX_NAMED else ""
    return f"; its images: {', '.join(images[:MAX_NAMED])}{more}" if images else ""


class _Profile:
    """A context that traces `run.steps.profile` updates for TensorBoard, on one process, after the first ones."""

    def __init__(self, run: Run, first: int, active: bool):
        self._folder = run.workdir / "tensorboard"
        self._first = first + UPDATES_BEFORE_PROFILE if active and run.steps.profile else 0
        self._last = self._first + run.steps.profile - 1
        self._tracing = False

    def __enter__(self):
        return self

    def start(self, step: int) -> None:
        """Begin the trace where update `step` is the first one of it."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._tracing = True

    def stop(self, step: int, state: TrainState) -> None:
        """End the trace where update `step` is the last one of it."""
        if self._tracing and step == self._last:
            jax.block_until_ready(state)
            self.__exit__()
            distributed.log(f"profile of updates {self._first} to {step}: {self._folder}/plugins/profile")

    def __exit__(self, *_):
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False


class _Stopwatch:
    """Seconds spent on updates and on waiting for their batches; sampling and saving do not count."""

    def __init__(self):
        self._updates, self._busy, self._waiting, self._began = 0, 0.0, 0.0, 0.0

    def start(self) -> None:
        self._began = time.perf_counter()

    def waited(self) -> None:
        self._waiting += time.perf_counter() - self._began

    def stop(self) -> None:
        self._busy += time.perf_counter() - self._began
        self._updates += 1

    def report(self, batch_size: int, compiled: bool) -> dict[str, float]:
        """Return speed and share of waiting since the last report; of a step that compiled, its seconds."""
        busy, speed = self._busy, batch_size * self._updates / self._busy
        share = self._waiting / busy
        self.__init__()
        return {"first_step_seconds": busy} if compiled else {"images_per_second": speed, "data_wait": share}
