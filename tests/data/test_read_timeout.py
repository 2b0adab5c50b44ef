"""Reading that hangs stops with status 75 and names its image; what is bad is reported at once."""

import errno
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from microgen_jax.data import ReadTimeout, batches, read_timeout
from microgen_jax.errors import UserError
from tests.data.test_pipeline import PREPARATION, Numbered, same, take

ROOT = Path(__file__).resolve().parents[2]


class Harmed(Numbered):
    """Image 7 does `harm` for the first `times` that it is read, and is then as it should be."""

    def __init__(self, harm, times: int) -> None:
        super().__init__()
        self.harm, self.left, self.reads = harm, times, 0

    def __getitem__(self, index):
        self.reads += index == 7
        if index == 7 and self.left > 0:
            self.left -= 1
            self.harm()
        return super().__getitem__(index)

    def name(self, index):
        return f"maps/{index}.png"


@pytest.fixture
def hang():
    never = threading.Event()
    yield never.wait
    never.set()


def failing(fault):
    def harm():
        raise fault

    return harm


def wrapped(fault):
    def harm():
        raise UserError("maps/7.png", "cannot be decoded") from fault

    return harm


def test_a_hanging_read_is_named_and_a_restart_gives_the_same_batches(hang):
    source, found = Harmed(hang, 1), []
    with pytest.raises(ReadTimeout) as caught:
        found.extend(batches(source, PREPARATION, seed=3, batch_size=4, workers=1, read_timeout=0.3))
    assert (caught.value.where, caught.value.exit_status) == ("maps/7.png", 75)
    assert caught.value.at("x").exit_status == 75
    again = take(6, source, start=len(found))
    assert all(same(a, b) for a, b in zip(take(6, start=len(found)), again, strict=True))


def test_a_later_hang_is_blamed_on_its_own_image():
    never, begun = threading.Event(), threading.Semaphore(0)

    class Hanging(Numbered):
        def __getitem__(self, index):
            begun.release()
            never.wait()
            return super().__getitem__(index)

    source = read_timeout.TrackedSource(Hanging())
    for index in (7, 5):
        threading.Thread(target=source.__getitem__, args=(index,), daemon=True).start()
        begun.acquire()
        assert source.slowest().endswith(str(index))
        source.detach()
        assert source.slowest() == ""
    never.set()


ENDING = """
import sys, threading, time
from microgen_jax.data import batches, read_timeout
from tests.data.test_read_timeout import PREPARATION, Harmed

read_timeout.GRACE = 0.2
source, start, limit = Harmed(threading.Event().wait, 1), int(sys.argv[1]), float(sys.argv[2])
feed = batches(source, PREPARATION, seed=3, batch_size=4, start=start, workers=2, read_timeout=limit)
try:
    next(feed)
    while source.left:
        time.sleep(0.01)
    feed.close()
except read_timeout.ReadTimeout as error:
    sys.exit(error.exit_status)
sys.exit(7)
"""


@pytest.mark.parametrize(
    ("start", "limit", "status"), [(1, 300, 7), (0, 0.3, 75)], ids=["reading ahead", "given up"]
)
def test_a_process_ends_without_the_thread_that_hangs(start, limit, status):
    line = [sys.executable, "-c", ENDING, str(start), str(limit)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == status, ended.stderr


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_disk_that_fails_for_now_is_worth_a_restart(number):
    with pytest.raises(read_timeout.TemporaryReadError) as caught:
        take(6, Harmed(wrapped(OSError(number, "I/O error")), 1))
    assert (caught.value.where, caught.value.exit_status) == ("maps/7.png", 75)


def test_a_mistake_of_ours_keeps_its_type():
    with pytest.raises(RuntimeError, match="thread died"):
        take(6, Harmed(failing(RuntimeError("thread died")), 99))


@pytest.mark.parametrize("fault", [FileNotFoundError(errno.ENOENT, "no such file"), ValueError("bad")])
def test_a_bad_image_is_reported_at_once(fault):
    source = Harmed(wrapped(fault), 99)
    with pytest.raises(UserError) as caught:
        list(itertools.islice(batches(source, PREPARATION, seed=3, batch_size=4, workers=1), 6))
    assert not isinstance(caught.value, read_timeout.TemporaryReadError)
    assert (caught.value.where, source.reads) == ("maps/7.png", 1)
