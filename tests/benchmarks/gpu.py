"""Everything that waits for a GPU, in order of worth, within the minutes that a machine is lent for.

    python -m tests.benchmarks gpu --part speed --out results --minutes 8
    python -m tests.benchmarks gpu --part speed --out more --minutes 8 --stages feed first_step remat xla
    python -m tests.benchmarks gpu --part train --out trained --minutes 8 --data maps/copper_strain \
        --runs ipf128_copper ipf128_polycrystals

Every stage is a process of its own with a time of its own, and ends with it; what it has found until then is kept. A
stage that fails is reported with the end of what it printed, and the next one goes on. After each stage PART.json
and PART.txt in the folder `--out` are written anew, so that they are there whatever ends this command.

`--part speed` compares with PyTorch and diffusers (`--torch`, this Python unless told otherwise), `--part train` is
described in gpu_train.py. `--rehearse` takes tiny networks and a few seconds, on whatever device there is.
"""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import remat, speed
from tests.benchmarks.speed import ROOT

LAST_LINES = 40
SHARE = re.compile(r"(convolutions|products|the rest) .*%")  # of step_profile
GRACE = 30.0  # seconds to save and leave
MACHINE = """
import importlib.metadata as m, os, jax
for name in ("jax", "flax", "optax", "numpy", "torch", "diffusers"):
    try: print(name, m.version(name))
    except m.PackageNotFoundError: print(name, "missing")
print("devices", jax.devices(), "cores", os.cpu_count())
os.system("nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm --format=csv,noheader")
"""


class Stage(NamedTuple):
    """One process.

    Attributes:
      name: of the stage.
      line: the command line.
      seconds: that it gets at most, where the caller sets no other end.
      rows: the JSON file that it writes, or None.
      environment: what differs from this process's.
    """

    name: str
    line: list[str]
    seconds: float = math.inf
    rows: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()


def finish(stage: Stage, seconds: float, log: Path) -> dict:
    """Runs a stage, with its children, for so many seconds at most.

    Returns:
      status (`done`, `stopped after its time`, `failed with N`, `no time left`), seconds, the last lines it printed,
      and the rows that it left.
    """
    if seconds <= 0:
        return {"status": "no time left", "seconds": 0.0, "lines": [], "rows": []}
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            stage.line,
            cwd=ROOT,
            env=os.environ | dict(stage.environment),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
            status = f"failed with {code}" if code else "done"
        except subprocess.TimeoutExpired:
            stop(process)
            status = "stopped after its time"
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    return {
        "status": status,
        "seconds": time.monotonic() - began,
        "lines": lines,
        "rows": rows_of(stage.rows),
    }


def stop(process: subprocess.Popen) -> None:
    """Asks a process and its children to save and leave, and ends what is left."""
    for wish in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, wish)
            process.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def rows_of(place: Path | None) -> list | dict:
    """What a stage wrote; nothing where it was ended in the middle of it."""
    try:
        return json.loads(place.read_text()) if place else []
    except (OSError, ValueError):
        return []


def write(folder: Path, part: str, outcomes: dict[str, dict], summary: list[str]) -> None:
    """PART.json and PART.txt, anew."""
    (folder / f"{part}.json").write_text(json.dumps({"stages": outcomes, "summary": summary}, indent=1))
    text = [
        line
        for name, own in outcomes.items()
        for line in (f"== {name}: {own['status']}, {own['seconds']:.0f} s", *own["lines"])
    ]
    (folder / f"{part}.txt").write_text("\n".join([*text, "== summary", *summary]) + "\n")


def tell(name: str, outcome: dict) -> None:
    print(f"== {name}: {outcome['status']}, {outcome['seconds']:.0f} s", flush=True)
    if outcome["status"] != "done":
        print("\n".join(outcome["lines"][-12:]), flush=True)


