"""A folder and its copy in a store that fails whenever it likes (the store is fsspec's, in memory)."""

import shutil
import time

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from microgen_jax.errors import UserError
from microgen_jax.runtime import mirror
from microgen_jax.runtime.lease import TakenOver
from microgen_jax.runtime.mirror import MARK, Mirror

PLACE, URL = "/bucket/run", "s3://bucket/run"


class Store(MemoryFileSystem):
    """A store of its own, of which request number `fails_at` fails, and all after it until it is mended."""

    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]
        self.requests, self.fails_at = 0, None
        self.before_reading = lambda there: None

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

    def get_file(self, there, local, **kwargs):
        self.before_reading(there)
        super().get_file(there, local, **kwargs)


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


def ours():
    """Asks nobody whose the place is."""


def started(store, folder, check=ours) -> Mirror:
    made = Mirror(store, PLACE, URL, folder, check)
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
    for time_of in ("first", "second", "third"):
        here.push()
        assert steps(reader(store, tmp_path / time_of)) == [2]
    shutil.rmtree(here.folder / "checkpoints" / "1")
    here.push()
    assert not store.find(f"{PLACE}/checkpoints/1")
    checkpoint(here.folder, 1)
    here.push()
    assert steps(reader(store, tmp_path / "anew")) == [1, 2]


def test_what_a_killed_run_has_left_of_a_checkpoint_it_was_removing_is_removed(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1, 2)
    here.push()
    (here.folder / "checkpoints" / "1" / "state" / "array").unlink()
    checkpoint(here.folder, 4)
    again = started(store, here.folder)
    again.push()
    assert steps(again.folder) == steps(reader(store, tmp_path / "there")) == [2, 4]


@pytest.mark.parametrize("file", ["state/array", "state/manifest", MARK])
def test_a_checkpoint_that_is_rotated_away_while_it_is_read_is_left_out(tmp_path, capsys, file):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1, 2)
    here.push()

    def rotate(there):
        if there == f"{PLACE}/checkpoints/1/{file}":
            store.rm(f"{PLACE}/checkpoints/1", recursive=True)

    store.before_reading = rotate
    assert steps(reader(store, tmp_path / "there")) == [2]
    assert "warning: s3://bucket/run/checkpoints/1 was removed while it was copied" in capsys.readouterr().out


def test_the_next_checkpoint_is_read_where_the_only_one_is_rotated_away(tmp_path):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1)
    here.push()

    def train_on(there):
        if "checkpoints/1/" in there:
            shutil.rmtree(here.folder / "checkpoints" / "1")
            checkpoint(here.folder, 2)
            store.before_reading = lambda there: None
            here.push()

    store.before_reading = train_on
    assert steps(reader(store, tmp_path / "there")) == [2]


def test_where_every_checkpoint_goes_before_it_is_read_one_line_says_so(tmp_path):
    store = Store()

    def vanish(there):
        if "checkpoints" in there:
            raise FileNotFoundError(there)

    here = started(store, tmp_path / "here")
    run_of(here.folder, 2)
    here.push()
    store.before_reading = vanish
    with pytest.raises(UserError, match="every checkpoint was removed while it was copied"):
        reader(store, tmp_path / "there")


def test_who_reads_copies_results_and_nothing_else(tmp_path, monkeypatch):
    store = Store()
    here = started(store, tmp_path / "here")
    run_of(here.folder, 1)
    (here.folder / "samples" / "a").mkdir(parents=True)
    (here.folder / "samples" / "a" / "old.png").write_text("old")
    here.push()
    store.rm_file(f"{PLACE}/run.json")
    before = dict.fromkeys(store.find(PLACE))
    copy = Mirror(store, PLACE, URL, tmp_path / "copy")
    copy.pull(skip=())
    for name in ("samples/a/new.png", "damaged/1/x", "config.json", f"checkpoints/7/{MARK}"):
        (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / name).write_text("by the reader")
    (copy.folder / "samples" / "a" / "old.png").unlink()
    shutil.rmtree(copy.folder / "checkpoints" / "1")
    copy.finish()
    expected = before.keys() - {f"{PLACE}/samples/a/old.png"} | {f"{PLACE}/samples/a/new.png"}
    assert set(store.find(PLACE)) == expected
    assert store.cat_file(f"{PLACE}/config.json") == b"{}"


def test_a_reader_who_may_not_write_is_told_at_once_where_its_results_are(tmp_path, monkeypatch):
    store = Store()
    copy = Mirror(store, PLACE, URL, tmp_path / "copy")
    (copy.folder / "samples").mkdir(parents=True)
    (copy.folder / "samples" / "grid.png").write_text("x")

    def refuse(*_):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(store, "put_file", refuse)
    monkeypatch.setattr(mirror.time, "sleep", refuse)
    with pytest.raises(UserError, match=r"Access Denied.*all of it is whole in .*/copy: copy it by hand"):
        copy.finish()


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


class Rival:
    """Takes the place over before it is asked for the time after `at`."""

    def __init__(self, at):
        self.left = at

    def check(self):
        self.left -= 1
        if self.left < 0:
            raise TakenOver("s3://bucket/run was taken over by another run")


@pytest.mark.parametrize("at", range(7))
def test_who_is_taken_over_copies_nothing_from_then_on_and_says_so(tmp_path, at):
    """The place is asked for at first, and before each of the six files, of which the mark is the last."""
    store = Store()
    here = started(store, tmp_path / "here", Rival(at).check)
    words = "was taken over by another run; what this one did lies in .*/here"
    with pytest.raises(UserError, match=words), here.following():
        run_of(here.folder, 1)
    written = [name.removeprefix(f"{PLACE}/") for name in store.find(PLACE)]
    order = [
        "config.json",
        "metrics.jsonl",
        "run.json",
        *(f"checkpoints/1/state/{x}" for x in ("array", "manifest")),
    ]
    assert sorted(written) == sorted([*order, f"checkpoints/1/{MARK}"][: max(at - 1, 0)])


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


def test_a_run_that_was_killed_before_its_first_copy_is_gone_on_with(tmp_path):
    store = Store()
    run_of(started(store, tmp_path / "here").folder, 2)
    assert steps(started(store, tmp_path / "here").folder) == [2]


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
    with here.following():
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
