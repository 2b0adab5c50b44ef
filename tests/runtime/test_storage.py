"""A run's address in gs:// and s3://: what is read, written, and whose it is."""

import json
import re
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

import fsspec
import numpy as np
import pytest

from microgen_jax import commands
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed, storage
from microgen_jax.runtime.store import Store
from microgen_jax.training.checkpoint import Checkpoints
from tests.runtime import stores
from tests.runtime.stores import MARK, state, target, write

pytestmark = [
    pytest.mark.stores,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", params=["gs", "s3"])
def objects(request):
    with stores.serve(request.param) as objects:
        yield objects


@pytest.fixture
def url(objects, request):
    """An address that no other test uses."""
    return f"{objects.url}/{re.sub('[^a-z]', '_', request.node.originalname)}/run"


def names(objects, url: str) -> list[str]:
    return sorted(name.partition("/run/")[2] for name in objects.names() if name.startswith(inside(url)))


def inside(url: str) -> str:
    return url.split("/", 3)[3] + "/"


def read_of(objects, url: str, step: int) -> int:
    """Bytes that were read of a checkpoint."""
    place = f"{inside(url)}checkpoints/{step}/"
    return sum(number for name, number in objects.read.items() if name.startswith(place))


def restored(url: str) -> tuple[int, dict]:
    with storage.opened(url) as folder:
        checkpoints = Checkpoints(folder, read_only=True)
        try:
            return checkpoints.restore_ema(None, target())
        finally:
            checkpoints.close()


def assert_arrays_read(objects, checkpoints: int, arrays: int) -> None:
    """Arrays are read alone, as there is more than the 1 MB between them that orbax reads over; and 3 kB of indices."""
    read = {name: number for name, number in objects.read.items() if "/checkpoints/" in name}
    stored = sum(number for name, number in read.items() if "/ocdbt.process_0/d/" in name)
    assert 0.85 < stored / arrays / state(0).ema_params["w"].nbytes < 1  # zstd leaves 0.92 of random numbers
    assert sum(read.values()) - stored < 6000 * checkpoints


def test_a_reader_reads_the_averages_of_one_checkpoint(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1, 2)
    objects.read.clear()
    step, params = restored(url)
    assert step == 2
    np.testing.assert_array_equal(params["w"], state(2).ema_params["w"])
    assert read_of(objects, url, 1) < 1000
    assert_arrays_read(objects, checkpoints=1, arrays=1 if url.startswith("gs") else 5)


def test_of_the_checkpoints_that_are_averaged_only_the_averages_are_read(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1, 2)
    objects.read.clear()
    with storage.opened(url) as folder:
        checkpoints = Checkpoints(folder, read_only=True)
        for step in (1, 2):
            for found, kept in zip(
                checkpoints.restore_averages(step, target()), state(step).extra["averages"]
            ):
                np.testing.assert_array_equal(found["w"], kept["w"])
        checkpoints.close()
    assert_arrays_read(objects, checkpoints=2, arrays=2 * (2 if url.startswith("gs") else 5))


def test_another_machine_goes_on_from_the_newest_and_older_ones_go(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1, 2)
    with storage.opened(url, owning=True) as folder:
        assert (folder / "metrics.jsonl").read_text() == "up to 2"
        checkpoints = Checkpoints(folder, keep=2)
        assert int(checkpoints.resume(target()).step) == 2
        for step in (3, 4):
            checkpoints.save(step, state(step), None)
        checkpoints.close()
    steps = {name.split("/")[1] for name in names(objects, url) if name.startswith("checkpoints/")}
    assert {"3", "4"} <= steps <= {"2", "3", "4"}  # s3:// keeps one more until the next is put
    assert restored(url)[0] == 4


def test_logs_are_uploaded_whole_with_each_checkpoint(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1)
        (folder / "metrics.jsonl").write_text("written since")
        assert objects.get(f"{inside(url)}metrics.jsonl") == b"up to 1"
        write(folder, 2)
        assert objects.get(f"{inside(url)}metrics.jsonl") == b"up to 2"


def overtaken(url: str) -> None:
    """Let a run go on after another has started."""
    with storage.opened(url, owning=True) as older, closing(Checkpoints(older, keep=2)) as checkpoints:
        checkpoints.save(1, state(1), None)
        checkpoints.wait()
        with storage.opened(url, owning=True) as newer:
            write(newer, 3)
        (older / "metrics.jsonl").write_text("of the older")
        checkpoints.save(5, state(5), None)


def test_the_newest_start_wins_and_the_other_stops_before_its_next_checkpoint(objects, url):
    with pytest.raises(UserError, match="was taken over by process") as error:
        overtaken(url)
    assert error.value.where == url
    owner = json.loads(objects.get(f"{inside(url)}run.json"))
    assert {len(owner["replaced"]), len(owner["id"])} == {32}
    assert owner["replaced"] != owner["id"]
    assert objects.get(f"{inside(url)}metrics.jsonl") == b"up to 3"
    assert restored(url)[0] == 3


def test_who_is_taken_over_while_a_checkpoint_is_written_leaves_no_mark(objects, url, monkeypatch):
    publish = Store.publish

    def late(*args):
        objects.put(f"{inside(url)}run.json", b'{"id": "another", "host": "h", "pid": 1}')
        publish(*args)

    monkeypatch.setattr(Store, "publish", late)
    with pytest.raises(UserError, match="was taken over"), storage.opened(url, owning=True) as folder:
        write(folder, 1)
    assert f"checkpoints/1/{MARK}" not in names(objects, url)
    assert "config.json" not in names(objects, url)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'{"host": "a"}'])
