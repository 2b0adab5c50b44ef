"""The training loop: the one place where things happen in order.

The order within a step is a contract:

1. batch k = step is taken (a pure function of seed and k), the update is dispatched with `fold_in(key, k)`;
2. the metrics of the update before are read, while this one runs; a value that is not finite stops the run;
3. what is due at this step happens: log, held-out loss, checkpoint, images, in this order;
4. a stop saves after the log and leaves; one that comes during 3 lets the measurement or drawing end first. The
   held-out loss and the images that were not begun are then made at the next start.

A run that starts again from the checkpoint of a step therefore does what the undisturbed run did after it.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.training.checkpoint import METRIC, Checkpoints
from microgen_jax.training.logging import Writer
from microgen_jax.training.progress import Progress
from microgen_jax.training.state import TrainState
from microgen_jax.training.watchdog import Explosions, Watch
from microgen_jax.types import Batch, Metrics

FINITE_LAYERS = "finite_layers"
_NAMED = 16


class Diverged(UserError):
    """The loss or the gradient was not finite; the message names the step, its images and where it began."""


class Interrupted(Exception):
    """A signal asked to stop; the state was saved first. The message says where."""


@dataclass(frozen=True)
class Steps:
    """How long to train, and what happens how often (in updates; 0 = never); `skip` names batches to pass over."""

    total: int
    log_every: int
    sample_every: int
    eval_every: int
    checkpoint_every: int
    skip: tuple[int, ...] = ()


class Functions(NamedTuple):
    """What the loop calls, compiled.

    Attributes:
      train_step: `(state, batch, key) -> (state, metrics)`; the state is donated.
      heldout: `state -> metrics`, means over the held-out images, or None where there are none.
      draw: `state -> uint8 [N, H, W, C]`, the same seeds at every call.
      images: `k -> names` of the images of batch k.
      layers: names of the groups of parameters, in the order of the metric `finite_layers`.
    """

    train_step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
    heldout: Callable[[TrainState], dict[str, float]] | None
    draw: Callable[[TrainState], np.ndarray]
    images: Callable[[int], list[str]] = lambda k: []
    layers: tuple[str, ...] = ()


class _Due(NamedTuple):
    log: bool
    heldout: bool
    draw: bool
    save: bool


def _due(step: int, first: int, steps: Steps) -> _Due:
    """What happens after update `step`; the last step does everything, and a saved step has its held-out loss."""

    def now(every: int) -> bool:
        return bool(every) and (step % every == 0 or step == steps.total)

    save = now(steps.checkpoint_every) or step == steps.total
    heldout = now(steps.eval_every) or (save and bool(steps.eval_every))
    return _Due(now(steps.log_every) or step == first, heldout, now(steps.sample_every), save)


def owed(step: int, steps: Steps, writer: Writer) -> _Due:
    """What was due after update `step` and is not there, as a stop has left without it; the same on every process."""
    due = _due(step, step, steps) if step else _Due(False, False, False, False)
    heldout = due.heldout and not writer.has_scalar(step, METRIC)
    draw = due.draw and not writer.has_images(step)
    return _Due(
        False,
        distributed.broadcast_from_process_0(heldout),
        distributed.broadcast_from_process_0(draw),
        False,
    )


def _measure(
    step: int, due: _Due, state: TrainState, functions: Functions, writer: Writer, progress: Progress
) -> float | None:
    """Writes the held-out loss where it is due, and gives it; None where there is none to rank by."""
    if not (due.heldout and functions.heldout):
        return None
    heldout = functions.heldout(state)
    writer.scalars(step, heldout)
    progress.report(step, heldout)
    return heldout[METRIC] if math.isfinite(heldout[METRIC]) else None


def _draw(step: int, due: _Due, state: TrainState, functions: Functions, writer: Writer) -> None:
    if due.draw:
        writer.images(step, functions.draw(state))


def _read(step: int, metrics: Metrics, functions: Functions) -> dict[str, float]:
    """The metrics of update `step` as numbers."""
    values = {name: float(value) for name, value in metrics.items() if name != FINITE_LAYERS}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        finite = metrics.get(FINITE_LAYERS, ())
        layers = [name for name, good in zip(functions.layers, finite) if not good]
        raise Diverged(_divergence(step, bad, layers, functions))
    return values


def _divergence(step: int, bad: list[str], layers: list[str], functions: Functions) -> str:
    where = ""
    if layers:
        every = len(layers) == len(functions.layers)
        where = f" (gradient: {'every layer' if every else ', '.join(layers)})"
    return (
        f"step {step}: {' and '.join(bad)} not finite{where}{_images(step, functions)}. Checkpoints of earlier steps "
        f"are intact: start again with --config.train.skip_batches='({step - 1},)' to pass over this batch, or "
        "look at the data, or train in another workdir with a smaller train.learning_rate"
    )


def _explosion(step: int, exploded: str, functions: Functions) -> str:
    return (
        f"step {step}: {exploded}{_images(step, functions)}. If it does not come back: stop, remove the younger "
        f"checkpoints, and start again with --config.train.skip_batches='({step - 1},)' or a smaller "
        "train.learning_rate in another workdir"
    )


def _images(step: int, functions: Functions) -> str:
    """Of the batch of update `step`."""
    images = functions.images(step - 1)
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return f"; its images: {', '.join(images[:_NAMED])}{more}" if images else ""


def train(
    functions: Functions,
    state: TrainState,
    batches: Iterator[Batch],
    key: jax.Array,
    steps: Steps,
    batch_size: int,
    checkpoints: Checkpoints,
    writer: Writer,
    progress: Progress,
    watch: Watch,
) -> TrainState:
    """Trains from the state's step to the last one.

    Args:
      functions: the method's, compiled.
      state: where to start.
      batches: on the devices, starting with the state's step.
      key: the run's root; step k draws from `fold_in(key, k)`.
      steps: how far, and what how often.
      batch_size: images an update, for the speed.
      checkpoints: where the state goes.
      writer: where metrics and images go.
      progress: what the person sees.
      watch: times the updates.

    Raises:
      Diverged: a loss or gradient norm was not finite.
      Interrupted: SIGTERM or SIGINT; the state is saved.
    """
    step, loss = int(state.step), None
    first, pending, stopwatch, explosions = step + 1, {}, _Stopwatch(), Explosions()
    with distributed.StopSignal() as stop, progress, watch:
        missing = owed(step, steps, writer)
        _measure(step, missing, state, functions, writer, progress)
        if not stop.received:
            _draw(step, missing, state, functions, writer)
        while step < steps.total and not stop.received:
            stopwatch.start()
            watch.start()
            batch = next(batches)
            stopwatch.waited()
            if step in steps.skip:
                state, metrics = state.replace(step=state.step + 1), {}
            else:
                state, metrics = functions.train_step(state, batch, jax.random.fold_in(key, step))
            _read(step, pending, functions)
            step, pending = step + 1, metrics
            due = _due(step, first, steps)
            values = _read(step, pending, functions) if stop.reached(step) or any(due) else {}
            stopwatch.stop()
            progress.advance(step)
            if slow := watch.stop(step):
                distributed.log(f"warning: {slow}")

            if due.log:
                values |= stopwatch.report(batch_size, compiled=step == first)
                writer.scalars(step, values)
                progress.report(step, values)
                if exploded := explosions.seen(values.get("loss", 0.0)):
                    distributed.log(f"warning: {_explosion(step, exploded, functions)}")

            measured = None if stop.received else _measure(step, due, state, functions, writer, progress)
            loss = measured if due.save else None
            if due.save and not stop.received:
                checkpoints.save(step, state, loss)
            if not stop.received:
                _draw(step, due, state, functions, writer)
        noticed = time.perf_counter()
        checkpoints.wait()
        if stop.received:
            _read(step, pending, functions)
            _save(step, state, loss, checkpoints)
            if step < steps.total or any(owed(step, steps, writer)):
                seconds = time.perf_counter() - noticed
                raise Interrupted(
                    f"{stop.received}: stopped after step {step}, saved as checkpoints/{step} in {seconds:.1f} s"
                )
    return state


def _save(step: int, state: TrainState, loss: float | None, checkpoints: Checkpoints) -> None:
    """The last step's checkpoint, where it has none yet."""
    if checkpoints.newest() != step:
        checkpoints.save(step, state, loss)
        checkpoints.wait()


class _Stopwatch:
    """Seconds spent on updates and on waiting for their batches; drawing and saving do not count."""

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
        """Speed and share of waiting since the last report; of a step that compiled, its seconds."""
        busy, speed = self._busy, batch_size * self._updates / self._busy
        share = self._waiting / busy
        self.__init__()
        return {"first_step_seconds": busy} if compiled else {"images_per_second": speed, "data_wait": share}
