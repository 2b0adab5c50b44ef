"""`<workdir>/checkpoints/<step>/`, written in the background and whole or not at all; orbax's only room."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from microgen_jax.training.state import TrainState
from microgen_jax.types import Params, UserError

METRIC = "heldout_loss"


def _heldout_loss(metrics: dict[str, float]) -> float:
    return metrics[METRIC]


class Checkpoints:
    """The checkpoints of one work directory: the newest few, and the best by held-out loss.

    Args:
      workdir: the run's folder.
      keep: how many of the newest stay.
      read_only: only `restore` will be asked for; the folder is left as it is.
    """

    def __init__(self, workdir: Path, keep: int = 3, read_only: bool = False):
        self._workdir = workdir
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
            (workdir / "checkpoints").absolute(), options=options, item_names=("state",)
        )

    def newest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step of the checkpoint with the least held-out loss; the newest where none has one."""
        return self._manager.best_step() or self.newest()

    def steps(self) -> list[int]:
        """The steps that can be restored, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, heldout_loss: float | None) -> None:
        """Starts writing; the arrays may be donated as soon as this returns."""
        metrics = None if heldout_loss is None else {METRIC: heldout_loss}
        self._manager.save(
            step, args=ocp.args.Composite(state=ocp.args.PyTreeSave(state)), metrics=metrics, force=True
        )

    def restore(self, step: int, target: TrainState) -> TrainState:
        """The state of a step, laid out as `target` says.

        Args:
          step: one of `steps()`.
          target: `jax.ShapeDtypeStruct`s with shardings; any device topology will do.

        Raises:
          UserError: the checkpoint is damaged or holds arrays of another architecture.
        """
        return self._restore(step, target)

    def restore_ema(self, step: int, target: TrainState) -> Params:
        """The averaged parameters alone; the rest of the state is not read."""
        return self._restore(step, {"ema_params": target.ema_params})["ema_params"]

    def _restore(self, step: int, wanted):
        places = ocp.checkpoint_utils.construct_restore_args(wanted)
        item = ocp.args.PyTreeRestore(wanted, restore_args=places, partial_restore=True)
        try:
            return self._manager.restore(step, args=ocp.args.Composite(state=item))["state"]
        except (ValueError, KeyError, TypeError, OSError) as fault:
            raise UserError(
                f"{self._workdir}/checkpoints/{step} is damaged or holds another architecture than config.json says "
                f"({type(fault).__name__}); remove it to use the one before, or restore its config.json"
            ) from fault

    def wait(self) -> None:
        """Returns when everything that was started is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def abstract(state: TrainState, shardings: TrainState) -> TrainState:
    """Shapes, dtypes and places of a state, as `Checkpoints.restore` wants them."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        jax.eval_shape(lambda: state),
        shardings,
    )
