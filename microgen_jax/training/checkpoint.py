"""`<workdir>/checkpoints/<step>/`, written in the background and whole or not at all; orbax's only room."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.training.state import TrainState
from microgen_jax.types import Params

METRIC = "heldout_loss"
FORMAT = 2  # of what lies in a checkpoint; those without a number are of format 1
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # its own fault; other numbers are the system's
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")  # as tensorstore ends its messages
_REFUSALS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED")


def _heldout_loss(metrics: dict[str, float]) -> float:
    return metrics[METRIC]


class Damaged(UserError):
    """A checkpoint that cannot be read, or that holds other numbers than were written."""


class Checkpoints:
    """The checkpoints of one work directory: the newest few, and the best by held-out loss.

    Beside the state lies a sum of every array's bits, which is compared when it is read.

    Args:
      workdir: the run's folder.
      keep: how many of the newest stay.
      read_only: nothing will be saved; the folder is left as it is.
    """

    def __init__(self, workdir: Path, keep: int = 3, read_only: bool = False):
        self._workdir, self._read_only = workdir, read_only
        best = policies.BestN(
            get_metric_fn=_heldout_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            best_fn=_heldout_loss,
            best_mode="min",
            create=not read_only,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = ocp.CheckpointManager(
            (workdir / "checkpoints").absolute(), options=options, item_names=("state", "checksums")
        )

    def newest(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step of the checkpoint with the least held-out loss; the newest where none has one."""
        return self._manager.best_step() or self.newest()

    def steps(self) -> list[int]:
        """The steps that can be restored, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, heldout_loss: float | None) -> None:
        """Starts writing; the arrays may be donated as soon as this returns.

        Raises:
          UserError: this one, or the one before it, cannot be written.
        """
        metrics = None if heldout_loss is None else {METRIC: heldout_loss}
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            checksums=ocp.args.JsonSave(checksums(state) | {"format": FORMAT}),
        )
        with self._writing():
            self._manager.save(step, args=items, metrics=metrics, force=True)

    def resume(self, target: TrainState) -> TrainState | None:
        """The newest state that is whole, or None where there is none at all.

        Damaged checkpoints above it are moved to `<workdir>/damaged/`, with a line each.

        Args:
          target: `jax.ShapeDtypeStruct`s with shardings; any device topology will do.

        Raises:
          Damaged: there are checkpoints, and none of them is whole.
          UserError: what keeps the newest from being read is not its own fault; nothing is moved.
        """
        return self._newest_whole(lambda step: self._restore(step, target))[1]

    def restore(self, step: int, target: TrainState) -> TrainState:
        """The state of a step, laid out as `target` says.

        Raises:
          Damaged: the checkpoint cannot be read, or not as this architecture's.
          UserError: what keeps it from being read is not its own fault.
        """
        return self._restore(step, target)

    def restore_ema(self, step: int | None, target: TrainState) -> tuple[int, Params]:
        """A step and its averaged parameters; the rest of the state is not read.

        Args:
          step: one of `steps()`; None takes the newest that is whole.
          target: as for `resume`.

        Raises:
          Damaged: the checkpoint cannot be read, or not as this architecture's.
          UserError: what keeps it from being read is not its own fault.
        """

        def read(step: int) -> Params:
            return self._restore(step, {"ema_params": target.ema_params})["ema_params"]

        return self._newest_whole(read) if step is None else (step, read(step))

    def _newest_whole(self, read: Callable[[int], Any]) -> tuple[int | None, Any]:
        damaged: dict[int, Damaged] = {}
        for step in reversed(self.steps()):
            try:
                found = read(step)
            except Damaged as fault:
                damaged[step] = fault
                continue
            for bad, fault in damaged.items():
                self._pass_over(bad, fault)
            return step, found
        if damaged:
            raise next(iter(damaged.values()))
        return None, None

    def _pass_over(self, step: int, fault: Damaged) -> None:
        if self._read_only:
            distributed.log(f"warning: {fault}; using the one before")
            return
        if distributed.is_process_0():
            place = self._workdir / "damaged" / str(step)
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            (self._workdir / "checkpoints" / str(step)).rename(place)
        distributed.log(
            f"warning: {fault}; moved to {self._workdir}/damaged/{step}, going on from the one before"
        )
        distributed.barrier(f"set {step} aside")
        self._manager.reload()

    def _restore(self, step: int, wanted):
        places = ocp.checkpoint_utils.construct_restore_args(wanted)
        state = ocp.args.PyTreeRestore(wanted, restore_args=places, partial_restore=True)
        where = f"{self._workdir}/checkpoints/{step}"
        try:
            written = self._manager.restore(step, args=ocp.args.Composite(checksums=ocp.args.JsonRestore()))
            written = written["checksums"]
            _check_format(where, written.pop("format", 1))
            if lacking := [name for name in _names(wanted) if name not in written]:
                raise KeyError(lacking[0])
            found = self._manager.restore(step, args=ocp.args.Composite(state=state))
        except UserError:
            raise
        except Exception as fault:
            if refusal := _refusal(fault) or _denied(Path(where)):
                raise UserError(
                    f"{where} cannot be read ({refusal}); it was left in place: mend that and start again"
                ) from fault
            raise Damaged(
                f"{where} is damaged or holds another architecture than config.json says "
                f"({type(fault).__name__}); remove it to use the one before, or restore its config.json"
            ) from fault
        wrong = [name for name, value in checksums(found["state"]).items() if written.get(name) != value]
        if wrong:
            raise Damaged(
                f"{where} is damaged ({wrong[0]} is not what was written); remove it to use the one before"
            )
        return found["state"]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:
            raise UserError(
                f"cannot write to {self._workdir}/checkpoints ({_cause(fault)}); the whole ones there are "
                f"intact ({', '.join(map(str, self._on_disk())) or 'none yet'}): mend it and start again"
            ) from fault

    def _on_disk(self) -> list[int]:
        """The steps that are whole; after a failed save orbax leaves out the one that was to make room."""
        return sorted(int(p.name) for p in (self._workdir / "checkpoints").glob("*") if p.name.isdecimal())

    def wait(self) -> None:
        """Returns when everything that was started is on disk.

        Raises:
          UserError: it cannot be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def _check_format(where: str, found: object) -> None:
    if found != FORMAT:
        raise UserError(
            f"{where} has format {found}, this version reads {FORMAT}; use the version of microgen-jax that wrote it"
        )


