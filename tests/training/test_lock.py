"""One run at a time in a folder."""

import os

import pytest

from microgen_jax.training import lock
from microgen_jax.types import UserError


def test_a_second_run_is_told_of_the_first(tmp_path):
    with lock.hold(tmp_path):
        holder = rf"in use by process {os.getpid()} on .*, started \d{{4}}-\d\d-\d\dT"
        with pytest.raises(UserError, match=holder), lock.hold(tmp_path):
            pass
    with lock.hold(tmp_path):
        pass


def test_what_a_killed_run_has_left_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text('{"host": "elsewhere", "pid": 1, "started": "2020-01-01T00:00:00+00:00"}')
    with lock.hold(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_other_processes_of_a_run_hold_nothing(tmp_path):
    with lock.hold(tmp_path / "run", active=False):
        assert not (tmp_path / "run").exists()
