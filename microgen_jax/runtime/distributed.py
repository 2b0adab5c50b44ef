"""One run over several processes: how they join, agree on what is run, and stop together."""

import os
import signal
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from microgen_jax.errors import UserError

T = TypeVar("T")


class ProcessError(UserError):
    """An error of one of several processes alone, which ends at once after printing it.

    At an ordinary exit it would wait, for five minutes, for the others, which wait for its part of the next update.

    Attributes:
      exit_status: exit status of the process.
    """

    def __init__(self, where: str, problem: str, fix: str = "", exit_status: int = 2) -> None:
        super().__init__(where, problem, fix)
        self.exit_status = exit_status

    def at(self, where: str) -> "ProcessError":
        """Return the same error of another argument, field or file."""
        return type(self)(where, self.problem, self.fix, self.exit_status)


def initialize(coordinator: str = "", num_processes: int = 0, process_id: int = -1) -> None:
    """Join the other processes of the run; to be called before anything asks for a device.

    Without arguments the other processes are found where Slurm's `srun`, Open MPI's `mpirun` or GKE on a TPU slice
    started several, and nothing happens elsewhere.

    Args:
      coordinator: host:port of process 0; or 'auto', without the other two: JAX asks whatever started it, as the
        hosts of a Cloud TPU slice are known to Google's metadata server alone.
      num_processes: number of processes.
      process_id: number of this process, from 0.

    Raises:
      UserError: some of the three are missing, or the others cannot be reached.
    """
    asked = coordinator == "auto"
    given = bool(coordinator) and not asked, num_processes > 0, process_id >= 0
    if any(given) and not all(given):
        raise UserError(
            "--coordinator",
            f"incomplete: given are {coordinator!r}, --num_processes={num_processes} and --process_id={process_id}",
            "give all three, or --coordinator=auto alone",
        )
    if not any(given) and not asked and not _started_among_others():
        return
    try:
        if any(given):
            jax.distributed.initialize(coordinator, num_processes, process_id)
        else:
            jax.distributed.initialize()
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(
            "--coordinator",
            f"cannot join the other processes ({error})",
            "see docs/launch, or start one process alone",
        ) from error


def _started_among_others() -> bool:
    counts = (os.environ.get(name, "") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    several = any(count.isdecimal() and int(count) > 1 for count in counts)
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def is_process_0() -> bool:
    """Return whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def is_multi_process() -> bool:
    """Return whether this process is one of several; may be called before any device is used."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def log(text: str) -> None:
    """Print a line on process 0.

    Args:
      text: line to print.
    """
    if is_process_0():
        print(text, flush=True)


def barrier(where: str) -> None:
    """Return when every process has come here.

    Args:
      where: name of this place, the same on every process.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def broadcast_from_process_0(flag: bool) -> bool:
    """Return the flag of process 0, on every process.

    Args:
      flag: flag of this process.
    """
    return bool(multihost_utils.broadcast_one_to_all(np.array(flag))) if jax.process_count() > 1 else flag


@contextmanager
def broadcast_errors() -> Iterator[None]:
    """Stop all processes where one raises a UserError within, instead of leaving the others waiting.

    Raises:
      UserError: the error of this process, or the number of the process that raised one; with its exit status.
    """
    error = None
    try:
        yield
    except UserError as own:
        error = own
    if jax.process_count() > 1:
        statuses = multihost_utils.process_allgather(np.array(error.exit_status if error else 0))
        failed = np.flatnonzero(statuses)
        if len(failed) and error is None:
            where = f"process {failed[0]} of {jax.process_count()}"
            error = UserError(where, "ended with an error", "see the line that it printed")
            error.exit_status = int(statuses[failed[0]])
    if error is not None:
        raise error


@contextmanager
def process_aborts() -> Iterator[None]:
    """End this process at once where a UserError is raised within, while the others wait for its part.

    Raises:
      ProcessError: among several processes, in the place of a UserError; with its exit status.
    """
    try:
        yield
    except UserError as error:
        if is_multi_process():
            raise ProcessError(error.where, error.problem, error.fix, error.exit_status) from error
        raise


def local_errors_abort(elements: Iterator[T]) -> Iterator[T]:
    """Yield elements that this process reads alone, such as its rows of the batches.

    Args:
      elements: elements of this process.

    Raises:
      ProcessError: among several processes, in the place of a UserError.
    """
    with process_aborts():
        yield from elements


def assert_same_config(facts: Mapping[str, str]) -> None:
    """Refuse processes that were started with different configurations.

    Args:
      facts: values that must be the same on every process, by name.

    Raises:
      UserError: a process differs from process 0; names the first one, and in what.
    """
    if jax.process_count() == 1:
        return
    digests = np.array([zlib.crc32(text.encode()) for text in facts.values()], np.uint32)
    everywhere = multihost_utils.process_allgather(digests)
    for process, row in enumerate(everywhere):
        differing = [name for name, same in zip(facts, row == everywhere[0]) if not same]
        if differing:
            raise UserError(
                f"process {process}",
                f"has another {' and '.join(differing)} than process 0",
                "start every process with the same",
            )


def code_digest() -> str:
    """Return a digest of the package's own source files."""
    folder = Path(__file__).resolve().parents[1]
    digest = 0
    for path in sorted(folder.rglob("*.py")):
        digest = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(folder)).encode(), digest))
    return f"{digest:08x}"


class StopSignal:
    """A context that turns the first SIGTERM or SIGINT into a request to stop; the second acts at once.

    With several processes, JAX informs all of them of a SIGTERM that one has received (or of a preemption notice
    of the cloud), and of the step after which all stop.

    Attributes:
      received: the signal's name where no further update is to begin, else ''; the same on every process.
    """

    def __enter__(self):
        self.received = ""
        self._before = {number: signal.signal(number, self._note) for number in self._caught()}
        return self

    def reached(self, step: int) -> str:
        """Return the signal's name where the run is to stop after update `step`, else ''; called once an update.

        Args:
          step: number of updates done.
        """
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.received = "SIGTERM"
        return self.received

    def _caught(self) -> tuple[signal.Signals, ...]:
        both = (signal.SIGTERM, signal.SIGINT)
        return both if jax.process_count() == 1 else (signal.SIGINT,)

    def _note(self, number, frame):
        for caught in self._caught():
            signal.signal(caught, signal.SIG_DFL)
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.received = signal.Signals(number).name

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
