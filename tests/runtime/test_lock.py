"""One run at a time in a folder."""

import json
import os
import socket

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
