"""A run that is killed and started again ends with the bits of the run that was not."""

import json
import signal
import time

import pytest

from microgen_jax.config import run_config
from tests.command_line import ONE_LEVEL
from tests.commands.stored import same_bits, state

STEPS = {
    **ONE_LEVEL,
    "config__train__steps": 12,
    "config__train__checkpoint_every": 1,
    "config__model__dropout": 0.1,
}


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    result = run(workdir=workdir, **STEPS)
    assert result.returncode == 0, result.stderr
    return workdir


def metrics(workdir) -> dict[int, float]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_killed_then_stopped_it_ends_with_the_undisturbed_bits(run, undisturbed, tmp_path):
    """A save waits for the one before, so with a checkpoint a step the fourth step's is whole at the fifth."""
    killed = run(workdir=tmp_path, signals={"step 5/": signal.SIGKILL}, **STEPS)
    assert killed.returncode == -signal.SIGKILL
    stopped = run(workdir=tmp_path, signals={"step 7/": signal.SIGTERM}, **STEPS)
    assert stopped.returncode == 0, stopped.stderr
    assert int(stopped.stdout.split("resuming from step ")[1].split()[0]) >= 3
    assert "SIGTERM: stopped after step" in stopped.stdout
    assert not (tmp_path / "checkpoints" / "12").exists()
    assert run(workdir=tmp_path, **STEPS).returncode == 0
    assert same_bits(state(tmp_path, 12), state(undisturbed, 12))
    assert metrics(tmp_path) == metrics(undisturbed)


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(run, start, undisturbed, tmp_path):
    process = start(workdir=tmp_path, **STEPS)
    deadline = time.monotonic() + 120
    writing = []
    while not writing and time.monotonic() < deadline:
        writing = list((tmp_path / "checkpoints").glob("*tmp*")) if tmp_path.exists() else []
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    assert writing, "no checkpoint was ever being written"
    result = run(workdir=tmp_path, **STEPS)
    assert result.returncode == 0, result.stderr
    assert same_bits(state(tmp_path, 12), state(undisturbed, 12))
    assert not list((tmp_path / "checkpoints").glob("*tmp*"))


def test_goes_on_past_the_first_end(run, undisturbed):
    """More steps are allowed; the learning rate stays where its schedule ended."""
    result = run(workdir=undisturbed, **{**STEPS, "config__train__steps": 14})
    assert result.returncode == 0, result.stderr
    assert int(state(undisturbed, 14).step) == 14
    assert run_config.read(undisturbed).config.train.schedule_steps == 12
