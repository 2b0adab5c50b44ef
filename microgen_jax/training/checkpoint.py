"""`<workdir>/checkpoints/<step>/`, written in the background, whole or not at all; only this module imports orbax.

Where the work directory stands for an object store, `Store` says what orbax writes there and what is put after it.
"""

import dataclasses
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from etils.epath.gpath import PosixGPath
from orbax.checkpoint import checkpoint_managers as policies

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed, storage
from microgen_jax.runtime.store import Store, reaching
from microgen_jax.training.checksums import checksums, leaf_names, sum_of_array
from microgen_jax.training.refusals import cause, denied, refusal
from microgen_jax.training.state import TrainState
from microgen_jax.types import Params

METRIC = "heldout_loss"
FORMAT = 2  # of what lies in a checkpoint; those without a number are of format 1
_CHECK_DISK = "the older ones are intact: see that the disk or store is sound, and start again"


def _heldout_loss(metrics: dict[str, float]) -> float:
    return metrics[METRIC]


class Damaged(UserError):
    """A checkpoint that cannot be read, or that holds other numbers than were written."""


class LiteralPath(PosixGPath):
    """A folder of this machine whose own name is never taken for a pattern.

    orbax looks for the files of each process with `path.glob("ocdbt.process_*")`. etils joins path and pattern, so
    that `[`, `*` or `?` in a folder's name would find nothing, or another run's files.
    """

    def glob(self, pattern: str) -> Iterator["LiteralPath"]:
        """Return the paths inside this folder that match a pattern."""
        for path in glob.glob(os.path.join(glob.escape(str(self)), pattern)):
            yield self._new(path)


class _Written(NamedTuple):
    """What is being written: its step, the shapes of its arrays and their sums."""

    step: int
    shapes: TrainState
    sums: dict[str, int]


