"""One run at a time in a work directory."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from microgen_jax.errors import UserError


@contextmanager
def hold(workdir: Path, active: bool = True) -> Iterator[None]:
    """Keeps every other run out of the folder while the context lasts.

    The system lets go of the lock when its process ends, however it ends, so that none is ever stale. On file
    systems without locks (some Lustre mounts) the run goes on unprotected, and says so. On those whose locks hold for
    one machine only (mounted buckets), it says which run of another machine has not ended by itself.

    Args:
      workdir: the run's folder; made where there is none.
      active: False for processes that are not the first of their run: they hold nothing.

    Raises:
      UserError: another run holds it; says where that one runs and since when.
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


def _take(file: TextIO, workdir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        raise UserError(
            f"--workdir={workdir} is in use by {_said(_holder(file))}; wait for it, stop it, or choose another"
        ) from fault
    except OSError as fault:
        print(f"note: {workdir} cannot be locked ({fault.strerror}); start no second run there", flush=True)
    if (left := _holder(file)) and left["host"] != socket.gethostname():
        print(f"note: {workdir} was in use by {_said(left)}; see that it has ended", flush=True)
    file.truncate(0)
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    json.dump({"host": socket.gethostname(), "pid": os.getpid(), "started": started}, file)
    file.flush()


def _holder(file: TextIO) -> dict | None:
    """Who wrote the file; None where nobody has yet."""
    file.seek(0)
    try:
        holder = json.load(file)
        return {name: holder[name] for name in ("host", "pid", "started")}
    except (ValueError, KeyError, TypeError):
        return None


def _said(holder: dict | None) -> str:
    if holder is None:
        return "a run that has just started"
    return f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
