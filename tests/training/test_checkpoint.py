"""What becomes of a run whose checkpoints were harmed."""

import errno
import os
import resource
import shutil
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from microgen_jax.errors import UserError
from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints, Damaged
from microgen_jax.training.checksums import checksums
from microgen_jax.training.state import TrainState


def state(step: int) -> TrainState:
    weights = {"w": jax.random.normal(jax.random.key(step), (64, 64)), "b": jnp.full(3, step, jnp.bfloat16)}
    return TrainState(jnp.int32(step), weights, weights, (weights,))


def target() -> TrainState:
    shapes = jax.eval_shape(lambda: state(0))
    return checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, meshes.make_mesh(1, 1)))


@pytest.fixture
def workdir(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, state(step), None)
    checkpoints.wait()
    checkpoints.close()
    return tmp_path


def write(checkpoints, step):
    checkpoints.save(step, state(step), None)
    checkpoints.wait()


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(folder):
    path = largest_file(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def cut_off(folder):
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_deleted(folder):
    shutil.rmtree(folder / "state")


def sums_deleted(folder):
    shutil.rmtree(folder / "checksums")


def other_numbers(folder):
    shutil.rmtree(folder / "state")
    shutil.copytree(folder.with_name("1") / "state", folder / "state")


HARMS = [flip_a_bit, cut_off, half_deleted, sums_deleted, other_numbers]


@pytest.mark.parametrize("harm", HARMS)
def test_the_one_before_a_damaged_one_is_used(workdir, harm, capsys):
    harm(workdir / "checkpoints" / "3")
    checkpoints = Checkpoints(workdir)
    found = checkpoints.resume(target())
    assert int(found.step) == 2
    np.testing.assert_array_equal(found.params["w"], state(2).params["w"])
    assert checkpoints.steps() == [1, 2]
    assert (workdir / "damaged" / "3").is_dir()
    assert "checkpoints/3: is damaged" in capsys.readouterr().out
    checkpoints.save(3, found, None)
    checkpoints.wait()
    checkpoints.close()


def chained(text: str) -> Exception:
    """As orbax wraps what tensorstore has to say."""
    fault = Exception("Encountered error while reading array index: (slice(0, 64, 1),)")
    fault.__cause__ = ValueError(text)
    return fault


def refused(number: int, status: str) -> Exception:
    return chained(f"{status}: Failed to open: \"a/b\": {os.strerror(number)} [os_error_code='{number}']")


NOT_ITS_FAULT = [
    *(
        OSError(n, os.strerror(n))
        for n in (errno.EIO, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.ESTALE)
    ),
    *(refused(errno.EMFILE, "RESOURCE_EXHAUSTED"), refused(errno.EACCES, "PERMISSION_DENIED")),
    *(refused(errno.EIO, "UNKNOWN"), refused(errno.ETIMEDOUT, "UNAVAILABLE")),
    chained("DEADLINE_EXCEEDED: no answer"),
    *(OSError("Forbidden: https://store/bucket/o/state"), PermissionError("Access Denied")),
    type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})("SlowDown"),
    MemoryError(),
    TimeoutError("timed out"),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1048576 bytes."),
]
ITS_FAULT = [
    FileNotFoundError(errno.ENOENT, "no such file"),
    refused(errno.ENOENT, "NOT_FOUND"),
    chained("DATA_LOSS: Expected digest 1 but received 2"),
    chained("OUT_OF_RANGE: Requested byte range [30342, 45513) is not valid for value of size 22938"),
    ValueError("Expecting value: line 1 column 1 (char 0)"),
    KeyError("state"),
]


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """Two checkpoints, opened for reading."""
    workdir = tmp_path_factory.mktemp("read")
    checkpoints = Checkpoints(workdir)
    write(checkpoints, 1)
    write(checkpoints, 2)
    checkpoints.close()
    checkpoints = Checkpoints(workdir, read_only=True)
    yield checkpoints
    checkpoints.close()


def unreadable(manager, fault):
    """Step 2 cannot be read."""

    def restore(step, args):
        if step == 2:
            raise fault
        return type(manager).restore(manager, step, args=args)

    return restore


@pytest.mark.parametrize("fault", NOT_ITS_FAULT, ids=repr)
def test_what_is_not_a_checkpoint_s_fault_stops_and_leaves_it(reading, fault, monkeypatch):
    monkeypatch.setattr(reading._manager, "restore", unreadable(reading._manager, fault))
    with pytest.raises(UserError) as error:
        reading.resume(target())
    assert error.value.where.endswith("checkpoints/2")
    assert not isinstance(error.value, Damaged)


@pytest.mark.parametrize("fault", ITS_FAULT, ids=repr)
def test_what_is_its_fault_falls_back_to_the_one_before(reading, fault, monkeypatch, capsys):
    monkeypatch.setattr(reading._manager, "restore", unreadable(reading._manager, fault))
    assert int(reading.resume(target()).step) == 1
    assert "checkpoints/2: is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["checkpoints/2", "state", "manifest.ocdbt"])