class Checkpoints:
    """The checkpoints of one work directory: the newest few, and the best by held-out loss.

    Beside the state lies a sum of every array's bits. A checkpoint is read back and compared with it before it counts
    and before an older one is removed; and again whenever it is restored.

    Args:
      workdir: folder of the run.
      keep: how many of the newest stay.
      read_only: nothing will be saved; the folder is left as it is.
    """

    def __init__(self, workdir: Path, keep: int = 3, read_only: bool = False):
        self._workdir, self._read_only = workdir, read_only
        self._store = storage.store_of(workdir)
        self._name = self._store.url if self._store else str(workdir)
        self._folder = _address(workdir, self._store) / "checkpoints"
        if self._store and not read_only:
            with distributed.broadcast_errors():
                if distributed.is_process_0():
                    self._store.claim()
        self._written: _Written | None = None
        best = policies.BestN(
            get_metric_fn=_heldout_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            best_fn=_heldout_loss,
            best_mode="min",
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._check_written),
        )
        with reaching(self._name) if self._store else nullcontext():
            self._manager = ocp.CheckpointManager(
                self._folder, options=options, item_names=("state", "checksums")
            )

    def place(self, step: int | None) -> str:
        """Return folder or address of a checkpoint.

        Args:
          step: its number.
        """
        return f"{self._name}/checkpoints/{step}"

    def newest(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Return the step of the checkpoint with the smallest held-out loss; the newest where none has one."""
        return self._manager.best_step() or self.newest()

    def steps(self) -> list[int]:
        """Return the steps that can be restored, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, heldout_loss: float | None) -> None:
        """Start to write a state; its arrays may be donated as soon as this returns.

        Args:
          step: number of updates done.
          state: the state after them.
          heldout_loss: hold-out loss, by which the best checkpoint is chosen; None if not measured.

        Raises:
          UserError: this one, or the one before it, cannot be written or read back; or another run owns the store.
        """
        metrics = None if heldout_loss is None else {METRIC: heldout_loss}
        self.wait()
        if self._store:
            with distributed.broadcast_errors():
                if distributed.is_process_0():
                    self._store.check_owner()
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
        self._written = _Written(step, shapes, checksums(state))
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            checksums=ocp.args.JsonSave(self._written.sums | {"format": FORMAT}),
        )
        with distributed.process_aborts(), self._writing():
            self._manager.save(step, args=items, metrics=metrics, force=True)

    def _check_written(self) -> None:
        """Read back and publish what was written; orbax calls this on process 0 before it counts.

        Raises:
          Damaged: it cannot be read, or differs; it will not count, and no older checkpoint is removed.
          UserError: another run owns the store by now.
        """
        step, shapes, sums = self._written
        names = (str(step), f"{step}.orbax-checkpoint-tmp")
        (place,) = (path for path in self._folder.iterdir() if path.name in names)
        wrong = self.place(step)
        try:
            listed = ocp.JsonCheckpointHandler().restore(place / "checksums")
            found = _sums_on_disk(place / "state", shapes)
        except Exception as fault:
            raise Damaged(
                wrong, f"was written and cannot be read back ({cause(fault)})", _CHECK_DISK
            ) from fault
        for name, value in sums.items():
            if found[name] != value or listed.get(name) != value:
                raise Damaged(wrong, f"was written and reads back with another {name}", _CHECK_DISK)
        if self._store:
            self._store.publish(step, None if self._store.orbax_writes else Path(place))

    def resume(self, target: TrainState) -> TrainState | None:
        """Return the newest state that is whole, or None where there is none at all.

        Newer checkpoints that are damaged are moved to `<workdir>/damaged/`, with a line each.

        Args:
          target: `jax.ShapeDtypeStruct`s with shardings; any device topology will do.

        Raises:
          Damaged: there are checkpoints, and none of them is whole.
          UserError: what keeps the newest from being read is not its own fault; nothing is moved.
        """
        return self._newest_whole(lambda step: self._restore(step, target))[1]

    def restore(self, step: int, target: TrainState) -> TrainState:
        """Return the state of a step.

        Args:
          step: one of `steps()`.
          target: shapes and shardings, as for `resume`.

        Raises:
          Damaged: the checkpoint cannot be read, or not as this architecture's.
          UserError: what keeps it from being read is not its own fault.
        """
        return self._restore(step, target)

    def restore_ema(self, step: int | None, target: TrainState) -> tuple[int, Params]:
        """Return a step and its averaged parameters; the rest of the state is not read.

        Args:
          step: one of `steps()`; None takes the newest that is whole.
          target: shapes and shardings, as for `resume`.

        Raises:
          Damaged: the checkpoint cannot be read, or not as this architecture's.
          UserError: what keeps it from being read is not its own fault.
        """

        def read(step: int) -> Params:
            return self._restore(step, {"ema_params": target.ema_params})["ema_params"]

        return self._newest_whole(read) if step is None else (step, read(step))

    def restore_averages(self, step: int, target: TrainState) -> tuple[Params, ...]:
        """Return the further averages that a step kept (`extra["averages"]`); the rest of the state is not read.

        Args:
          step: one of `steps()`.
          target: shapes and shardings, as for `resume`.

        Raises:
          Damaged: the checkpoint cannot be read, or not as this architecture's.
          UserError: what keeps it from being read is not its own fault.
        """
        wanted = {"extra": {"averages": target.extra["averages"]}}
        return tuple(self._restore(step, wanted)["extra"]["averages"])

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
            self._set_aside(step)
        distributed.log(
            f"warning: {fault}; moved to {self._name}/damaged/{step}, going on from the one before"
        )
        distributed.barrier(f"set {step} aside")
        self._manager.reload()

    def _set_aside(self, step: int) -> None:
        if self._store:
            self._store.set_aside(step)
        if not (self._store and self._store.orbax_writes):
            place = self._workdir / "damaged" / str(step)
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            (self._workdir / "checkpoints" / str(step)).rename(place)

    def _restore(self, step: int, wanted):
        if self._store:
            self._store.fetch(step)
        places = ocp.checkpoint_utils.construct_restore_args(wanted)
        state = ocp.args.PyTreeRestore(wanted, restore_args=places, partial_restore=True)
        where = self.place(step)
        try:
            written = self._manager.restore(step, args=ocp.args.Composite(checksums=ocp.args.JsonRestore()))
            written = written["checksums"]
            _check_format(where, written.pop("format", 1))
            if lacking := [name for name in leaf_names(wanted) if name not in written]:
                raise KeyError(lacking[0])
            found = self._manager.restore(step, args=ocp.args.Composite(state=state))
        except UserError:
            raise
        except Exception as fault:
            if refused := refusal(fault) or denied(self._workdir / "checkpoints" / str(step)):
                raise UserError(
                    where, f"cannot be read ({refused})", "it was left in place; solve that and start again"
                ) from fault
            raise Damaged(
                where,
                f"is damaged or holds another architecture than config.json says ({type(fault).__name__})",
                "move it away to use the one before, or restore its config.json",
            ) from fault
        wrong = [name for name, value in checksums(found["state"]).items() if written.get(name) != value]
        if wrong:
            raise Damaged(
                where,
                f"is damaged ({wrong[0]} is not what was written)",
                "move it away to use the one before",
            )
        return found["state"]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:
            if self._store:
                self._store.check_owner()  # another run that took over has removed what was being written
            if isinstance(fault, UserError):
                raise
            whole = ", ".join(map(str, self._on_disk())) or "none yet"
            raise UserError(
                f"{self._name}/checkpoints",
                f"cannot be written to ({cause(fault)})",
                f"the complete checkpoints there are intact ({whole}); solve this and start again",
            ) from fault

    def _on_disk(self) -> list[int]:
        """Return the steps that are whole; after a failed save orbax leaves out the one that was to make room."""
        if self._store and self._store.orbax_writes:
            return self.steps()
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal())

    def wait(self) -> None:
        """Return when everything that was started is written.

        Raises:
          UserError: it cannot be written.
        """
        with distributed.process_aborts(), self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for what is being written and let go of the folder."""
        self._manager.close()


def _address(workdir: Path, store: Store | None) -> epath.Path:
    """Return the place where orbax writes: the store itself where it can, else a folder of this machine."""
    if store and store.orbax_writes:
        return epath.Path(store.url)
    return LiteralPath(workdir.absolute())


def _check_format(where: str, found: object) -> None:
    if found != FORMAT:
        raise UserError(
            where, f"has format {found}, this version reads {FORMAT}", "use the version that wrote it"
        )


def _sums_on_disk(place: epath.Path, shapes: TrainState) -> dict[str, int]:
    """Return the sums of a written state, a group of arrays at a time so that little memory is needed."""
    handler, sums = ocp.PyTreeCheckpointHandler(), {}
    for field in dataclasses.fields(shapes):
        part = {field.name: getattr(shapes, field.name)}
        if not jax.tree.leaves(part):
            continue
        places = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), part)
        found = handler.restore(
            place, args=ocp.args.PyTreeRestore(part, restore_args=places, partial_restore=True)
        )
        arrays = map(np.asarray, jax.tree.leaves(found))
        sums |= dict(zip(leaf_names(part), (int(sum_of_array(x)) for x in arrays)))
    return sums


def abstract(state: TrainState, shardings: TrainState) -> TrainState:
    """Return shapes, dtypes and shardings of a state, as `Checkpoints.restore` takes them."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        jax.eval_shape(lambda: state),
        shardings,
    )
