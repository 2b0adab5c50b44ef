"""Metrics to `metrics.jsonl` and TensorBoard, images to `progress/`."""

import json
import os
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from microgen_jax import files
from microgen_jax.images import gif, grid, png, read
from microgen_jax.training.curves import plot


def cut_back(path: Path, step: int) -> None:
    """Drop the lines of `metrics.jsonl` that are younger than a step, and those that are cut off or garbled.

    Args:
      path: path of the file; nothing happens where there is none.
      step: step to go back to.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            young = json.loads(line)["step"] > step
        except (ValueError, KeyError, TypeError):
            continue
        if not young:
            kept.append(line + "\n")
    files.write_bytes(path, "".join(kept).encode())


class Writer:
    """The logs of a run, written by process 0.

    Args:
      workdir: folder of the run.
      step: step of the checkpoint that the run goes on from; younger lines are dropped.
      active: False for processes other than process 0: they write nothing.
    """

    def __init__(self, workdir: Path, step: int, active: bool = True):
        self._workdir, self._active = workdir, active
        if not active:
            return
        cut_back(workdir / "metrics.jsonl", step)
        self._lines = open(workdir / "metrics.jsonl", "a")  # noqa: SIM115
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write a line and a TensorBoard point a name; a value that is not finite is written as null.

        Args:
          step: number of updates done.
          values: values by name.
        """
        if not self._active:
            return
        finite = {k: v if np.isfinite(v) else None for k, v in values.items()}
        self._lines.write(json.dumps({"step": step, **finite}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def images(self, step: int, images: np.ndarray) -> None:
        """Write a grid of images as `progress/step_00001000.png`.

        Args:
          step: number of updates done.
          images: samples, uint8 [N, H, W, C].
        """
        if not self._active:
            return
        sheet = grid(images)
        files.write_bytes(self._grid(step), png(sheet))
        self._board.add_image("progress", sheet, step, dataformats="HWC")

    def has_scalar(self, step: int, name: str) -> bool:
        """Return whether `metrics.jsonl` holds a value of a step.

        Args:
          step: number of updates done.
          name: name of the value.
        """
        return any(line["step"] == step and name in line for line in self._written())

    def has_images(self, step: int) -> bool:
        """Return whether the grid of a step is there.

        Args:
          step: number of updates done.
        """
        return self._grid(step).exists()

    def _grid(self, step: int) -> Path:
        return self._workdir / "progress" / f"step_{step:08d}.png"

    def _written(self) -> list[dict]:
        path = self._workdir / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def animation(self) -> None:
        """Write all the grids so far as `progress/progress.gif`."""
        if not self._active:
            return
        grids = [read(path) for path in sorted((self._workdir / "progress").glob("step_*.png"))]
        if grids:
            files.write_bytes(self._workdir / "progress" / "progress.gif", gif(grids))

    def curves(self, panels: tuple[tuple[str, ...], ...]) -> None:
        """Write `metrics.jsonl` as `curves.png`.

        Args:
          panels: names of the metrics of each panel.
        """
        if not self._active:
            return
        if image := plot(self._written(), panels):
            files.write_bytes(self._workdir / "curves.png", image)

    def close(self) -> None:
        """Write what is left to disk and close the logs."""
        if self._active:
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._lines.close()
            self._board.close()
