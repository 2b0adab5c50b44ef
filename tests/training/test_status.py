"""Where a run stands, of one that trains, has ended, or was killed."""

import json
import math

import numpy as np
import pytest

from microgen_jax.errors import UserError
from microgen_jax.runtime import lock
from microgen_jax.training.status import training_status


@pytest.fixture
def folder(tmp_path):
    """A run of 100 steps that has logged 40, whose last line is just being written."""
    config = {"method": "ddpm", "train": {"steps": 100, "batch_size": 8}, "wgan": {"n_critic": 5}}
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    lines = [{"step": n, "loss": 1 / n, "images_per_second": 16.0} for n in (20, 40)]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 60, "lo'
    )
    for step in (10, 30):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    (tmp_path / "checkpoints" / "40.orbax-checkpoint-tmp").mkdir()
    return tmp_path


def test_a_running_run(folder):
    with lock.hold(folder):
        status = training_status(folder)
    assert (status.running, status.step, status.total, status.checkpoint) == (True, 40, 100, 30)
    assert status.seconds_left == pytest.approx((100 - 40) * 8 / 16)
    np.testing.assert_array_equal(status.metrics["loss"][0], [20, 40])


def test_a_run_that_was_killed_is_not_running(folder):
    (folder / ".lock").write_text(json.dumps(lock.this_process()))
    status = training_status(folder)
    assert (status.running, status.step, status.checkpoint) == (False, 40, 30)


def test_a_finished_run(folder):
    with lock.hold(folder):
        pass
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('\n{"step": 100, "loss": null}\n')
    (folder / "checkpoints" / "100").mkdir()
    status = training_status(folder)
    assert (status.running, status.step, status.checkpoint, status.seconds_left) == (False, 100, 100, 0.0)
    assert math.isnan(status.metrics["loss"][1][-1])


def test_the_critic_s_batches_count(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"ddpm"', '"wgan_gp"'))
    assert training_status(folder).seconds_left == pytest.approx((100 - 40) * 8 * 5 / 16)


def test_looking_writes_nothing(folder):
    before = sorted(folder.rglob("*"))
    training_status(folder)
    assert sorted(folder.rglob("*")) == before


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError) as error:
        training_status(tmp_path)
    assert error.value.where == str(tmp_path)
