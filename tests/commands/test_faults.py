"""What `train` says when something breaks under it, in this process and through its real path."""

import errno
import itertools
import os
import runpy
from contextlib import contextmanager
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from microgen_jax import data
from microgen_jax.commands.train import train
from microgen_jax.config import command_line, fields, run_config
from microgen_jax.data.read_timeout import TemporaryReadError
from microgen_jax.errors import UserError, renamed
from microgen_jax.methods.ddpm import DDPM
from microgen_jax.runtime import distributed, lock
from microgen_jax.runtime import mesh as meshes
from tests.command_line import ROOT


@pytest.fixture
def config():
    config = runpy.run_path(str(ROOT / "configs" / "quickstart.py"))["get_config"]()
    config.data.size = (16, 16)
    config.data.count = 32
    config.model.update(channels=(8,), attention_levels=(False,), remat=(False,), head_dim=8, norm_groups=4)
    config.train.update(steps=4, batch_size=8, log_every=1, checkpoint_every=2)
    config.train.update(sample_every=0, eval_every=0, eval_samples=0)
    config.mesh.data = 1
    return config


@pytest.fixture(autouse=True)
def _as_a_person_runs_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class StartedToTrain(Exception):
    """Every check of the command is behind it."""


def test_a_loss_for_black_and_white_refuses_grey_before_the_workdir_is_touched(config, tmp_path, monkeypatch):
    config.diffusion.update(loss="bce", prediction="x0")
    with pytest.raises(UserError, match=r"0/\d+ .*data.resample=none.* pixel of 0\.\d+ ") as error:
        train(config, tmp_path / "w")
    assert error.value.where == "diffusion.loss"
    assert not (tmp_path / "w").exists()
    config.data.channels = 1
    monkeypatch.setattr(lock, "hold", Mock(side_effect=StartedToTrain))
    with pytest.raises(StartedToTrain):
        train(config, tmp_path / "w")


def full(compiled_step):
    """A step that is compiled as ever, and runs into the end of the device's memory."""

    def compiled(*args):
        step = compiled_step(*args)

        def run(state, batch, key):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1048576 bytes.")

        run.lower = step.lower
        return run

    return compiled


def test_out_of_device_memory_says_what_the_step_needs_and_what_to_lower(config, tmp_path, monkeypatch):
    monkeypatch.setattr(meshes, "compiled_step", full(meshes.compiled_step))
    with pytest.raises(
        UserError, match=r"take 0.0\d+ GB .*, activations of the step 0.0\d+ GB; lower"
    ) as error:
        train(config, tmp_path)
    assert error.value.where == "train.batch_size"


def test_out_of_device_memory_elsewhere_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"), command_line.one_line_errors():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\n1. a buffer")
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert "sample.batch_size" in printed[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS])
def test_what_a_disk_refuses_is_one_line_and_a_fault_of_the_program_is_not(capsys, number):
    with pytest.raises(SystemExit, match="2"), command_line.one_line_errors():
        raise OSError(number, os.strerror(number), "a/grid.png")
    assert capsys.readouterr().err.startswith(f"error: a/grid.png: {os.strerror(number)}; solve this")
    with pytest.raises(OSError, match="Invalid argument"), command_line.one_line_errors():
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_an_interrupt_where_nothing_is_trained_is_one_line(capsys):
    with pytest.raises(SystemExit, match="130"), command_line.one_line_errors():
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "error: interrupted\n"


def torn(error: UserError):
    yield 1
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [(UserError("a/3.png", "no such file"), 2), (TemporaryReadError("a/3.png", "no answer"), 75)],
)
def test_one_process_of_several_leaves_at_once_with_the_error_s_status(monkeypatch, capsys, error, status):
    with pytest.raises(type(error)) as alone:
        list(distributed.local_errors_abort(torn(error)))
    monkeypatch.setattr(distributed, "is_multi_process", lambda: True)
    left = []
    monkeypatch.setattr(command_line.os, "_exit", left.append)
    with command_line.one_line_errors(), renamed({"a/3.png": "maps/a/3.png"}):
        list(distributed.local_errors_abort(torn(error)))
    assert not isinstance(alone.value, distributed.ProcessError)
    assert left == [status]
    assert capsys.readouterr().err == f"error: maps/a/3.png: {error.problem}\n"