def test_an_owner_that_cannot_be_understood_is_replaced(objects, url, content):
    objects.put(f"{inside(url)}run.json", content)
    with storage.opened(url, owning=True) as folder:
        storage.store_of(folder).claim()
        storage.store_of(folder).check_owner()
    assert "id" in json.loads(objects.get(f"{inside(url)}run.json"))


def test_of_several_that_start_at_once_the_last_goes_on(objects, url):
    with ExitStack() as stack:
        runs = [storage.store_of(stack.enter_context(storage.opened(url, owning=True))) for _ in range(3)]
        for run in runs:
            run.claim()
        runs[-1].check_owner()
        for run in runs[:-1]:
            with pytest.raises(UserError, match="was taken over"):
                run.check_owner()
            run._id = ""  # so that it ends here without a line


def test_a_run_whose_owner_s_file_was_removed_by_hand_goes_on(objects, url):
    with storage.opened(url, owning=True) as folder, closing(Checkpoints(folder)) as checkpoints:
        objects.remove(f"{inside(url)}run.json")
        checkpoints.save(1, state(1), None)
    assert restored(url)[0] == 1


def test_a_checkpoint_that_is_removed_while_it_is_read_is_passed_over(objects, url, capsys):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1, 2)
    with storage.opened(url) as folder, closing(Checkpoints(folder, read_only=True)) as checkpoints:
        storage.store_of(folder).remove("checkpoints/2")
        assert checkpoints.restore_ema(None, target())[0] == 1
        assert f"warning: {url}/checkpoints/2" in capsys.readouterr().out
        storage.store_of(folder).remove("checkpoints/1")
        with pytest.raises(UserError) as error:
            Checkpoints(folder, read_only=True).restore_ema(2, target())
    assert error.value.where == f"{url}/checkpoints/2"


def test_logs_that_are_not_taken_are_uploaded_with_the_next_checkpoint(objects, url, monkeypatch, capsys):
    upload, refusals = Store.upload, iter([OSError("500 Internal Error")])

    def refused(store):
        if refusal := next(refusals, None):
            raise refusal
        return upload(store)

    monkeypatch.setattr(Store, "upload", refused)
    with storage.opened(url, owning=True) as folder:
        write(folder, 1)
        assert "metrics.jsonl" not in names(objects, url)
        write(folder, 2)
        assert objects.get(f"{inside(url)}metrics.jsonl") == b"up to 2"
    assert "warning: logs were not uploaded" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_set_aside_in_the_store(objects, url, capsys):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1, 2)
    for name in objects.names():
        if name.startswith(f"{inside(url)}checkpoints/2/state/") and "/d/" in name:
            objects.put(name, bytes(len(objects.get(name))))
    with storage.opened(url, owning=True) as folder:
        checkpoints = Checkpoints(folder)
        assert int(checkpoints.resume(target()).step) == 1
        checkpoints.close()
    assert f"moved to {url}/damaged/2" in capsys.readouterr().out
    found = names(objects, url)
    assert "damaged/2/checksums/metadata" in found
    assert not any(name.startswith("checkpoints/2/") for name in found)


def test_a_checkpoint_without_its_mark_is_none(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1)
    for name in objects.names():
        if name.startswith(f"{inside(url)}checkpoints/1/") and name != f"{inside(url)}checkpoints/1/{MARK}":
            objects.put(name.replace("checkpoints/1/", "checkpoints/7/"), objects.get(name))
    assert restored(url)[0] == 1
    with storage.opened(url, owning=True) as folder:
        write(folder, 7)
    np.testing.assert_array_equal(restored(url)[1]["w"], state(7).ema_params["w"])


