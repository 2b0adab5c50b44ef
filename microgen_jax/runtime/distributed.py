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
    """What one of several processes ran into by itself; it is left at once after the line.

    At an ordinary exit it would wait, for five minutes, for the others, which wait for its part of the next update.
    """


def initialize(coordinator: str = "", num_processes: int = 0, process_id: int = -1) -> None:
    """Joins the run's other processes; to be called before anything asks for a device.

    Without arguments the other processes are found where Slurm's `srun`, Open MPI's `mpirun` or GKE on a TPU slice
    started several, and nothing happens elsewhere.

    Args:
      coordinator: host:port of process 0; or 'auto': JAX asks whatever started it, as the hosts of a Cloud TPU
        slice are known to Google's metadata server alone, then without the other two.
      num_processes: how many there are.
      process_id: which of them this is, from 0.

    Raises:
      UserError: some of the three are missing, or the others cannot be reached.
    """
    asked = coordinator == "auto"
    given = bool(coordinator) and not asked, num_processes > 0, process_id >= 0
    if any(given) and not all(given):
        raise UserError(
            "several processes need all of --coordinator=host:port, --num_processes and --process_id, or "
            f"--coordinator=auto alone (given: {coordinator!r}, {num_processes}, {process_id})"
        )
    if not any(given) and not asked and not _started_among_others():
        return
    try:
        if any(given):
            jax.distributed.initialize(coordinator, num_processes, process_id)
        else:
            jax.distributed.initialize()
    except (ValueError, TypeError, RuntimeError, OSError) as fault:
        raise UserError(
            f"cannot join the other processes ({fault}); see docs/launch, or start one process alone"
        ) from fault


def _started_among_others() -> bool:
    counts = (os.environ.get(name, "") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    several = any(count.isdecimal() and int(count) > 1 for count in counts)
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def is_process_0() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def is_multi_process() -> bool:
    """Whether this process is one of many; asked before any device is."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def log(text: str) -> None:
    """Prints a line, once for all processes."""
    if is_process_0():
        print(text, flush=True)


def barrier(where: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def broadcast_from_process_0(flag: bool) -> bool:
    """Process 0's answer, on every process."""
    return bool(multihost_utils.broadcast_one_to_all(np.array(flag))) if jax.process_count() > 1 else flag


@contextmanager
def broadcast_errors() -> Iterator[None]:
    """What one process is refused stops all of them, each with one line, instead of leaving the others waiting.

    Raises:
      UserError: this process's own, or the number of the process that raised one.
    """
    fault = None
    try:
        yield
    except UserError as own:
        fault = own
    if jax.process_count() > 1:
        failed = np.flatnonzero(multihost_utils.process_allgather(np.array(fault is not None)))
        if len(failed) and fault is None:
            raise UserError(
                f"process {failed[0]} of {jax.process_count()} was refused; its own line says why"
            )
    if fault is not None:
        raise fault


def local_errors_abort(elements: Iterator[T]) -> Iterator[T]:
    """What this process alone reads, such as its rows of the batches.

    Raises:
      ProcessError: among several processes, what was a UserError.
    """
    try:
        yield from elements
    except UserError as fault:
        if is_multi_process():
            raise ProcessError(str(fault)) from fault
        raise


def assert_same_config(facts: Mapping[str, str]) -> None:
    """Refuses to go on with processes that were told different things.

    Args:
      facts: what must be the same everywhere, by name.

    Raises:
      UserError: naming the first process that differs from process 0, and in what.
    """
    if jax.process_count() == 1:
        return
    digests = np.array([zlib.crc32(text.encode()) for text in facts.values()], np.uint32)
    everywhere = multihost_utils.process_allgather(digests)
    for process, row in enumerate(everywhere):
        differing = [name for name, same in zip(facts, row == everywhere[0]) if not same]
        if differing:
            raise UserError(
                f"process {process} has another {' and '.join(differing)} than process 0; "
                "give every process the same"
            )


def code_digest() -> str:
    """A digest of the package's own source files."""
    folder = Path(__file__).resolve().parents[1]
    digest = 0
    for path in sorted(folder.rglob("*.py")):
        digest = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(folder)).encode(), digest))
    return f"{digest:08x}"


class StopSignal:
    """Turns the first SIGTERM or SIGINT into a wish to stop; the second acts at once.

    With several processes, JAX tells all of them of a SIGTERM that one has received (or of a preemption notice
    of the cloud), and of the step after which all stop.

    Attributes:
      received: the signal's name where no further update is to begin, else ''; the same on every process.
    """

    def __enter__(self):
        self.received = ""
        self._before = {number: signal.signal(number, self._note) for number in self._caught()}
        return self

    def reached(self, step: int) -> str:
        """The signal's name where the run is to stop after update `step`, else ''; asked once an update."""
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