def speed_stages(scratch: Path, torch: str, rehearse: bool) -> list[Stage]:
    """In order of worth."""
    network, batches = ("tiny", (2, 2, 4, 4)) if rehearse else ("ipf128", (16, 64, 128, 256))
    few, usual, more, most = batches

    def timed(name: str, seconds: float, batch: int, tasks: str, *other: str) -> Stage:
        rows = scratch / f"{name}.json"
        case = ["--cases", f"{network}, batch {batch}", "--tasks", *tasks.split()]
        line = [sys.executable, "-m", "tests.benchmarks.speed", *case, "--out", str(rows), *other]
        return Stage(name, line, seconds, rows)

    both = ["--torch", torch, "--together", "--variants", "eager" if rehearse else "compile"]
    usual_case = ["--case", f"{network}, batch {usual}"]
    profile = [sys.executable, "-m", "tests.benchmarks.step_profile", *usual_case, "--out"]
    levels = [sys.executable, "-m", "tests.benchmarks.remat", *usual_case, "--choices", "none", "0", "all"]
    table = scratch / "remat.json"
    variants = ["O3"] if rehearse else ["O3", "no_command_buffer", "conv_fusion"]
    plain = (("XLA_FLAGS", "--xla_gpu_enable_command_buffer="),)  # so that every operation is in the trace
    rounds = ["--rounds", "1" if rehearse else "3"]
    return [
        Stage("machine", [sys.executable, "-c", MACHINE], 60),
        timed("usual", 240, usual, "train ddim50", *both, *rounds),
        timed("sampling", 220, few, "ddim50 ancestral1000", *both, "--rounds", "1" if rehearse else "2"),
        timed("more", 150, more, "train", *both, *rounds),
        Stage("profile", [*profile, str(scratch / "profile")], 110, environment=plain),
        timed("feed", 60, usual, "feed feed_uint8 feed_batch", *both, *rounds),
        timed("first_step", 240, few, "first_step", *both, "--rounds", "1"),
        Stage("remat", [*levels, "--out", str(table)], 240, table),
        timed("most", 150, most, "train", *both, *rounds),
        timed("xla", 300, usual, "train", "--xla", *variants, *rounds),
    ]


def speed_summary(outcomes: dict[str, dict]) -> list[str]:
    lines: list[str] = []
    beside: list[dict] = []
    for name, own in outcomes.items():
        if name == "remat":
            lines += map(remat.line_of, own["rows"])
        elif name == "profile":
            lines += (line for line in own["lines"] if SHARE.match(line))
        else:
            lines += map(speed.line_of, own["rows"])
            beside += (row for row in own["rows"] if row["best"])
    return lines + speed.best_batches(beside)


def measure_speed(asked: argparse.Namespace, folder: Path, scratch: Path, deadline: float) -> None:
    stages = {stage.name: stage for stage in speed_stages(scratch, asked.torch, asked.rehearse)}
    if unknown := set(asked.stages) - set(stages):
        raise SystemExit(f"no such stage: {', '.join(unknown)}; there are: {', '.join(stages)}")
    outcomes: dict[str, dict] = {}
    for stage in [stages[name] for name in asked.stages or stages]:
        seconds = min(stage.seconds, deadline - time.monotonic())
        outcomes[stage.name] = finish(stage, seconds, scratch / f"{stage.name}.log")
        tell(stage.name, outcomes[stage.name])
        write(folder, "speed", outcomes, speed_summary(outcomes))
    print("== summary", *speed_summary(outcomes), sep="\n")


def main() -> None:
    from tests.benchmarks.gpu_train import RUNS, train_all

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("speed", "train"), required=True)
    parser.add_argument("--out", required=True, help="folder for what is found")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch and diffusers")
    parser.add_argument("--stages", nargs="*", default=[], help="of the speed, those wanted; all of them")
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=RUNS, help="of the training")
    parser.add_argument("--data", default="", help="folder of the copper_strain maps")
    parser.add_argument("--rehearse", action="store_true", help="tiny networks, seconds")
    asked = parser.parse_args()
    deadline = time.monotonic() + 60 * asked.minutes
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(scratch / "compiled"))
        part = measure_speed if asked.part == "speed" else train_all
        part(asked, folder, scratch, deadline)


if __name__ == "__main__":
    main()
