"""Several processes as one run: the same losses and gradients, one checkpoint, one stop."""

import json
import signal
import socket
import subprocess

import jax
import numpy as np
import pytest

from tests.commands.stored import state

pytestmark = pytest.mark.slow
STEPS = 20


@pytest.fixture(scope="module")
def pair(start):
    """`pair(workdir=...)`: two processes of two devices each, started together."""

    def started(seeds=(0, 0), **flags) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        together = {"devices": 2, "coordinator": coordinator, "num_processes": 2, **flags}
        return [start(process_id=i, config__seed=seed, **together) for i, seed in enumerate(seeds)]

    return started


def finish(processes: list[subprocess.Popen]) -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return outputs


def settings(workdir, steps: int, fsdp: int = 1) -> dict:
    return {
        "workdir": workdir,
        "config__train__steps": steps,
        "config__train__schedule_steps": STEPS,
        "config__mesh__fsdp": fsdp,
        "config__train__checkpoint_every": 1,
    }


def losses(workdir) -> np.ndarray:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return np.array([line["loss"] for line in lines if "loss" in line])


def first_gradient(workdir) -> np.ndarray:
    """Adam's first moment after one update: the clipped gradient times 1 - beta_1."""
    stages = jax.tree.leaves(state(workdir, 1).opt_state, is_leaf=lambda s: hasattr(s, "mu"))
    moments = [stage.mu for stage in stages if hasattr(stage, "mu")]
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(moments)])


def test_two_processes_train_as_one_and_go_on_as_one_and_as_eight_devices(run, pair, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    first = {"config__train__keep": STEPS}
    assert run(**settings(alone, STEPS), **first).returncode == 0
    outputs = finish(pair(**settings(together, 8, fsdp=2), **first))
    assert "done" in outputs[0]
    assert "step" not in outputs[1]
    np.testing.assert_allclose(losses(together), losses(alone)[:8], rtol=1e-5)
    ours, theirs = first_gradient(together), first_gradient(alone)
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)

    assert run(**settings(together, 14), **first).returncode == 0
    assert run(**settings(together, STEPS, fsdp=1), **first, devices=8).returncode == 0
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-5)

    finish(pair(mode="sample", workdir=together, config__sample__num=5, config__sample__batch_size=1))
    with np.load(together / "samples" / "default" / "samples.npz") as samples:
        assert samples["images"].shape == (5, 16, 16, 3)


def test_a_signal_to_one_process_stops_both_after_the_same_step(pair, tmp_path):
    processes = pair(**settings(tmp_path / "run", 100_000))
    for line in processes[0].stdout:
        if line.startswith("step 3/"):
            processes[1].send_signal(signal.SIGTERM)
            break
    outputs = finish(processes)
    assert "SIGTERM: stopped after step" in outputs[0]


def test_processes_with_different_configurations_are_refused(pair, tmp_path, capfd):
    processes = pair(seeds=(0, 1), workdir=tmp_path / "run")
    for process in processes:
        process.communicate(timeout=300)
    assert [process.returncode for process in processes] == [2, 2]
    assert "process 1: has another seed and data set than process 0" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
