"""Updates unlike the others: what takes far longer is said, with where it stood while it hung; so is what explodes."""

import faulthandler
import time
from collections import deque
from pathlib import Path
from statistics import median

TIMES = 20  # as long as the median
LEAST = 10.0  # seconds
BEFORE = 10  # updates that must have been seen


class Watch:
    """A context that times updates; `slow_steps.txt` gets every thread's stack while one hangs.

    Args:
      workdir: the run's folder.
      active: whether this process writes.
    """

    def __init__(self, workdir: Path, active: bool = True):
        self._path, self._active = workdir / "slow_steps.txt", active
        self._seconds: deque[float] = deque(maxlen=100)
        self._began = 0.0

    def __enter__(self):
        if self._active:
            self._file = open(self._path, "a")
        return self

    def start(self) -> None:
        """An update begins: with the wait for its batch."""
        self._began = time.perf_counter()
        if self._active and len(self._seconds) >= BEFORE:
            faulthandler.dump_traceback_later(self.limit(), file=self._file)

    def stop(self, step: int) -> str:
        """The update has ended: what to say of it, or ''."""
        faulthandler.cancel_dump_traceback_later()
        seconds = time.perf_counter() - self._began
        slow = len(self._seconds) >= BEFORE and seconds > self.limit()
        usual = median(self._seconds) if slow else 0.0
        self._seconds.append(seconds)
        if not slow:
            return ""
        return f"step {step} took {seconds:.1f} s, {seconds / usual:.0f} times the median; see {self._path}"

    def limit(self) -> float:
        """Seconds from which on an update is slow."""
        return max(TIMES * median(self._seconds), LEAST)

    def __exit__(self, *_):
        faulthandler.cancel_dump_traceback_later()
        if self._active:
            self._file.close()
            if not self._path.stat().st_size:
                self._path.unlink()


class Explosions:
    """Knows the usual loss, and says when one is far above it: `TIMES` the median of the last ones that were logged."""

    def __init__(self):
        self._losses: deque[float] = deque(maxlen=100)

    def seen(self, loss: float) -> str:
        """What to say of a loss, or ''."""
        known = len(self._losses) >= BEFORE
        usual = median(self._losses) if known else 0.0
        self._losses.append(loss)
        if not known or usual <= 0 or loss <= TIMES * usual:
            return ""
        return f"loss {loss:.4g} is {loss / usual:.0f} times the median"
