"""Kills runs at random moments, starts them again until they end, and compares the bits.

    python -m tests.benchmarks.killing --kills=50 --writes=15 --terms=20

Every run is compared with one that nobody disturbed: parameters, averages and optimizer state, bit by bit. With
--writes, that many of the kills happen while a checkpoint is being written. A run that gets SIGTERM must save and
leave with status 0, and the state must be written within 10 s of the step's end, by the run's own line; that and the
seconds from the signal to the end of the process are printed.
"""

import argparse
import random
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from microgen_jax.training.state import TrainState
from tests.command_line import ENVIRONMENT, ROOT, TINY, command
from tests.commands.stored import same_bits, state

STEPS = 16
LONGEST = 10.0  # seconds from the end of a step to its checkpoint
_SAVED = re.compile(r"SIGTERM: stopped after step \d+, saved as checkpoints/\d+ in (\d+\.\d) s")
FLAGS = {
    "config.train.steps": STEPS,
    "config.train.checkpoint_every": 2,
    "config.model.dropout": 0.1,
    "config.sample.steps": 3,
}


class Outcome(NamedTuple):
    """What became of one disturbed run.

    Attributes:
      what: how it was disturbed.
      at: the newest whole checkpoint when it was; 0 = none.
      identical: the end is that of the undisturbed run.
      seconds: from the signal to the end of the process.
      saving: seconds from the end of the step after SIGTERM to its checkpoint; 0 where the run had ended before.
    """

    what: str
    at: int
    identical: bool
    seconds: float
    saving: float


def start(workdir: Path) -> subprocess.Popen:
    line = command(**{**TINY, **{k: str(v) for k, v in FLAGS.items()}, "workdir": str(workdir)})
    with open(workdir.with_suffix(".log"), "a") as log:
        return subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log)


def finish(workdir: Path) -> None:
    process = start(workdir)
    if process.wait():
        raise SystemExit(f"status {process.returncode}:\n{workdir.with_suffix('.log').read_text()[-2000:]}")


def newest(workdir: Path) -> int:
    names = [p.name for p in (workdir / "checkpoints").glob("*")] if workdir.exists() else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


def wait_for_write(process: subprocess.Popen, workdir: Path, after: int) -> None:
    """Returns while a checkpoint younger than step `after` is being written, or when the run has ended."""
    while process.poll() is None:
        writing = list((workdir / "checkpoints").glob("*tmp*")) if workdir.exists() else []
        if newest(workdir) >= after and writing:
            return
        time.sleep(0.0005)


def disturb(
    workdir: Path,
    wanted: TrainState,
    number: signal.Signals,
    duration: float,
    chance: random.Random,
    write: bool,
) -> Outcome:
    """Starts a run, sends it a signal at a random moment or while it writes, and lets it go on to the end."""
    process = start(workdir)
    if write:
        wait_for_write(process, workdir, chance.randrange(0, STEPS - 4))
    elif number is signal.SIGTERM:
        least = chance.randrange(2, STEPS - 4)
        while newest(workdir) < least and process.poll() is None:
            time.sleep(0.01)
    else:
        time.sleep(chance.uniform(0, duration))
    at, sent = newest(workdir), time.monotonic()
    process.send_signal(number)
    process.wait()
    seconds = time.monotonic() - sent
    if number is signal.SIGTERM and process.returncode:
        raise SystemExit(f"SIGTERM ended with status {process.returncode}")
    saved = _SAVED.search(workdir.with_suffix(".log").read_text())
    finish(workdir)
    identical = same_bits(state(workdir, STEPS), wanted)
    return Outcome(
        "write" if write else number.name, at, identical, seconds, float(saved[1]) if saved else 0.0
    )


def killing(kills: int, writes: int, terms: int, seed: int) -> list[Outcome]:
    """Runs them all, one after the other."""
    chance, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed"
        finish(undisturbed)
        began = time.monotonic()
        finish(Path(folder) / "timed")
        duration, wanted = time.monotonic() - began, state(undisturbed, STEPS)
        plan = [(signal.SIGKILL, k < writes) for k in range(kills)] + [(signal.SIGTERM, False)] * terms
        for k, (number, write) in enumerate(plan):
            outcomes.append(disturb(Path(folder) / f"run{k}", wanted, number, duration, chance, write))
            print(f"{k + 1}/{len(plan)} {outcomes[-1]}", flush=True)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writes", type=int, default=15, help="how many of the kills happen during a write")
    parser.add_argument("--terms", type=int, default=20, help="runs that get SIGTERM")
    parser.add_argument("--seed", type=int, default=0)
    outcomes = killing(**vars(parser.parse_args()))
    same = sum(outcome.identical for outcome in outcomes)
    slowest = max((o.seconds for o in outcomes if o.what == "SIGTERM"), default=0.0)
    saving = max((o.saving for o in outcomes), default=0.0)
    print(
        f"{same} of {len(outcomes)} ended with the undisturbed run's bits; slowest SIGTERM {slowest:.1f} s, "
        f"of these {saving:.1f} s from the step's end to its checkpoint"
    )
    raise SystemExit(same < len(outcomes) or saving > LONGEST)


if __name__ == "__main__":
    main()