def test_what_may_not_be_read_is_not_taken_for_missing(reading, monkeypatch, name):
    """orbax looks whether things are there, and is told that they are not."""
    missing = FileNotFoundError(errno.ENOENT, "no such file")
    monkeypatch.setattr(reading._manager, "restore", unreadable(reading._manager, missing))
    monkeypatch.setattr(checkpoint.os, "access", lambda path, mode: not str(path).endswith(name))
    with pytest.raises(UserError) as error:
        reading.resume(target())
    assert name in error.value.problem
    assert not isinstance(error.value, Damaged)


def test_another_format_is_neither_read_nor_set_aside(workdir, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoints = Checkpoints(workdir)
    write(checkpoints, 4)
    monkeypatch.undo()
    with pytest.raises(UserError) as error:
        checkpoints.resume(target())
    checkpoints.close()
    assert error.value.where.endswith("checkpoints/4")
    assert "format 99" in error.value.problem
    assert not isinstance(error.value, Damaged)
    assert (workdir / "checkpoints" / "4").is_dir()


def test_untrusted_arrays_of_other_shapes_are_not_read(workdir):
    larger = {"w": jnp.zeros((64, 65)), "b": jnp.zeros(3, jnp.bfloat16)}
    checkpoints = Checkpoints(workdir)
    checkpoints.save(4, TrainState(jnp.int32(4), larger, larger, (larger,)), None)
    checkpoints.wait()
    with pytest.raises(Damaged):
        checkpoints.restore(4, target())
    checkpoints.close()


def test_arrays_that_an_untrusted_config_adds_are_missed(workdir):
    shapes = target()
    more = shapes.replace(ema_params=shapes.ema_params | {"more": shapes.ema_params["w"]})
    checkpoints = Checkpoints(workdir, read_only=True)
    with pytest.raises(Damaged):
        checkpoints.restore_ema(3, more)
    checkpoints.close()


def test_a_reader_moves_nothing(workdir):
    half_deleted(workdir / "checkpoints" / "3")
    checkpoints = Checkpoints(workdir, read_only=True)
    step, params = checkpoints.restore_ema(None, target())
    checkpoints.close()
    assert step == 2
    np.testing.assert_array_equal(params["w"], state(2).params["w"])
    assert (workdir / "checkpoints" / "3").is_dir()


def test_where_none_is_whole_nothing_is_moved(workdir):
    for step in (1, 2, 3):
        half_deleted(workdir / "checkpoints" / str(step))
    checkpoints = Checkpoints(workdir)
    with pytest.raises(Damaged) as error:
        checkpoints.resume(target())
    checkpoints.close()
    assert error.value.where.endswith("checkpoints/3")
    assert not (workdir / "damaged").exists()


@contextmanager
def no_file_above(size: int):
    """As if the disk were full, or the quota used up, once a file grows beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_leaves_the_whole_ones(workdir):
    checkpoints = Checkpoints(workdir)
    with no_file_above(4096), pytest.raises(UserError) as error:
        write(checkpoints, 4)
    checkpoints.close()
    assert "File too large" in error.value.problem
    assert "1, 2, 3" in error.value.fix
    again = Checkpoints(workdir)
    assert int(again.resume(target()).step) == 3
    write(again, 4)
    again.close()
    assert again.steps() == [2, 3, 4]


def test_the_sums_are_those_of_any_topology_and_of_any_single_bit():
    mesh = meshes.make_mesh(4, 2)
    whole = state(5)
    cut = whole.replace(
        params=jax.device_put(
            whole.params, {"w": NamedSharding(mesh, PartitionSpec("fsdp")), "b": meshes.replicated(mesh)}
        )
    )
    assert checksums(cut) == checksums(whole)
    bits = np.asarray(whole.params["w"]).view(np.uint32).copy()
    bits[3, 4] ^= 1 << 31
    other = whole.replace(params=whole.params | {"w": jnp.asarray(bits.view(np.float32))})
    assert [name for name in checksums(whole) if checksums(other)[name] != checksums(whole)[name]] == [
        "params/w"
    ]


def zeros_in(folder):
    """Let every array of the written state read back as zeros."""
    for path in folder.rglob("d/*"):
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [zeros_in, cut_off, half_deleted, sums_deleted])
def test_what_does_not_read_back_never_counts_and_removes_nothing(workdir, harm, monkeypatch):
    checkpoints = Checkpoints(workdir)
    check = checkpoints._check_written

    def harmed():
        (folder,) = (workdir / "checkpoints").glob("4.orbax*")
        harm(folder)
        check()

    monkeypatch.setattr(checkpoints._manager._checkpointer, "_post_finalization_callback", harmed)
    with pytest.raises(UserError) as error:
        write(checkpoints, 4)
    assert error.value.where.endswith("checkpoints/4")
    checkpoints.close()
    again = Checkpoints(workdir)
    assert again.steps() == [1, 2, 3]
    assert int(again.resume(target()).step) == 3
    again.close()


@pytest.mark.parametrize("name", ["[ni] lr=2e-4", "a*b", "what?", "[!x]"])
def test_a_folder_s_name_is_no_pattern(tmp_path, name):
    other = Checkpoints(tmp_path / "axb")
    write(other, 1)
    other.close()
    checkpoints = Checkpoints(tmp_path / name)
    write(checkpoints, 2)
    checkpoints.close()
    again = Checkpoints(tmp_path / name, read_only=True)
    np.testing.assert_array_equal(again.resume(target()).params["w"], state(2).params["w"])
    again.close()
