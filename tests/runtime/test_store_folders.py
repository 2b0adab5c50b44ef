"""The folders of this machine that stand for a run in an object store (moto's S3, which runs here)."""

import re
import shutil
from pathlib import Path

import fsspec
import pytest

from microgen_jax import commands
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed, lease, storage

pytest.importorskip("moto", reason="no object store here: pip install -e '.[test]'")
from tests.runtime import object_stores


@pytest.fixture(scope="module")
def running():
    with object_stores.s3() as running:
        yield running


@pytest.fixture
def url(running, request, tmp_path, monkeypatch):
    """An address that no other test uses."""
    for name, value in {**running.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    running.faults.kind = ""
    return f"{running.url}/{request.node.name}/run"


@pytest.fixture(scope="module")
def store(running):
    """Somebody else's view of it."""
    login = {"key": "test", "secret": "test", "endpoint_url": running.environment["AWS_ENDPOINT_URL"]}
    return fsspec.filesystem("s3", **login, use_listings_cache=False)


def names(store, url) -> list[str]:
    return sorted(name.partition("/run/")[2] for name in store.find(url))


def a_run(folder: Path) -> None:
    step = folder / "checkpoints" / "2"
    step.mkdir(parents=True)
    (step / "_CHECKPOINT_METADATA").write_text("{}")
    (folder / "config.json").write_text("{}")


RUN = ["checkpoints/2/_CHECKPOINT_METADATA", "config.json", "run.json"]


def test_a_folder_is_of_one_address_at_one_server():
    places = [
        ("s3", "bucket/run", ""),
        ("gs", "bucket/run", ""),
        ("s3", "bucket/run", "http://minio:9000"),
        ("s3", "bucket/other/run", ""),
        ("s3", "bucket/run/run", ""),
    ]
    folders = [storage._cache(f"{scheme}://{place}", place, server) for scheme, place, server in places]
    assert len(set(folders)) == len(folders)
    assert not any(a in b.parents for a in folders for b in folders)
    assert folders == [
        storage._cache(f"{scheme}://{place}", place, server) for scheme, place, server in places
    ]


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("https://s3.eu-west-1.amazonaws.com", ""),
        ("https://s3.amazonaws.com", ""),
        ("https://s3.cn-north-1.amazonaws.com.cn", "https://s3.cn-north-1.amazonaws.com.cn"),
        ("http://minio:9000", "http://minio:9000"),
    ],
)
def test_the_region_is_no_other_server(monkeypatch, address, server):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert storage._endpoint(storage._connect("s3://bucket/run")[0]) == server


def test_a_second_run_on_this_machine_is_refused_and_touches_nothing(store, url):
    with storage.opened(url, owning=True) as folder:
        a_run(folder)
        with (
            pytest.raises(UserError, match=f"--workdir={url}: is in use by process"),
            storage.opened(url, owning=True),
        ):
            pass
        assert (folder / "config.json").exists()
    assert names(store, url) == RUN


def test_who_only_reads_adds_its_results_and_nothing_else(store, url):
    with storage.opened(url, owning=True) as folder:
        a_run(folder)
    store.rm_file(f"{url}/run.json")
    with storage.opened(url) as copy:
        assert (copy / "checkpoints" / "2" / "_CHECKPOINT_METADATA").exists()
        (copy / "samples").mkdir()
        (copy / "samples" / "grid.png").write_text("x")
    assert names(store, url) == sorted([*RUN[:2], "samples/grid.png"])
    assert not copy.exists()


def with_a_result(place) -> Path:
    with storage.opened(place) as copy:
        copy.mkdir()
        (copy / "plan.json").write_text("[]")
    return copy


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [("403", "", "Access Denied"), ("", "s3://nobody-has-this/run", "bucket does not exist")],
)
def test_results_that_cannot_be_copied_are_kept_here_and_named_at_once(running, url, kind, place, words):
    running.faults.kind = kind
    with pytest.raises(UserError, match=f"{words}.* all of it is whole in .*: copy it by hand") as told:
        with_a_result(place or url)
    folder = re.search(r"whole in (\S+):", str(told.value)).group(1)
    assert (Path(folder) / "plan.json").exists()
    shutil.rmtree(Path(folder).parent)


def test_a_bucket_that_cannot_be_written_starts_no_run(running, url):
    running.faults.kind = "403"
    words = r"cannot be used \(PermissionError: Access Denied\)"
    with pytest.raises(UserError, match=words), storage.opened(url, owning=True):
        pass


def test_a_cache_that_cannot_be_made_is_one_line(url, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(UserError, match=r"cannot be made .*; set XDG_CACHE_HOME"),
        storage.opened(url, owning=True),
    ):
        pass


def test_several_processes_are_told_what_to_do_instead(url, monkeypatch):
    monkeypatch.setattr(distributed, "is_multi_process", lambda: True)
    words = "one process only; give several of them a folder that all see .*docs/launch/README.md.* copy it to the"
    with pytest.raises(UserError, match=words), storage.opened(url, owning=True):
        pass


def test_modes_that_write_a_run_hold_its_lease(store, url, monkeypatch):
    held = {}
    for mode in ("train", "import", "sample", "evaluate", "export"):
        monkeypatch.setitem(
            commands.MODES, mode, lambda _, mode=mode: held.update({mode: "lock.json" in names(store, url)})
        )
        commands.run(mode, Request(Config(), {}, False, url))
    assert {mode for mode in held if held[mode]} == {"train", "import"}
    assert names(store, url) == []


def taken_over(store, url) -> None:
    successor = b'{"token": "another", "host": "h", "pid": 1, "started": "now"}'
    with storage.opened(url, owning=True) as folder:
        a_run(folder)
        store.pipe_file(f"{url}/lock.json", successor)


def test_who_is_taken_over_while_it_runs_leaves_the_successor_alone(store, url, monkeypatch):
    monkeypatch.setattr(lease.os, "kill", lambda *_: None)
    words = "was taken over by another run; what this one did lies in .*/cache/"
    with pytest.raises(UserError, match=words):
        taken_over(store, url)
    assert names(store, url) == ["lock.json"]
