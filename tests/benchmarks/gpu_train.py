"""The training part of `gpu.py`: models trained for the minutes there are, then drawn from and judged.

Each run gets an equal share of the time: `main.py` trains, with a constant learning rate and an average of the weights,
until its minutes are over and it is asked to stop and save; then it draws. A run whose learning rate has an end
(conditions32) first shows its speed in a short run, then is given as many steps as fit, and draws when it is judged.
The evaluations come last, side by side on the processor, when nothing is timed any more. In the folder `--out`:
NAME_grid.png, and train.json with images a second, the share of time waiting for data, and the metrics of every run.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.gpu import GRACE, Stage, finish, tell, write

JUDGED = 0.3  # share of the time for the evaluations
DRAWN = 0.2  # share of a run's own time for drawing
TRIED = 1000  # steps of the short run
MARGIN = 0.85  # of the time that is left, for what is counted out by it
Flags = dict[str, object]
IPF: Flags = {
    "train.steps": 10_000_000,
    "train.lr_schedule": "constant",
    "train.warmup_steps": 200,
    "train.ema_decay": 0.999,
    "train.log_every": 50,
    "train.sample_every": 0,
    "train.eval_every": 0,
    "train.checkpoint_every": 1_000_000,
    "data.workers": 12,
}
LARGE = IPF | {"train.batch_size": 64}
SMALL = IPF | {"train.batch_size": 128}
COPPER = {
    "data.filename_pattern": r"(?:(?P<series>Cu\dQ\d)_)?(?P<step>\d+)\.png$",
    "data.split_by": "series",
    "data.window": "grid",
}
GRAINS = {"data.count": 5000}  # as many as are kept in memory
TINY = {
    "data.size": "(16,16)",
    "data.workers": 2,
    "model.channels": "(8,16)",
    "model.attention_levels": "(False,True)",
    "model.remat": "(False,False)",
    "model.head_dim": 8,
    "model.norm_groups": 4,
    "model.dtype": "float32",
    "train.batch_size": 8,
    "train.log_every": 10,
}


class Run(NamedTuple):
    """A config and what is changed in it; `sized`: steps are counted out beforehand."""

    config: str
    flags: Flags
    sized: bool = False


RUNS = {
    "ipf128_copper": Run("ipf128", LARGE | COPPER),
    "ipf128_polycrystals": Run("ipf128", LARGE | GRAINS),
    "ipf64_polycrystals": Run("ipf64", SMALL | GRAINS),
    "ipf64_copper": Run("ipf64", SMALL | COPPER),
    "conditions32": Run(
        "conditions32", {"train.log_every": 50, "train.checkpoint_every": 1_000_000}, sized=True
    ),
}


def steps_that_fit(seconds: float, rate: float, batch_size: int, least: int = 50) -> int:
    """Updates of so many images in the seconds, at a rate of images a second; a multiple of fifty."""
    return max(least, int(seconds * rate / batch_size) // 50 * 50)


def speed_of(workdir: Path) -> dict[str, float]:
    """Medians of images a second and waiting over the second half of a run's reports, and its first step."""
    place = workdir / "metrics.jsonl"
    rows = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
    told = [row for row in rows if "images_per_second" in row]
    late = told[len(told) // 2 :]
    found = {name: median(row[name] for row in late) for name in ("images_per_second", "data_wait") if late}
    first = [row["first_step_seconds"] for row in rows if "first_step_seconds" in row]
    return found | {"first_step_seconds": first[0] if first else 0.0, "step": rows[-1]["step"] if rows else 0}


def main_line(mode: str, workdir: Path, flags: Flags, config: str = "") -> list[str]:
    named = [f"--config=configs/{config}.py"] if config else []
    changed = [f"--config.{name}={value}" for name, value in flags.items()]
    return [sys.executable, "main.py", f"--mode={mode}", f"--workdir={workdir}", *named, *changed]


def flags_of(name: str, data: str, rehearse: bool) -> Flags:
    flags = dict(RUNS[name].flags)
    if "copper" in name:
        flags["data.root"] = data
    if rehearse:
        flags |= TINY | ({"data.size": "(32,32)"} if RUNS[name].sized else {})  # which grains are measured at
    return flags


def train_all(asked: argparse.Namespace, folder: Path, scratch: Path, deadline: float) -> None:
    outcomes: dict[str, dict] = {}
    judging = deadline - JUDGED * (deadline - time.monotonic())

    def do(stage: Stage, until: float, told: Path | None = None) -> dict:
        outcome = finish(stage, until - time.monotonic(), scratch / "log")
        if told:
            outcome["rows"] = [speed_of(told)]
        outcomes[stage.name] = outcome
        tell(stage.name, outcome)
        write(folder, "train", outcomes, summary(outcomes))
        return outcome

    for number, name in enumerate(asked.runs):
        if "copper" in name and not asked.data:
            print(f"{name}: left out, --data names no folder")
            continue
        share = (judging - time.monotonic()) / (len(asked.runs) - number)
        workdir = scratch / name
        train_one(name, workdir, asked, time.monotonic() + share, do)
        if (grid := workdir / "samples" / "default" / "grid.png").exists():
            shutil.copy(grid, folder / f"{name}_grid.png")
    stages = [judge(name, scratch / name, asked) for name in asked.runs if (scratch / name).exists()]
    with ThreadPoolExecutor(max(1, len(stages))) as pool:
        left = deadline - time.monotonic()
        judged = pool.map(lambda stage: finish(stage, left, scratch / f"{stage.name}.log"), stages)
        for stage, outcome in zip(stages, judged):
            outcomes[stage.name] = outcome
            tell(stage.name, outcome)
            write(folder, "train", outcomes, summary(outcomes))
    print("== summary", *summary(outcomes), sep="\n")


def train_one(name: str, workdir: Path, asked: argparse.Namespace, until: float, do: Callable) -> None:
    """Trains and draws; `do(stage, until, told)` carries a stage out."""
    run, flags = RUNS[name], flags_of(name, asked.data, asked.rehearse)
    stop = until if run.sized else until - DRAWN * (until - time.monotonic())
    if run.sized:
        tried, trial = 20 if asked.rehearse else TRIED, workdir.with_name(f"{name}_tried")
        line = main_line("train", trial, flags | {"train.steps": tried}, run.config)
        short = do(Stage(f"{name}, short run", line), stop, trial)
        left = stop - time.monotonic() - short["seconds"]
        rate = short["rows"][0].get("images_per_second", 0.0)
        number = tried + steps_that_fit(MARGIN * left, rate, flags.get("train.batch_size", 32))
        flags |= {"train.steps": number, "train.schedule_steps": number}
    do(Stage(f"{name}, training", main_line("train", workdir, flags, run.config)), stop, workdir)
    if not run.sized:
        num, batch_size, steps = (8, 4, 3) if asked.rehearse else (256, 64, 250)
        drawing = {"sample.num": num, "sample.batch_size": batch_size, "sample.steps": steps}
        do(Stage(f"{name}, drawing", main_line("sample", workdir, drawing)), until + GRACE)


def judge(name: str, workdir: Path, asked: argparse.Namespace) -> Stage:
    """The evaluation of a run's images; of conditions32, which draws more, on the GPU."""
    if RUNS[name].sized:
        place, images = workdir / "conditioning_accuracy.json", "2" if asked.rehearse else "64"
        line = [
            sys.executable,
            "-m",
            "tests.benchmarks.conditioning_accuracy",
            str(workdir),
            str(place),
            images,
        ]
        return Stage(f"{name}, judged", line, rows=place)
    num, searched = (8, 50) if asked.rehearse else (256, 2000)
    flags = {"evaluate.generated": "default", "evaluate.num": num, "evaluate.copy_search_num": searched}
    place = workdir / "evaluation" / "metrics.json"
    line = main_line("evaluate", workdir, flags)
    return Stage(f"{name}, judged", line, rows=place, environment=(("JAX_PLATFORMS", "cpu"),))


def summary(outcomes: dict[str, dict]) -> list[str]:
    lines = []
    for name, own in outcomes.items():
        rows = own["rows"]
        if isinstance(rows, dict) and "metrics" in rows:
            found = {n: m for n, m in rows["metrics"].items() if m["value"] is not None}
            lines += (f"{name}: {n} {m['value']:.4g}, ratio {m.get('ratio')}" for n, m in found.items())
        elif isinstance(rows, dict):
            lines += (
                f"{name}: guidance {r['guidance']}, {r['condition']}: R^2 {r['r2']:.3f}" for r in rows["rows"]
            )
        elif rows:
            told = (f"{n} {v:.4g}" for n, v in rows[0].items())
            lines.append(f"{name}: {', '.join(told)}")
    return lines
