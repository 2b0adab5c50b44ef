"""One run at a time in an object store, which has no locks: an object that its run keeps rewriting.

1. Nobody's clock is compared. Who finds another's object watches it: if it changes, that run lives; if it does not for
   `LIFE` seconds of one's own stopwatch, or if its process was of this machine and has ended, the object is taken over.
2. It is only ever written over the version that was seen. Of several who take over a dead run's exactly one succeeds,
   and a run that was taken for dead cannot write over its successor's.
3. Whose it is says a random token. Machine (its boot and process namespace), process and start only serve to see at
   once that the process has ended; where the system does not tell them, nothing but time does.
"""

import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.runtime.conditional import Changed, Conditional

BEAT = 15.0  # seconds between signs of life
LIFE = 90.0  # seconds without one after which a run is taken for dead


class TakenOver(UserError):
    """Another run took this one for dead and holds its place."""


class Lease:
    """What this run holds.

    Args:
      thing: the object.
      url: of the work directory, as a person calls it.
    """

    def __init__(self, thing: Conditional, url: str):
        self._thing, self._url = thing, url
        self._holder = _this_process() | {"token": uuid.uuid4().hex}
        self._version = ""
        self._over, self._lost = threading.Event(), threading.Event()

    def check(self) -> None:
        """Asks the store whose the place is.

        Raises:
          TakenOver: another run's; this one is told to stop.
        """
        if not self._lost.is_set():
            self._judge(_found(self._thing))
        if self._lost.is_set():
            raise TakenOver(f"{self._url} was taken over by another run")

    def _judge(self, found: dict | None) -> None:
        if found is not None and found.get("token") != self._holder["token"] and not self._lost.is_set():
            self._lost.set()
            distributed.log(
                f"warning: {_who(found)} has taken over {self._url}, as no sign of life came from here; stopping"
            )
            os.kill(os.getpid(), signal.SIGTERM)

    def _take(self) -> None:
        while True:
            found, version = _seen(self._thing)
            if found is not None and found.get("token") == self._holder["token"]:
                self._version = version  # of a request that was repeated because its answer was lost
                return
            if found is not None and not _ended_here(found):
                _watch(self._thing, found, version, self._url)
            with suppress(Changed):
                self._version = self._thing.write(self._content(0), version)
                return

    def _live(self) -> None:
        beat = 0
        while not self._over.wait(BEAT) and not self._lost.is_set():
            beat += 1
            with suppress(Exception):  # the next beat may come through; LIFE is several of them
                self._beat(beat)

    def _beat(self, beat: int) -> None:
        try:
            self._version = self._thing.write(self._content(beat), self._version)
        except Changed:
            found, self._version = _seen(self._thing)
            self._judge(found)

    def _content(self, beat: int) -> bytes:
        return json.dumps(self._holder | {"beat": beat}).encode()

    def _leave(self) -> None:
        if not self._lost.is_set():
            self._thing.remove(self._version)


@contextmanager
def hold(thing: Conditional, url: str) -> Iterator[Lease]:
    """Keeps every other run out while the context lasts.

    Args:
      thing: the object.
      url: of the work directory, as a person calls it.

    Raises:
      UserError: another run lives there; says where and since when.
    """
    lease = Lease(thing, url)
    lease._take()
    alive = threading.Thread(target=lease._live, name="lease", daemon=True)
    alive.start()
    try:
        yield lease
    finally:
        lease._over.set()
        alive.join()
        with suppress(Exception):  # a store that does not answer: the next run sees no sign of life
            lease._leave()


def _watch(thing: Conditional, found: dict, version: str, url: str) -> None:
    """Returns when no sign of life has come for so long that the run must be dead, or when it has gone."""
    distributed.log(f"{url} was in use by {_who(found)}; waiting up to {LIFE:.0f} s for a sign of life")
    until = time.monotonic() + LIFE
    while time.monotonic() < until:
        time.sleep(min(BEAT / 3, LIFE / 3))
        now, its_version = _seen(thing)
        if now is None:
            return
        if its_version != version:
            raise UserError(
                f"--workdir={url} is in use by {_who(now)}; wait for it, stop it, or choose another"
            )


def _seen(thing: Conditional) -> tuple[dict | None, str]:
    """What the object holds, and a version of it that is no younger; None and '' where it is not."""
    try:
        version = thing.version()
    except FileNotFoundError:
        return None, ""
    return _found(thing), version


def _found(thing: Conditional) -> dict | None:
    try:
        return json.loads(thing.read())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _who(found: dict) -> str:
    return f"process {found.get('pid')} on {found.get('host')}, started {found.get('started')}"


def _this_process() -> dict[str, str | int | None]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": _machine(),
        "ticks": _ticks(pid),
    }


def _machine() -> str | None:
    """Which boot of which machine, and whose process numbers; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _ticks(pid: int) -> str | None:
    """When a process started, in the system's own count; '' of one that has ended, None where it does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _ended_here(found: dict) -> bool:
    """Whether the process was one of this machine's and is no more."""
    pid, machine, ticks = found.get("pid"), found.get("machine"), found.get("ticks")
    if not isinstance(pid, int) or machine is None or ticks is None or machine != _machine():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return _ticks(pid) not in (ticks, None)
