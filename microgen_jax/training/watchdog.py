"""Updates unlike the others: one that takes far longer is reported with where it hung, as is a loss that explodes."""

import faulthandler
import time
from collections import deque
from pathlib import Path
from statistics import median

FACTOR = 20  # times the median, from which on a value is unusual
MIN_SECONDS = 10.0  # an update below is never slow
MIN_SEEN = 10  # values before the median counts


class RunningMedian:
    """The median of the last hundred values."""

    def __init__(self):
        self._values: deque[float] = deque(maxlen=100)

    def usual(self) -> float:
        """Return the median, or 0 before `MIN_SEEN` values have been added."""
        return median(self._values) if len(self._values) >= MIN_SEEN else 0.0

    def add(self, value: float) -> float:
        """Add a value and return it in units of the median of those before; 0 where that is not known."""
        usual = self.usual()
        self._values.append(value)
        return value / usual if usual > 0 else 0.0


class Watch:
    """A context that times updates; `slow_steps.txt` gets every thread's stack while one hangs.

    Args:
      workdir: folder of the run.
      active: whether this process writes.
    """

    def __init__(self, workdir: Path, active: bool = True):
        self._path, self._active = workdir / "slow_steps.txt", active
        self._seconds, self._began = RunningMedian(), 0.0

    def __enter__(self):
        if self._active:
            self._file = open(self._path, "a")
        return self

    def start(self) -> None:
        """Begin an update, with the wait for its batch."""
        self._began = time.perf_counter()
        if self._active and self._seconds.usual():
            faulthandler.dump_traceback_later(self._limit(), file=self._file)

    def stop(self, step: int) -> str:
        """End an update and return a warning, or '' where it was as fast as others.

        Args:
          step: number of updates done.
        """
        faulthandler.cancel_dump_traceback_later()
        seconds, limit = time.perf_counter() - self._began, self._limit()
        factor = self._seconds.add(seconds)
        if not factor or seconds <= limit:
            return ""
        return f"step {step} took {seconds:.1f} s, {factor:.0f} times the median; see {self._path}"

    def _limit(self) -> float:
        """Return the seconds from which on an update is slow."""
        return max(FACTOR * self._seconds.usual(), MIN_SECONDS)

    def __exit__(self, *_):
        faulthandler.cancel_dump_traceback_later()
        if self._active:
            self._file.close()
            if not self._path.stat().st_size:
                self._path.unlink()
