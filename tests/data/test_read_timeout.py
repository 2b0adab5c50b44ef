"""Reading that hangs or fails goes on where it stood; what lasts is told at once."""

import errno
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from microgen_jax.data import batches, read_timeout
from microgen_jax.errors import UserError
from tests.data.test_pipeline import PREPARATION, Numbered, same, take

ROOT = Path(__file__).resolve().parents[2]


class Harmed(Numbered):
    """Image 7 does `harm` for the first `times` that it is read, and is then as it should be."""

    def __init__(self, harm, times: int) -> None:
        super().__init__()
        self.harm, self.left, self.asked = harm, times, 0

    def __getitem__(self, index):
        self.asked += index == 7
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


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(read_timeout, "PAUSE", 0.01)


def failing(fault):
    def harm():
        raise fault

    return harm


def wrapped(fault):
    def harm():
        raise UserError("maps/7.png: cannot be decoded") from fault

    return harm


def test_a_thread_that_hangs_is_named_and_the_batches_are_the_same(hang, capsys):
    found = take(6, Harmed(hang, 1), patience=0.3)
    assert all(same(a, b) for a, b in zip(found, take(6)))
    assert (
        "no batch for 0.3 s, waiting for maps/7.png; reading again, attempt 2 of 3" in capsys.readouterr().err
    )


def test_a_later_hang_is_blamed_on_its_own_image():
    never, begun = threading.Event(), threading.Semaphore(0)

    class Hanging(Numbered):
        def __getitem__(self, index):
            begun.release()
            never.wait()
            return super().__getitem__(index)

    reading = read_timeout.Reading(Hanging())
    for index in (7, 5):
        threading.Thread(target=reading.__getitem__, args=(index,), daemon=True).start()
        begun.acquire()
        assert reading.longest().endswith(str(index))
        reading.abandon()
        assert reading.longest() == ""
    never.set()


ENDING = """
import sys, threading, time
from microgen_jax.data import batches, patience
from tests.data.test_patience import PREPARATION, Harmed

patience.GRACE = 0.2
source, start, limit = Harmed(threading.Event().wait, 1), int(sys.argv[1]), float(sys.argv[2])
feed = batches(source, PREPARATION, seed=3, batch_size=4, start=start, workers=2, patience=limit)
next(feed)
while source.left:
    time.sleep(0.01)
feed.close()
sys.exit(7)
"""


@pytest.mark.parametrize(("start", "limit"), [(0, 0.3), (1, 300)], ids=["given up", "reading ahead"])
def test_a_process_ends_without_the_thread_that_hangs(start, limit):
    line = [sys.executable, "-c", ENDING, str(start), str(limit)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 7, ended.stderr


def test_what_hangs_three_times_is_given_up(hang):
    words = r"no batch for 0.2 s, waiting for maps/7.png, 3 times over; .*\(data.read_timeout"
    with pytest.raises(UserError, match=words):
        take(6, Harmed(hang, 99), patience=0.2)


@pytest.mark.parametrize(
    "harm",
    [
        failing(RuntimeError("thread died")),
        wrapped(OSError(errno.EIO, "I/O error")),
        failing(OSError(116, "stale")),
    ],
)
def test_a_thread_that_dies_is_replaced(harm, capsys):
    found = take(6, Harmed(harm, 2))
    assert all(same(a, b) for a, b in zip(found, take(6)))
    assert "attempt 3 of 3" in capsys.readouterr().err


def test_what_dies_every_time_is_told_as_it_is():
    with pytest.raises(RuntimeError, match="thread died"):
        take(6, Harmed(failing(RuntimeError("thread died")), 99))


@pytest.mark.parametrize("fault", [FileNotFoundError(errno.ENOENT, "no such file"), ValueError("bad")])
def test_a_bad_image_is_told_at_once(fault, capsys):
    source = Harmed(wrapped(fault), 99)
    with pytest.raises(UserError, match="cannot be decoded"):
        list(itertools.islice(batches(source, PREPARATION, seed=3, batch_size=4, workers=1), 6))
    assert source.asked == 1
    assert not capsys.readouterr().err
