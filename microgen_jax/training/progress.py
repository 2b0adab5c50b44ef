"""What a person sees while a run trains: a bar with the time left on a terminal, plain lines elsewhere."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SHOWN = (
    *("loss", "critic_loss", "generator_loss", "wasserstein"),
    *("heldout_loss", "heldout_wasserstein", "diversity", "quality"),
    *("learning_rate", "grad_norm", "images_per_second", "first_step_seconds"),
)


class Progress:
    """A context that shows where training stands.

    Args:
      step: number of the update that it starts after.
      total: number of the last update.
      active: whether this process prints.
    """

    def __init__(self, step: int, total: int, active: bool = True):
        self._total, self._active = total, active
        console = Console(highlight=False)
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (active and console.is_terminal),
        )
        self._task = self._bar.add_task("training", total=total, completed=step, note="")

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar to update `step`."""
        self._bar.update(self._task, completed=step)

    def report(self, step: int, values: dict[str, float]) -> None:
        """Show values beside the bar, or as a line of their own where there is no bar.

        Args:
          step: number of the update.
          values: metrics by name.
        """
        note = "  ".join(f"{name} {values[name]:.4g}" for name in _SHOWN if name in values)
        self._bar.update(self._task, note=note)
        if self._active and self._bar.disable:
            print(f"step {step}/{self._total}  {note}", flush=True)
