"""Nothing is ever half-written."""

import os
import subprocess
import sys

import pytest

from microgen_jax import files
from microgen_jax.errors import UserError


def test_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "samples"
    files.write_folder(target, lambda fresh: (fresh / "a").write_text("old"))

    def fails(fresh):
        (fresh / "a").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_folder(target, fails)
    assert (target / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["samples"]
    files.write_folder(target, lambda fresh: (fresh / "b").write_text("new"))
    assert os.listdir(target) == ["b"]
    assert os.listdir(tmp_path) == ["samples"]


def test_only_what_ended_processes_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    target = tmp_path / "maps[12]"
    alive, other = tmp_path / f".maps[12].{os.getppid()}.tmp", tmp_path / f".maps1.{ended.pid}.tmp"
    dead = [tmp_path / f".maps[12].{pid}.tmp" for pid in (ended.pid, os.getpid())]
    for folder in (alive, other, *dead):
        folder.mkdir()
    files.write_folder(target, lambda fresh: (fresh / "a").write_text("new"))
    assert sorted(os.listdir(tmp_path)) == sorted([target.name, alive.name, other.name])


def test_json_goes_there_and_back_and_refuses_nan(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": [1, 2.5, "text", None]})
    assert files.read_json(tmp_path / "x.json") == {"a": [1, 2.5, "text", None]}
    with pytest.raises(ValueError, match=r"nan"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert files.read_json(tmp_path / "x.json")["a"][0] == 1


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="--workdir"):
            files.check_writable(folder)
    files.check_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == ["file"]
