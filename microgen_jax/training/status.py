"""Where a run stands, read from its folder while it trains or afterwards."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microgen_jax import files
from microgen_jax.errors import UserError
from microgen_jax.runtime import lock


@dataclass(frozen=True)
class TrainingStatus:
    """The progress of a run.

    Attributes:
      step: updates done, as logged.
      total: updates that the run is to do.
      running: whether a process trains it now.
      seconds_left: estimate from the logged speed, without held-out losses, samples and checkpoints; None where the
        speed is not known yet.
      checkpoint: step of the newest checkpoint; None where there is none.
      metrics: steps int64 [N] and values float64 [N] by name; NaN where a value was not finite.
    """

    step: int
    total: int
    running: bool
    seconds_left: float | None
    checkpoint: int | None
    metrics: dict[str, tuple[np.ndarray, np.ndarray]]


def training_status(workdir: str | Path) -> TrainingStatus:
    """Read the progress of a run from its folder; nothing is written or compiled.

    Args:
      workdir: folder of the run.

    Raises:
      UserError: the folder holds no run, or an address is given.
    """
    if "://" in str(workdir):
        raise UserError("workdir", f"{workdir} is an address", "give a folder of this machine")
    folder = Path(workdir).expanduser()
    try:
        config = files.read_json(folder / "config.json")["config"]
        total, batch_size = int(config["train"]["steps"]), int(config["train"]["batch_size"])
        batches = int(config["wgan"]["n_critic"]) if config["method"] == "wgan_gp" else 1
    except UserError as error:
        raise UserError(
            str(workdir), "holds no run (no config.json that can be read)", "train it first"
        ) from error
    except (KeyError, TypeError) as error:
        raise UserError(str(workdir), "its config.json is not one of this version's runs") from error

    points: dict[str, list[tuple[int, float]]] = {}
    for line in _lines(folder / "metrics.jsonl"):
        for name in line.keys() - {"step"}:
            points.setdefault(name, []).append((line["step"], math.nan if line[name] is None else line[name]))
    metrics = {
        name: (np.int64([s for s, _ in p]), np.float64([v for _, v in p])) for name, p in points.items()
    }
    saved = [int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdecimal()]
    step = max([*(int(steps[-1]) for steps, _ in metrics.values()), *saved], default=0)
    _, speeds = metrics.get("images_per_second", ((), np.zeros(0)))
    speed = float(np.median(speeds[-10:])) if len(speeds) else 0.0
    left = max(total - step, 0) * batch_size * batches / speed if speed > 0 else None
    return TrainingStatus(
        step, total, lock.is_held(folder), left if step < total else 0.0, max(saved, default=None), metrics
    )


def _lines(path: Path) -> Iterator[dict]:
    """Yield the whole lines of `metrics.jsonl`; the last one may just be being written."""
    for text in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line
