"""A folder and its copy in a store that fails whenever it likes (the store is fsspec's, in memory)."""

import shutil
import threading
import time

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from microgen_jax.training import lease, mirror
from microgen_jax.training.mirror import MARK, Mirror
from microgen_jax.types import UserError

PLACE, URL = "/bucket/run", "s3://bucket/run"


class Store(MemoryFileSystem):
    """A store of its own, of which request number `fails_at` fails, and all after it until it is mended."""

    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]
        self.requests, self.fails_at = 0, None

    def _asked(self):
        self.requests += 1
        if self.fails_at is not None and self.requests > self.fails_at:
            raise OSError(f"500 Internal Error\nfor request {self.requests}")

    def put_file(self, local, there, **kwargs):
        self._asked()
        super().put_file(local, there, **kwargs)

    def rm_file(self, there):
        self._asked()
        super().rm_file(there)


def checkpoint(folder, step):
    """Three files as orbax names them, whose content says which step they are of."""
    place = folder / "checkpoints" / str(step)
    (place / "state").mkdir(parents=True)
    for name in (MARK, "state/array", "state/manifest"):
        (place / name).write_text(f"{name} of {step}")


def run_of(folder, *steps):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "metrics.jsonl").write_text(f"up to {steps[-1]}")
    (folder / ".lock").write_text("mine")
    (folder / "checkpoints" / "9.orbax-checkpoint-tmp-1").mkdir(parents=True)
    (folder / "checkpoints" / "9.orbax-checkpoint-tmp-1" / MARK).write_text("half")
    for step in steps:
        checkpoint(folder, step)


def started(store, folder) -> Mirror:
    made = Mirror(store, PLACE, URL, folder)
    made.start()
    return made


def reader(store, folder):
    Mirror(store, PLACE, URL, folder).pull(skip=())
    return folder


def steps(folder) -> list[int]:
    """Of the checkpoints in a folder, which must be whole."""
    found = sorted(int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdecimal())
    for step in found:
        for name in (MARK, "state/array", "state/manifest"):
            assert (folder / "checkpoints" / str(step) / name).read_text() == f"{name} of {step}"
    return found


def test_another_machine_gets_what_was_written_here(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 2, 4)
    here.push()
    before = store.requests
    here.push()
    assert store.requests == before
    there = started(store, tmp_path / "there")
    assert steps(there.folder) == [2, 4]
    assert (there.folder / "metrics.jsonl").read_text() == "up to 4"
    assert not (there.folder / ".lock").exists()


def test_no_name_in_a_store_leads_out_of_the_folder(tmp_path):
    store = Store()
    store.pipe_file(f"{PLACE}/config.json", b"{}")
    store.store[f"{PLACE}/../../outside"] = store.store[f"{PLACE}/config.json"]
    assert sorted(p.name for p in reader(store, tmp_path / "a" / "here").iterdir()) == ["config.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("started_again", [False, True])
@pytest.mark.parametrize("before", [(1, 2), (1,)])
def test_at_whatever_request_the_store_fails_no_checkpoint_is_torn(tmp_path, before, started_again):
    """Checkpoint 4 comes and 1 goes, and each request is once the first that the store refuses."""
    kept = [step for step in before if step != 1]
    allowed = [list(before), [*before, 4], [*kept, 4]]
    for fails_at in range(30):
        store = Store()
        here = started(store, tmp_path / f"here{fails_at}")
        run_of(here.folder, *before)
        here.push()
        shutil.rmtree(here.folder / "checkpoints" / "1")
        checkpoint(here.folder, 4)
        if started_again:
            here = started(store, here.folder)
        store.requests, store.fails_at = 0, fails_at
        try:
            here.push()
            finished = True
        except OSError:
            finished = False
        store.fails_at = None
        assert steps(reader(store, tmp_path / f"there{fails_at}")) in allowed
        here.push()
        assert steps(reader(store, tmp_path / f"later{fails_at}")) == [*kept, 4]
        if finished:
            break
    assert finished
    assert fails_at >= 6


def test_a_checkpoint_that_is_half_deleted_here_does_not_count_there(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1, 2)
    here.push()
    (here.folder / "checkpoints" / "1" / "state" / "array").unlink()
    here.push()
    assert steps(reader(store, tmp_path / "there")) == [2]


def test_a_checkpoint_that_is_written_anew_counts_again_at_once(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 2)
    more = here.folder / "checkpoints" / "2" / "state" / "more"
    more.write_text("of the first writing")
    here.push()
    shutil.rmtree(here.folder / "checkpoints" / "2")
    checkpoint(here.folder, 2)
    here.push()
    there = reader(store, tmp_path / "there")
    assert steps(there) == [2]
    assert not (there / more.relative_to(here.folder)).exists()


def test_who_was_taken_over_copies_nothing_more_and_says_so(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1)
    lost = threading.Event()
    with pytest.raises(UserError, match="taken over by another run"), here.following(lost):
        lost.set()
    assert not store.find(PLACE)


def test_what_the_store_has_not_taken_is_gone_on_with_on_this_machine(tmp_path, capsys):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 2)
    here.push()
    checkpoint(here.folder, 4)
    again = started(store, here.folder)
    assert steps(again.folder) == [2, 4]
    assert "which is ahead of s3://bucket/run" in capsys.readouterr().out
    again.push()
    assert steps(started(store, tmp_path / "there").folder) == [2, 4]


