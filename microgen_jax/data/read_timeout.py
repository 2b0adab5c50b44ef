"""Batches from threads that may hang: an error names the image, and the process ends without waiting for them.

Decoding runs on threads of this process. A thread that hangs, on a file server that is gone say, cannot be ended. The
run stops with exit status 75 (temporary) and goes on, bit for bit, when the same command is started again.
"""

import errno
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import thread as executors
from contextlib import suppress
from typing import Any

from microgen_jax.data.catalogue import image_name
from microgen_jax.errors import UserError
from microgen_jax.types import Record, Source

GRACE = 5.0  # seconds that the end waits for reads under way
RESTART = "see that its disk answers and start the same command again"
TEMPORARY_ERRNOS = {
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


class TemporaryReadError(UserError):
    """An image that could not be read now and may be readable after a restart.

    Attributes:
      exit_status: status of a process that ends with it; launch scripts start the command again on it.
    """

    exit_status = 75


class ReadTimeout(TemporaryReadError):
    """No batch came within the time given."""


class TrackedSource:
    """A source that knows since when each of its images is being read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reads: dict[threading.Thread, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        thread = threading.current_thread()
        self._reads[thread] = time.monotonic(), index
        try:
            return self._source[index]
        finally:
            self._reads.pop(thread, None)

    def slowest(self) -> str:
        """Return the name of the image that has been read for the longest time; '' where none is being read."""
        _, index = min(self._reads.copy().values(), default=(0.0, None))
        return "" if index is None else image_name(self._source, index)

    def detach(self, grace: float = 0.0) -> None:
        """Let the process end without the threads whose reads are still under way after `grace` seconds.

        Python joins every thread of an executor at its end, and those of grain are such.
        """
        until = time.monotonic() + grace
        while self._reads and time.monotonic() < until:
            time.sleep(0.01)
        for thread in self._reads.copy():
            self._reads.pop(thread, None)
            executors._threads_queues.pop(thread, None)


_END = object()


def read_with_timeout(elements: Iterable, limit: float, source: TrackedSource) -> Iterator[Any]:
    """Yield the elements, taken on a daemon thread, one ahead.

    Args:
      elements: what is iterated over, on that thread alone.
      limit: seconds to wait for an element.
      source: the source that the elements are read from.

    Raises:
      ReadTimeout: no element within `limit`; names the image that was waited for.
      TemporaryReadError: an image that a disk or network did not give.
      UserError: an image that is bad.
    """
    ready: queue.Queue = queue.Queue(1)
    closed = threading.Event()

    def fill() -> None:
        try:
            iterator = iter(elements)
            try:
                for element in iterator:
                    ready.put((element, None))
                    if closed.is_set():
                        return
            finally:
                if hasattr(iterator, "close"):
                    iterator.close()
            ready.put((_END, None))
        except BaseException as error:
            ready.put((None, error))

    threading.Thread(target=fill, name="batches", daemon=True).start()
    try:
        while True:
            try:
                element, error = ready.get(timeout=limit)
            except queue.Empty:
                where = source.slowest() or "read_timeout"
                source.detach()
                fix = f"{RESTART} (data.read_timeout is the limit)"
                raise ReadTimeout(where, f"no batch for {limit:g} s", fix) from None
            if error is not None:
                raise _as_temporary(error)
            if element is _END:
                return
            yield element
    finally:
        closed.set()
        with suppress(queue.Empty):
            ready.get_nowait()
        source.detach(GRACE)


def _as_temporary(error: BaseException) -> BaseException:
    """Return a TemporaryReadError for a UserError that a disk or network caused; other errors as they are."""
    cause: BaseException | None = error if isinstance(error, UserError) else None
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in TEMPORARY_ERRNOS:
            temporary = TemporaryReadError(error.where, error.problem, RESTART)
            temporary.__cause__ = error
            return temporary
        cause = cause.__cause__ or cause.__context__
    return error