def test_who_only_reads_adds_its_results_and_replaces_their_folder(objects, url):
    with storage.opened(url, owning=True) as folder:
        write(folder, 1)
    objects.put(f"{inside(url)}samples/a/old.png", b"old")
    objects.put(f"{inside(url)}samples/b/old.png", b"old")
    before = set(names(objects, url))
    with storage.opened(url) as folder:
        assert not (folder / "samples").exists()
        (folder / "config.json").write_text("changed by the reader")
        (folder / "samples" / "a").mkdir(parents=True)
        (folder / "samples" / "a" / "new.png").write_text("new")
    assert set(names(objects, url)) == before - {"samples/a/old.png"} | {"samples/a/new.png"}
    assert objects.get(f"{inside(url)}config.json") == b"{}"
    assert not folder.exists()


def test_no_name_in_a_store_leads_out_of_the_folder(url, monkeypatch):
    with storage.opened(url, owning=True) as folder:
        store = storage.store_of(folder)
        found = [f"{store._place}/{name}" for name in ("config.json", "progress/../../x", "progress//x")]
        monkeypatch.setattr(store._files, "find", lambda place: found)
        assert store._names() == ["config.json"]


def no_writes(number: int, method: str) -> str:
    return "403" if method in ("PUT", "POST") else ""


def nothing(number: int, method: str) -> str:
    return ""


def test_results_that_the_store_does_not_take_are_kept_and_named(objects, url):
    objects.fails = no_writes
    with pytest.raises(UserError, match="has not taken everything") as error, storage.opened(url) as folder:
        (folder / "plan.json").write_text("[]")
    objects.fails = nothing
    kept = Path(re.search(r"whole in (\S+):", error.value.fix)[1])
    assert (kept / "plan.json").read_text() == "[]"
    shutil.rmtree(kept.parent)


def test_a_store_that_may_not_be_written_starts_no_run(objects, url):
    objects.fails = no_writes
    with pytest.raises(UserError, match="cannot be used") as error, storage.opened(url, owning=True) as run:
        Checkpoints(run)
    objects.fails = nothing
    assert error.value.where == url
    assert names(objects, url) == []


def test_a_bucket_that_does_not_exist_is_one_line(objects):
    address = f"{objects.url[:2]}://nobody-has-this/run"
    with pytest.raises(UserError) as error, storage.opened(address, owning=True) as folder:
        Checkpoints(folder)
    assert address in error.value.where


def test_errors_of_files_name_the_address(url):
    with pytest.raises(UserError) as error, storage.opened(url) as folder:
        raise UserError(f"{folder}/config.json", "is damaged")
    assert error.value.where == f"{url}/config.json"
    with pytest.raises(UserError) as error, storage.opened(url) as folder:
        raise UserError(f"--workdir={folder}", "holds no run")
    assert error.value.where == f"--workdir={url}"


def test_modes_that_write_a_run_own_it_and_evaluate_reads_samples(objects, url, monkeypatch):
    objects.put(f"{inside(url)}samples/default/samples.npz", b"x")
    found = {}

    def look(mode):
        def looked(request):
            store = storage.store_of(request.workdir)
            found[mode] = (store._owning, (request.workdir / "samples").exists())

        return looked

    for mode in commands.MODES:
        monkeypatch.setitem(commands.MODES, mode, look(mode))
        commands.run(mode, Request(Config(), {}, False, url))
    assert {mode for mode in found if found[mode][0]} == {"train", "import"}
    assert {mode for mode in found if found[mode][1]} == {"evaluate"}


def test_several_processes_are_for_gs_alone(monkeypatch):
    pytest.importorskip("s3fs", reason="no object stores here: pip install -e '.[test,stores]'")
    monkeypatch.setattr(distributed, "is_multi_process", lambda: True)
    with (
        pytest.raises(UserError, match="one process") as error,
        storage.opened("s3://bucket/run", owning=True),
    ):
        pass
    assert error.value.where == "--workdir=s3://bucket/run"


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_package_that_is_not_installed_is_named(monkeypatch, scheme, package):
    def missing(*_, **__):
        raise ImportError(package)

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UserError) as error, storage.opened(f"{scheme}://bucket/run"):
        pass
    assert package in error.value.problem
    assert "microgen-jax[remote]" in error.value.fix


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket",
        "s3://bucket/../x",
        "gs://bucket/[a]",
        "s3://bucket/what?",
        "gs://b//x",
        "ftp://bucket/run",
    ],
)
def test_what_cannot_be_a_workdir_is_refused(address):
    with pytest.raises(UserError) as error, storage.opened(address if storage.is_remote(address) else None):
        pass
    assert error.value.where == f"--workdir={address}"
