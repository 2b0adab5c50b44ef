"""The loop on a toy: what happens when, and what a bad value or a signal does."""

import dataclasses
import itertools
import json
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.runtime import distributed
from microgen_jax.training import loop, watchdog
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.logging import Writer, cut_back
from microgen_jax.training.state import TrainState
from microgen_jax.training.watchdog import Watch

STEPS = loop.Steps(total=6, log_every=2, sample_every=3, eval_every=4, checkpoint_every=2)


def start(step: int = 0) -> TrainState:
    """After as many updates with batches of 1."""
    return TrainState(jnp.int32(step), {"w": jnp.float32(step)}, {"w": jnp.float32(step)}, ())


@jax.jit
def step(state, batch, key):
    w = state.params["w"] + batch
    loss = jnp.where(batch > 100, jnp.nan, w)
    new = TrainState(state.step + 1, {"w": w}, {"w": w}, ())
    return new, {"loss": loss, "grad_norm": loss, "finite_layers": jnp.stack([jnp.bool_(True), batch <= 100])}


def run(
    workdir,
    batches,
    heldout=lambda state: {"heldout_loss": 1.0},
    steps=STEPS,
    after=0,
    sample=lambda state: None,
    put=jax.device_put,
):
    sampled = []

    def preview(state):
        sample(state)
        sampled.append(int(state.step))
        return np.zeros((4, 8, 8, 3), np.uint8)

    checkpoints, writer = Checkpoints(workdir, keep=9), Writer(workdir, after)
    toy = loop.Run(
        train_step=step,
        heldout=heldout,
        preview=preview,
        key=jax.random.key(0),
        steps=steps,
        batch_size=8,
        workdir=workdir,
        checkpoints=checkpoints,
        writer=writer,
        images=lambda k: [f"{k}a.png", f"{k}b.png"],
        layers=("down", "up"),
    )
    try:
        loop.train(toy, start(after), map(put, map(np.float32, batches)))
    finally:
        checkpoints.wait()
        writer.close()
        saved = checkpoints.steps()
        checkpoints.close()
    return saved, sampled


def lines(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_everything_is_done_when_it_is_due(tmp_path):
    steps, sampled = run(tmp_path, itertools.repeat(1.0))
    assert steps == [2, 4, 6]
    assert sampled == [3, 6]
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == [1, 2, 4, 6]
    assert [line["step"] for line in lines(tmp_path) if "heldout_loss" in line] == [2, 4, 6]
    assert "first_step_seconds" in lines(tmp_path)[0]


def test_who_is_killed_while_sampling_has_the_checkpoint_of_that_step(tmp_path):
    class Killed(BaseException):
        pass

    def sample(state):
        if state.step == 6:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, itertools.repeat(1.0), sample=sample)
    assert run(tmp_path, [], after=6) == ([2, 4, 6], [6])


def test_a_bad_value_names_its_step_and_leaves_the_last_good_checkpoint(tmp_path):
    with pytest.raises(loop.Diverged) as error:
        run(tmp_path, [1.0, 1.0, 1.0, 1000.0, 1.0, 1.0])
    assert error.value.where == "step 4"
    assert "grad_norm and loss not finite (gradient: up); its images: 3a.png, 3b.png" in error.value.problem
    assert "skip_batches='(3,)'" in error.value.fix
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdecimal()) == ["2"]


def test_a_bad_batch_can_be_passed_over(tmp_path):
    steps = dataclasses.replace(STEPS, skip=(3,))
    assert run(tmp_path, [1.0, 1.0, 1.0, 1000.0, 1.0, 1.0], steps=steps)[0] == [2, 4, 6]
    assert [line["loss"] for line in lines(tmp_path) if "loss" in line][-1] == 5.0


def test_an_update_that_hangs_is_reported_and_traced(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "MIN_SECONDS", 0.2)
    with Watch(tmp_path) as timer:
        warnings = []
        for k in range(13):
            timer.start()
            time.sleep(0.5 if k == 11 else 0.001)
            warnings.append(timer.stop(k))
    assert [k for k, text in enumerate(warnings) if text] == [11]
    assert "times the median" in warnings[11]
    assert "test_an_update_that_hangs" in (tmp_path / "slow_steps.txt").read_text()


def test_a_loss_that_explodes_is_reported(tmp_path, capsys):
    """The toy's loss is the sum of its batches: thirteen and then a thousand more."""
    steps = dataclasses.replace(STEPS, total=16, log_every=1)
    run(tmp_path, [1.0] * 13 + [99.0] * 3, steps=steps)
    printed = capsys.readouterr().out
    assert "warning: step 15: loss 211 is" in printed
    assert "its images: 14a.png, 14b.png" in printed
    assert "step 13: loss" not in printed


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, monkeypatch):
    now, asked = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(asked))
    steps, sampled = run(tmp_path, itertools.repeat(1.0))
    assert next(asked) > 3
    assert (steps, sampled) == ([2, 4, 6], [3, 6])
    again = Checkpoints(tmp_path)
    assert again.newest() == 6
    again.close()