def checksums(tree: Params) -> dict[str, int]:
    """The sum of every array's words, modulo 2^64, by its place in the tree; the same on any topology."""
    sums = np.array([_sum_of_words(x) for x in jax.tree.leaves(tree)], np.uint64)
    if jax.process_count() > 1:
        halves = sums.view(np.uint32)
        parts = multihost_utils.process_allgather(halves)
        sums = np.ascontiguousarray(parts).view(np.uint64).sum(axis=0, dtype=np.uint64)
    return dict(zip(_names(tree), map(int, sums)))


def _names(tree: Params) -> list[str]:
    """The place of every leaf in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def _sum_of_words(x: jax.Array) -> np.uint64:
    parts = [np.asarray(shard.data) for shard in x.addressable_shards if shard.replica_id == 0]
    words = [np.ascontiguousarray(part).reshape(-1).view(f"u{part.dtype.itemsize}") for part in parts]
    return np.sum([np.sum(word, dtype=np.uint64) for word in words], dtype=np.uint64)


def _refusal(fault: BaseException | None) -> str:
    """What the system refused where a checkpoint could not be read through no fault of its own; '' else."""
    while fault is not None:
        code = _OS_ERROR.search(str(fault))
        number = int(code[1]) if code else getattr(fault, "errno", None)
        if number is not None and number not in _MISSING:
            return os.strerror(number)
        if isinstance(fault, (MemoryError, TimeoutError, ConnectionError)):
            return _cause(fault)
        if any(word in str(fault) for word in _REFUSALS):
            return _cause(fault)
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return ""


def _denied(folder: Path) -> str:
    """What may not be read in a checkpoint, as then it looks as if it were missing; '' where everything may."""
    inside = (Path(parent, name) for parent, folders, names in os.walk(folder) for name in folders + names)
    denied = (
        path for path in chain([folder], inside) if not os.access(path, os.R_OK) and os.path.lexists(path)
    )
    return next((f"no permission to read {path}" for path in denied), "")


def _cause(fault: Exception) -> str:
    """The end of a chain such as 'Error writing a: failed to write b: No space left on device'."""
    return str(fault).strip().split(": ")[-1].partition(" [")[0][:200] or type(fault).__name__


def abstract(state: TrainState, shardings: TrainState) -> TrainState:
    """Shapes, dtypes and places of a state, as `Checkpoints.restore` wants them."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        jax.eval_shape(lambda: state),
        shardings,
    )
