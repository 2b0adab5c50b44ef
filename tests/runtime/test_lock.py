"""One run at a time in a folder."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from microgen_jax.errors import UserError
from microgen_jax.runtime import lock


def test_a_second_run_is_told_of_the_first(tmp_path):
    with lock.hold(tmp_path):
        holder = rf"in use by process {os.getpid()} on .*, started \d{{4}}-\d\d-\d\dT"
        with pytest.raises(UserError, match=holder), lock.hold(tmp_path):
            pass
    with lock.hold(tmp_path):
        pass


@pytest.mark.parametrize(("host", "told"), [("elsewhere", True), (socket.gethostname(), False)])
def test_what_a_killed_run_has_left_is_no_lock(tmp_path, capsys, host, told):
    left = {"host": host, "pid": 1, "started": "2020-01-01T00:00:00+00:00"}
    (tmp_path / ".lock").write_text(json.dumps(left))
    with lock.hold(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert ("in use by process 1 on elsewhere, started 2020" in capsys.readouterr().out) == told


def test_a_run_that_ends_by_itself_leaves_no_name(tmp_path, capsys, monkeypatch):
    with lock.hold(tmp_path):
        pass
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    with lock.hold(tmp_path):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"host": "a"}'])
def test_a_lock_that_cannot_be_read_is_taken(tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    with lock.hold(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_other_processes_of_a_run_hold_nothing(tmp_path):
    with lock.hold(tmp_path / "run", active=False):
        assert not (tmp_path / "run").exists()


def held_by_another(folder) -> subprocess.Popen:
    """Start a process that holds a folder until it is told to end."""
    line = (
        "import pathlib, sys; from microgen_jax.runtime import lock\n"
        "with lock.hold(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", line, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("killed", [False, True])
def test_is_held_tells_a_running_run_from_one_that_has_ended(tmp_path, killed):
    assert not lock.is_held(tmp_path)
    process = held_by_another(tmp_path)
    assert lock.is_held(tmp_path)
    if killed:
        process.kill()
    process.communicate()
    assert not lock.is_held(tmp_path)


def test_looking_who_holds_a_folder_keeps_no_run_out(tmp_path):
    with open(tmp_path / ".lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(lock.PROBE_SECONDS / 2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with lock.hold(tmp_path):
            assert lock.is_held(tmp_path)