def test_no_trace_is_left_where_nothing_hung(tmp_path):
    with Watch(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_updates_move_nothing_to_the_devices_unasked(tmp_path):
    """The guard is on during updates only: a batch from the host is refused, a preview may move what it likes."""
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
        run(tmp_path / "a", itertools.repeat(1.0), put=lambda batch: batch)
    assert run(tmp_path / "b", itertools.repeat(1.0), sample=lambda state: state.step + 1)[1] == [3, 6]


@pytest.mark.parametrize(("profile", "traces"), [(0, 0), (2, 1), (50, 1)])
def test_a_profile_leaves_a_trace_for_tensorboard(tmp_path, profile, traces):
    saved, _ = run(tmp_path, itertools.repeat(1.0), steps=dataclasses.replace(STEPS, profile=profile))
    assert saved == [2, 4, 6]
    assert len(list(tmp_path.glob("tensorboard/plugins/profile/*/*.xplane.pb"))) == traces


def stopping(step: int):
    """Batches during whose update `step` somebody wants the run to stop."""
    yield from [1.0] * (step - 1)
    os.kill(os.getpid(), signal.SIGTERM)
    yield from itertools.repeat(1.0)


def test_a_signal_saves_the_step(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(loop.Interrupted, match=r"SIGTERM: .* checkpoints/5 in \d+\.\d s"):
        run(tmp_path, stopping(5))
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "checkpoints" / "5").is_dir()


def looks(workdir) -> tuple[list, list]:
    """What was measured on held-out images, and what was sampled."""
    heldout = [line for line in lines(workdir) if "heldout_loss" in line]
    return heldout, sorted(path.name for path in (workdir / "progress").glob("step_*"))


@pytest.mark.parametrize("step", [3, 4, 6])
def test_a_stop_saves_first_and_what_was_due_is_made_at_the_next_start(tmp_path, step):
    """Due are images, the held-out loss, and at the end both."""
    measured = []

    def heldout(state):
        measured.append(int(state.step))
        return {"heldout_loss": 7.0 - int(state.step)}

    run(tmp_path / "whole", itertools.repeat(1.0), heldout)
    measured.clear()
    with pytest.raises(loop.Interrupted):
        run(tmp_path / "cut", stopping(step), heldout)
    assert step not in measured
    assert not (tmp_path / "cut" / "progress" / f"step_{step:08d}.png").exists()
    run(tmp_path / "cut", itertools.repeat(1.0), heldout, after=step)
    assert looks(tmp_path / "cut") == looks(tmp_path / "whole")
    assert measured == [2, 4, 6]
    assert run(tmp_path / "cut", (), heldout, after=6)[1] == []
    assert measured == [2, 4, 6]


def asked(state):
    """Somebody wants the run to stop while it looks at this state."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_stop_during_a_held_out_measurement_takes_no_further_update(tmp_path, step):
    """The loss that was taken stands, the checkpoint is ranked by it, and what is then due is left owing."""
    every = dataclasses.replace(STEPS, sample_every=2)

    def heldout(state, stop_at=step):
        if int(state.step) == stop_at:
            asked(state)
        return {"heldout_loss": 7.0 - int(state.step)}

    run(tmp_path / "whole", itertools.repeat(1.0), lambda state: heldout(state, 0), every)
    with pytest.raises(loop.Interrupted, match=f"stopped after step {step}, saved as checkpoints/{step} in"):
        run(tmp_path / "cut", itertools.repeat(1.0), heldout, every)
    assert lines(tmp_path / "cut")[-1]["step"] == step
    again = Checkpoints(tmp_path / "cut", keep=9)
    assert (again.newest(), again.best()) == (step, step)
    again.close()
    run(tmp_path / "cut", itertools.repeat(1.0), lambda state: heldout(state, 0), every, after=step)
    assert looks(tmp_path / "cut") == looks(tmp_path / "whole")


@pytest.mark.parametrize(("step", "saved"), [(3, False), (6, True)])
def test_a_stop_during_a_sampling_takes_no_further_update(tmp_path, step, saved):
    """Step 3 has no checkpoint of its own; after the last step there is nothing left to stop."""

    def sample(state):
        if int(state.step) == step:
            asked(state)

    if saved:
        assert run(tmp_path, itertools.repeat(1.0), sample=sample) == ([2, 4, 6], [3, 6])
        return
    with pytest.raises(loop.Interrupted, match=f"stopped after step {step}, "):
        run(tmp_path, itertools.repeat(1.0), sample=sample)
    assert (tmp_path / "checkpoints" / str(step)).is_dir()
    assert run(tmp_path, itertools.repeat(1.0), after=step) == ([2, 3, 4, 6], [6])


def test_a_stop_while_what_is_owed_is_made_takes_no_update(tmp_path):
    with pytest.raises(loop.Interrupted):
        run(tmp_path, stopping(4))
    with pytest.raises(loop.Interrupted, match="stopped after step 4, "):
        run(tmp_path, (), lambda state: asked(state) or {"heldout_loss": 1.0}, after=4)
    assert run(tmp_path, itertools.repeat(1.0), after=4)[0] == [2, 4, 6]


def test_a_second_signal_is_not_held_back():
    with distributed.StopSignal() as stop:
        assert not stop.reached(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reached(1) == "SIGTERM"
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_log_is_cut_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    garbled = b'[1]\nnull\n{"step": "2"}\n\xff\x00\n'
    younger = b'{"step": 3, "loss": 1}\n{"step": 4, "lo'
    path.write_bytes(b'{"step": 1, "loss": 3}\n' + garbled + b'{"step": 2, "loss": 2}\n' + younger)
    cut_back(path, 2)
    assert path.read_text() == '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n'