def test_the_store_is_gone_on_with_where_it_is_ahead(tmp_path):
    store = Store()
    here, there = tmp_path / "here", tmp_path / "there"
    first = started(store, here)
    run_of(here, 2)
    first.push()
    second = started(store, there)
    checkpoint(there, 4)
    second.push()
    assert steps(started(store, here).folder) == [2, 4]


def test_another_run_that_was_here_last_is_moved_aside(tmp_path, capsys):
    here = started(Store(), tmp_path / "here")
    run_of(here.folder, 2, 900)
    here.push()
    fresh = started(Store(), here.folder)
    assert not list(fresh.folder.iterdir())
    (aside,) = tmp_path.glob("here.left-*")
    assert steps(aside) == [2, 900]
    assert str(aside) in capsys.readouterr().out


def test_an_outage_is_said_once_and_made_good(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mirror, "EVERY", 0.02)
    store = Store()
    here = started(store, tmp_path / "here")
    with here.following(threading.Event()):
        run_of(here.folder, 2)
        store.fails_at = 0
        time.sleep(0.2)
        store.fails_at = None
    said = capsys.readouterr().out
    assert said.count("warning: s3://bucket/run does not take files (OSError: 500 Internal Error for") == 1
    assert "takes files again; nothing is missing there" in said
    assert steps(started(store, tmp_path / "there").folder) == [2]


def test_a_store_that_stays_away_ends_the_run_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "PATIENCE", 0.0)
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 2)
    store.fails_at = 0
    words = "has not taken everything .*all of it is whole in .*/here: start the same command again"
    with pytest.raises(UserError, match=words):
        here.finish()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "LIFE", 0.3)


def from_elsewhere(store, beat=0):
    text = f'{{"host": "elsewhere", "pid": 7, "started": "2020-01-01", "token": "x", "beat": {beat}}}'
    store.pipe_file("/bucket/run/lock.json", text.encode())


def held(store):
    return lease.hold(store, "/bucket/run/lock.json", URL)


def test_a_living_run_elsewhere_is_named(quick):
    store, over = Store(), threading.Event()
    from_elsewhere(store)

    def beats():
        beat = 0
        while not over.wait(0.02):
            from_elsewhere(store, beat := beat + 1)

    other = threading.Thread(target=beats)
    other.start()
    try:
        with pytest.raises(UserError, match="in use by process 7 on elsewhere, started 2020"), held(store):
            pass
    finally:
        over.set()
        other.join()


def test_a_dead_run_elsewhere_is_taken_over_after_a_while_whatever_the_clocks_say(quick, capsys):
    store = Store()
    from_elsewhere(store)
    began = time.monotonic()
    with held(store):
        assert time.monotonic() - began >= lease.LIFE
        time.sleep(0.1)
        assert lease._read(store, "/bucket/run/lock.json")["beat"] > 0
    assert not store.exists("/bucket/run/lock.json")
    assert "was in use by process 7 on elsewhere" in capsys.readouterr().out


def test_a_killed_run_of_this_machine_is_known_at_once(monkeypatch):
    store = Store()
    monkeypatch.setattr(lease, "_ended_here", lambda found: True)
    from_elsewhere(store)
    with held(store):
        pass


def test_who_was_taken_for_dead_is_told_to_stop(quick, monkeypatch):
    stopped = []
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: stopped.append(number))
    store = Store()
    with held(store) as lost:
        from_elsewhere(store)
        assert lost.wait(2)
        time.sleep(0.1)
    assert stopped == [lease.signal.SIGTERM]
    assert lease._read(store, "/bucket/run/lock.json")["host"] == "elsewhere"
