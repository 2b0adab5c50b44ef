"""One run at a time in a store: the object that says whose it is, in memory and in stores that run here."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from microgen_jax.errors import UserError
from microgen_jax.runtime import lease
from microgen_jax.runtime.conditional import Changed

URL = "s3://bucket/run"


class InMemory:
    """An object as `conditional.Conditional` has it."""

    def __init__(self):
        self.content, self.seen, self._one = None, "", threading.Lock()

    def read(self):
        if self.content is None:
            raise FileNotFoundError
        return self.content

    def version(self):
        self.read()
        return self.seen

    def write(self, content, seen):
        with self._one:
            if seen != self.seen:
                raise Changed
            self.content, self.seen = content, uuid.uuid4().hex
            return self.seen

    def remove(self, seen):
        self.write(None, seen)
        self.seen = ""


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "LIFE", 0.3)


@pytest.fixture
def stopped(monkeypatch):
    """The signals that runs were told to stop with."""
    sent, kill = [], os.kill
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: sent.append(number) if number else kill(pid, 0))
    return sent


def from_elsewhere(thing, beat=0, **facts):
    holder = {"host": "elsewhere", "pid": 7, "started": "2020-01-01", "token": "x", "beat": beat} | facts
    try:
        seen = thing.version()
    except FileNotFoundError:
        seen = ""
    thing.write(json.dumps(holder).encode(), seen)


def test_a_living_run_elsewhere_is_named(quick):
    thing, over = InMemory(), threading.Event()
    from_elsewhere(thing)

    def beats():
        beat = 0
        while not over.wait(0.02):
            from_elsewhere(thing, beat := beat + 1)

    other = threading.Thread(target=beats)
    other.start()
    try:
        words = "in use by process 7 on elsewhere, started 2020"
        with pytest.raises(UserError, match=words), lease.hold(thing, URL):
            pass
    finally:
        over.set()
        other.join()


def test_a_dead_run_elsewhere_is_taken_over_after_a_while_whatever_the_clocks_say(quick, capsys):
    thing = InMemory()
    from_elsewhere(thing)
    began = time.monotonic()
    with lease.hold(thing, URL):
        assert time.monotonic() - began >= lease.LIFE
        time.sleep(0.1)
        assert json.loads(thing.read())["beat"] > 0
    assert thing.content is None
    assert "was in use by process 7 on elsewhere" in capsys.readouterr().out


@pytest.fixture(scope="module")
def killed():
    """What the object held of a process of this machine that has been killed."""
    code = "import json; from microgen_jax.runtime import lease; print(json.dumps(lease._this_process()), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        return json.loads(process.stdout.readline()) | {"token": "x"}


def test_a_killed_run_of_this_machine_is_known_at_once(killed, capsys):
    thing = InMemory()
    thing.write(json.dumps(killed).encode(), "")
    with lease.hold(thing, URL):
        pass
    assert "waiting" not in capsys.readouterr().out


def test_only_a_process_of_this_boot_and_namespace_can_be_seen_to_have_ended(killed):
    me = lease._this_process()
    assert lease._ended_here(killed)
    assert not lease._ended_here(me)
    assert lease._ended_here(me | {"ticks": "1"})  # the number was given to another process since
    for unlike in ({"machine": "another boot pid:[1]"}, {"machine": None}, {"ticks": None}, {"pid": None}):
        assert not lease._ended_here(killed | unlike)
    assert not lease._ended_here({"host": killed["host"], "pid": killed["pid"]})


def test_who_was_taken_for_dead_is_told_to_stop_and_writes_no_more(quick, stopped, capsys):
    thing = InMemory()
    with lease.hold(thing, URL) as held:
        held.check()
        from_elsewhere(thing)
        with pytest.raises(lease.TakenOver, match="s3://bucket/run was taken over"):
            held.check()
        time.sleep(0.1)
        with pytest.raises(lease.TakenOver):
            held.check()
    assert stopped == [lease.signal.SIGTERM]
    assert json.loads(thing.read())["host"] == "elsewhere"
    assert capsys.readouterr().out.count("process 7 on elsewhere, started 2020-01-01 has taken over") == 1


def test_a_beat_finds_out_without_being_asked(quick, stopped):
    thing = InMemory()
    with lease.hold(thing, URL):
        from_elsewhere(thing)
        time.sleep(0.2)
    assert stopped == [lease.signal.SIGTERM]


def test_an_answer_that_is_lost_costs_nothing(quick, stopped, monkeypatch):
    """Every other write is done but not answered, as when a connection drops."""
    thing, asked = InMemory(), iter(range(10**6))
    write = thing.write

    def unreliable(content, seen):
        version = write(content, seen)
        if next(asked) % 2:
            raise OSError("connection reset")
        return version

    monkeypatch.setattr(thing, "write", unreliable)
    with lease.hold(thing, URL) as held:
        time.sleep(0.3)
        held.check()
        assert json.loads(thing.read())["beat"] > 3
    assert not stopped


def test_an_object_that_was_removed_by_hand_comes_back(quick, stopped):
    thing = InMemory()
    with lease.hold(thing, URL) as held:
        thing.remove(thing.version())
        time.sleep(0.2)
        held.check()
        assert thing.content
    assert not stopped


@pytest.fixture(scope="module", params=["s3", "gs"])
def objects(request):
    """What opens one object as another client would."""
    pytest.importorskip("moto", reason="no object store here: pip install -e '.[test]'")
    import fsspec

    from microgen_jax.runtime import storage
    from tests.runtime import object_stores

    with pytest.MonkeyPatch.context() as patch, getattr(object_stores, request.param)() as running:
        for name, value in running.environment.items():
            patch.setenv(name, value)

        def opened(name):
            store = fsspec.filesystem(request.param, skip_instance_cache=True, use_listings_cache=False)
            return storage._conditional(store, f"{running.url[5:]}/{name}/lock.json")

        yield opened


def test_an_object_changes_only_from_what_was_seen(objects):
    thing = objects("changes")
    with pytest.raises(FileNotFoundError):
        thing.version()
    first = thing.write(b"1", "")
    assert (thing.version(), thing.read()) == (first, b"1")
    second = thing.write(b"2", first)
    for outdated in ("", first):
        with pytest.raises(Changed):
            thing.write(b"3", outdated)
    with pytest.raises(Changed):
        thing.remove(first)
    assert thing.read() == b"2"
    thing.remove(second)
    with pytest.raises(Changed):
        thing.write(b"3", second)
    with pytest.raises(FileNotFoundError):
        thing.read()


@pytest.mark.parametrize("dead_before", [False, True])
def test_of_several_who_take_it_at_once_one_gets_it(objects, quick, stopped, dead_before):
    """All see the same before any of them writes."""
    name, several = f"contended{dead_before}", 4
    things = [objects(name) for _ in range(several)]
    if dead_before:
        from_elsewhere(things[0])
    together = threading.Barrier(several, timeout=30)
    won, refused, over = [], [], threading.Event()

    def contend(thing):
        write, first = thing.write, iter([True])

        def at_once(content, seen):
            if next(first, False):
                together.wait()
            return write(content, seen)

        thing.write = at_once
        try:
            with lease.hold(thing, URL) as held:
                won.append(thing)
                over.wait(10)
                held.check()
        except UserError as fault:
            refused.append(str(fault))
            if len(refused) == several - 1:
                over.set()

    with ThreadPoolExecutor(several) as pool:
        for done in [pool.submit(contend, thing) for thing in things]:
            done.result()
    assert len(won) == 1
    assert all("is in use by" in line for line in refused)
    with pytest.raises(FileNotFoundError):
        things[0].read()
