"""Batches from threads that may hang or fail: what is waited for is said, and reading begins again where it stood.

Decoding runs on threads of this process. A thread that hangs, on a file server that is gone say, cannot be ended; it is
left behind, and new ones read the same batch: batch k is a function of k alone, so nothing is lost or read twice. Nor
does the end of the process wait for it: Python would, for every thread of an executor, and grain's are such.
"""

import errno
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import thread as executors
from contextlib import suppress
from typing import Any

from microgen_jax.data.records import image_name
from microgen_jax.errors import UserError
from microgen_jax.types import Record, Source

ATTEMPTS = 3
PAUSE = 1.0  # seconds between attempts after a fault
GRACE = 5.0  # seconds that the end waits for reads under way
_PASSING = {
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.ECONNABORTED),
    *(
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EREMOTEIO,
    ),
}


class Reading:
    """A source that knows since when each of its images is being read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._under_way: dict[threading.Thread, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        thread = threading.current_thread()
        self._under_way[thread] = time.monotonic(), index
        try:
            return self._source[index]
        finally:
            self._under_way.pop(thread, None)

    def longest(self) -> str:
        """The image that has been read for the longest time; '' where none is being read."""
        _, index = min(self._under_way.copy().values(), default=(0.0, None))
        return "" if index is None else image_name(self._source, index)

    def abandon(self, grace: float = 0.0) -> None:
        """Forgets the reads that are still under way after `grace` seconds; the process will end without them."""
        until = time.monotonic() + grace
        while self._under_way and time.monotonic() < until:
            time.sleep(0.01)
        for thread in self._under_way.copy():
            self._under_way.pop(thread, None)
            executors._threads_queues.pop(thread, None)


def patient(open_at: Callable[[int], Iterator], limit: float, reading: Reading) -> Iterator[Any]:
    """The elements of `open_at(0)`, opened anew at the element that hangs for `limit` seconds, or that fails.

    Args:
      open_at: `n -> iterator` that starts with element n.
      limit: seconds to wait for an element.
      reading: where they come from.

    Raises:
      UserError: three attempts at one element hung; or what is wrong with an image, and will be so the next time.
    """
    given, attempt = 0, 1
    feed = _Feed(open_at, given)
    try:
        while True:
            element, fault = feed.take(limit)
            if fault is None:
                if element is _END:
                    return
                yield element
                given, attempt = given + 1, 1
                continue
            feed.leave()
            reason = _reason(fault, limit, reading.longest())
            reading.abandon()
            if _lasting(fault):
                raise fault
            if attempt == ATTEMPTS:
                if isinstance(fault, _Hung):
                    raise UserError(
                        f"{reason}, {ATTEMPTS} times over; see that its disk answers and start the same command "
                        "again (data.read_timeout says how long to wait)"
                    )
                raise fault
            attempt += 1
            print(
                f"warning: {reason}; reading again, attempt {attempt} of {ATTEMPTS}",
                file=sys.stderr,
                flush=True,
            )
            if not isinstance(fault, _Hung):
                time.sleep(PAUSE)
            feed = _Feed(open_at, given)
    finally:
        feed.leave()
        reading.abandon(GRACE)


class _Hung(Exception):
    """Nothing came in time."""


_END = object()


class _Feed:
    """A thread that takes elements, one ahead; left alone where it hangs."""

    def __init__(self, open_at: Callable[[int], Iterator], start: int) -> None:
        self._ready: queue.Queue = queue.Queue(1)
        self._left = threading.Event()
        threading.Thread(target=self._run, args=(open_at, start), name="batches", daemon=True).start()

    def _run(self, open_at: Callable[[int], Iterator], start: int) -> None:
        try:
            iterator = open_at(start)
            try:
                for element in iterator:
                    self._ready.put((element, None))
                    if self._left.is_set():
                        return
            finally:
                iterator.close()
            self._ready.put((_END, None))
        except BaseException as fault:
            self._ready.put((None, fault))

    def take(self, limit: float) -> tuple[Any, BaseException | None]:
        """The next element, or what went wrong instead."""
        try:
            return self._ready.get(timeout=limit)
        except queue.Empty:
            return None, _Hung()

    def leave(self) -> None:
        """Lets the thread end as soon as it can."""
        self._left.set()
        with suppress(queue.Empty):
            self._ready.get_nowait()


def _lasting(fault: BaseException) -> bool:
    """Whether a fault is an image's own, or nothing to try again after."""
    if isinstance(fault, _Hung):
        return False
    if not isinstance(fault, UserError):
        return not isinstance(fault, Exception)
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _PASSING:
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def _reason(fault: BaseException, limit: float, image: str) -> str:
    if isinstance(fault, _Hung):
        return f"no batch for {limit:g} s" + (f", waiting for {image}" if image else "")
    text = " ".join(str(fault).split())
    return text if isinstance(fault, UserError) else f"reading ended with {type(fault).__name__}: {text}"
