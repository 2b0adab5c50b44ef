"""One run at a time in an object store, which has no locks: an object that its run keeps rewriting.

Nobody's clock is compared. Who finds another's object watches it: if it changes, that run lives; if it does not for
`LIFE` seconds of one's own stopwatch, or if its process was here and has ended, the object is taken over.
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
from typing import TYPE_CHECKING

from microgen_jax.training import hosts
from microgen_jax.types import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BEAT = 15.0  # seconds between signs of life
LIFE = 90.0  # seconds without one after which a run is taken for dead


@contextmanager
def hold(store: "AbstractFileSystem", place: str, url: str) -> Iterator[threading.Event]:
    """Keeps every other run out while the context lasts.

    Gives an event that is set where another run took this one for dead; this one is then told to stop.

    Args:
      store: an fsspec file system that can create an object only where there is none.
      place: of the object.
      url: of the work directory, as a person calls it.

    Raises:
      UserError: another run lives there; says where and since when.
    """
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,
    }
    while not _create(store, place, holder):
        _outlive(store, place, url)
    over, lost = threading.Event(), threading.Event()
    alive = threading.Thread(target=_live, args=(store, place, holder, over, lost), name="lease", daemon=True)
    alive.start()
    try:
        yield lost
    finally:
        over.set()
        alive.join()
        with suppress(Exception):  # a store that does not answer: the next run sees no sign of life
            if (_read(store, place) or {}).get("token") == holder["token"]:
                store.rm_file(place)


def _create(store: "AbstractFileSystem", place: str, holder: dict) -> bool:
    try:
        store.pipe_file(place, json.dumps(holder | {"beat": 0}).encode(), mode="create")
    except FileExistsError:
        return False
    return True


def _outlive(store: "AbstractFileSystem", place: str, url: str) -> None:
    """Returns when the object's run is dead, and removes it."""
    found = _read(store, place)
    if found is None:
        return
    who = f"process {found.get('pid')} on {found.get('host')}, started {found.get('started')}"
    if not _ended_here(found):
        hosts.say(f"{url} was in use by {who}; waiting up to {LIFE:.0f} s for a sign of life")
        until = time.monotonic() + LIFE
        while time.monotonic() < until:
            time.sleep(min(BEAT / 3, LIFE / 3))
            now = _read(store, place)
            if now is None:
                return
            if now != found:
                raise UserError(
                    f"--workdir={url} is in use by {who}; wait for it, stop it, or choose another"
                )
    if _read(store, place) == found:
        store.rm_file(place)


def _ended_here(found: dict) -> bool:
    """Whether the process was one of this machine and is no more."""
    if found.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, KeyError, ValueError):
        return False
    return False


def _live(
    store: "AbstractFileSystem", place: str, holder: dict, over: threading.Event, lost: threading.Event
) -> None:
    beat = 0
    while not over.wait(BEAT) and not lost.is_set():
        beat += 1
        with suppress(Exception):  # the next beat may come through; LIFE is several of them
            if (_read(store, place) or holder).get("token") == holder["token"]:
                store.pipe_file(place, json.dumps(holder | {"beat": beat}).encode())
                continue
            hosts.say(
                f"warning: another run has taken over {place}, as no sign of life came from here; stopping"
            )
            lost.set()
            os.kill(os.getpid(), signal.SIGTERM)


def _read(store: "AbstractFileSystem", place: str) -> dict | None:
    try:
        return json.loads(store.cat_file(place))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
