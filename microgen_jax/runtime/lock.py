"""One run at a time in a work directory."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from microgen_jax.errors import UserError

PROBE_SECONDS = 0.2  # after which `is_held` of another process has let go


@contextmanager
def hold(workdir: Path, active: bool = True) -> Iterator[None]:
    """Keep every other run out of the folder while the context lasts.

    The system releases the lock when its process ends, however it ends, so that none is ever stale. On file systems
    without locks (some Lustre mounts) the run goes on unprotected, with a note. On those whose locks hold for one
    machine only (mounted buckets), a note names the run of another machine that has not ended by itself.

    Args:
      workdir: folder of the run; made where there is none.
      active: False for processes other than process 0: they hold nothing.

    Raises:
      UserError: another run holds it; names its machine, process and start.
    """
    if not active:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / ".lock", "a+") as file:
        _take(file, workdir)
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def is_held(workdir: Path) -> bool:
    """Return whether a run holds the folder now.

    Args:
      workdir: folder of a run.
    """
    try:
        with open(workdir / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def this_process() -> dict[str, str | int]:
    """Return the identity of this process: host, process number and time."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": started}


def describe(holder: dict | None) -> str:
    """Return a process as text.

    Args:
      holder: what `this_process` gave there; None where nobody has written it yet.
    """
    if holder is None:
        return "a run that has just started"
    pid, host, started = (holder.get(name, "?") for name in ("pid", "host", "started"))
    return f"process {pid} on {host}, started {started}"


def _take(file: TextIO, workdir: Path) -> None:
    try:
        _lock(file)
    except BlockingIOError as error:
        holder = describe(_holder(file))
        raise UserError(
            f"--workdir={workdir}", f"is in use by {holder}", "wait for it, stop it, or choose another"
        ) from error
    except OSError as error:
        print(f"note: {workdir} cannot be locked ({error.strerror}); start no second run there", flush=True)
    if (left := _holder(file)) and left["host"] != socket.gethostname():
        print(f"note: {workdir} was in use by {describe(left)}; make sure that it has ended", flush=True)
    file.truncate(0)
    json.dump(this_process(), file)
    file.flush()


def _lock(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(PROBE_SECONDS)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: TextIO) -> dict | None:
    """Return who wrote the file; None where nobody has yet."""
    file.seek(0)
    try:
        holder = json.load(file)
    except ValueError:
        return None
    names = ("host", "pid", "started")
    return holder if isinstance(holder, dict) and all(name in holder for name in names) else None