@pytest.mark.parametrize("error", [UserError("x", "is wrong"), TemporaryReadError("x", "is wrong")])
def test_processes_without_the_error_end_with_its_status(monkeypatch, error):
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        distributed.multihost_utils, "process_allgather", lambda own: np.array([own, error.exit_status])
    )
    with pytest.raises(UserError, match="process 1 of 2") as other, distributed.broadcast_errors():
        pass
    assert other.value.exit_status == error.exit_status


def test_what_another_start_has_left_meanwhile_is_not_overwritten(config, tmp_path, monkeypatch):
    """Reading the list of many images takes minutes, in which another run may have come and gone."""
    other = config.copy_and_resolve_references()
    other.seed = 5
    other = fields.freeze(other)

    @contextmanager
    def late(workdir, active):
        run_config.write(workdir, other, run_config.Resolved((), (), (), (), 3, "folder", ""))
        yield

    monkeypatch.setattr(lock, "hold", late)
    with pytest.raises(UserError, match=r"holds a run with .*seed=5 \(now 0\)"):
        train(config, tmp_path)
    assert run_config.read(tmp_path).config.seed == 5


def steps(workdir) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())


def poisoned(batches):
    """Batch 2 has a pixel that is no number."""

    def read(*args, start, put, **keywords):
        numbers = itertools.count(start)

        def poison(batch):
            image = batch.image.copy()
            image[0, 0, 0, 0] = np.nan if next(numbers) == 2 else image[0, 0, 0, 0]
            return put(batch._replace(image=image))

        return batches(*args, start=start, put=poison, **keywords)

    return read


def test_a_pixel_that_is_no_number_is_named_and_can_be_passed_over(config, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "batches", poisoned(data.batches))
    with pytest.raises(UserError, match=r"step 3: grad_norm and loss .*every layer.*skip_batches='\(2,\)'"):
        train(config, tmp_path)
    assert steps(tmp_path) == [2]
    config.train.skip_batches = (2,)
    train(config, tmp_path)
    assert steps(tmp_path) == [2, 4]


@jax.custom_vjp
def sick(x):
    """x, with a gradient that is no number."""
    return x


sick.defvjp(lambda x: (x, None), lambda _, g: (g * jnp.nan,))


def test_a_gradient_that_is_no_number_is_traced_to_its_layer(config, tmp_path, monkeypatch):
    loss_of = DDPM.loss_of

    def harmed(self, params, *args, **keywords):
        group = sorted(params)[1]
        return loss_of(self, params | {group: jax.tree.map(sick, params[group])}, *args, **keywords)

    monkeypatch.setattr(DDPM, "loss_of", harmed)
    with pytest.raises(UserError, match=r"step 1: grad_norm not finite \(gradient: \w+\); its images: "):
        train(config, tmp_path)


def maps(folder):
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for n in range(8):
            pixels = np.kron(rng.integers(0, 256, (4, 4, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
            Image.fromarray(pixels).save(folder / label / f"{n}.png")
    return folder


def removed(path):
    path.unlink()


def another(path):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)


def garbled(path):
    content = path.read_bytes()
    path.write_bytes(content[:45] + bytes(len(content) - 60) + content[-15:])


def midway(harm, compiled_step):
    """A step that lets something happen before update 6."""

    def compiled(*args):
        step = compiled_step(*args)

        def run(state, batch, key):
            if int(state.step) == 5:
                harm()
            return step(state, batch, key)

        return run

    return compiled


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(removed, "a/3.png: no such file", marks=pytest.mark.slow),
        (another, r"a/3.png: was altered since the run started \(\d+ bytes then, \d+ now\)"),
        pytest.param(garbled, "a/3.png: ", marks=pytest.mark.slow),
    ],
)
def test_an_image_that_is_harmed_midway_is_named_and_nothing_is_lost(
    config, tmp_path, monkeypatch, harm, words
):
    config.data.update(root=str(maps(tmp_path / "maps")), holdout=0.2, cache="")
    config.train.update(steps=20, checkpoint_every=4)
    original = tmp_path / "maps" / "a" / "3.png"
    whole = original.read_bytes()
    monkeypatch.setattr(meshes, "compiled_step", midway(lambda: harm(original), meshes.compiled_step))
    with pytest.raises(UserError, match=words):
        train(config, tmp_path / "run")
    monkeypatch.undo()
    assert steps(tmp_path / "run")[0] == 4
    original.write_bytes(whole)
    train(config, tmp_path / "run")
    assert steps(tmp_path / "run")[-1] == 20
