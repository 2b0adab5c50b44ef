"""What `model.remat` saves and costs: seconds a step and temporaries, for no level, each level alone, and all.

    python -m tests.benchmarks remat --case '128 px, batch 4' --out remat.json

Each choice of levels runs in a process of its own, with a training step on one device: median seconds of some calls,
the bytes of temporaries as XLA plans them (`memory_analysis()`), the peak of the device's memory (of the process's on
the CPU, compiling included) and seconds to compile.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.speed import CASES, ROOT


def choices(levels: int) -> list[str]:
    return ["none", *map(str, range(levels)), "all"]


def chosen(choice: str, levels: int) -> tuple[bool, ...]:
    """`model.remat` of a choice: none, all, or the number of a level, 0 the largest images."""
    return tuple(choice == "all" or choice == str(level) for level in range(levels))


def measure(case: str, choice: str, calls: int) -> dict[str, float | str]:
    from microgen_jax.runtime import compile_cache
    from tests.benchmarks.growth import training_step
    from tests.benchmarks.speed_jax import build, jax_memory

    compile_cache.keep_memory()
    network, size, batch_size = CASES[case]
    method = build(network, size, remat=chosen(choice, len(network["channels"])))
    began = time.perf_counter()
    once, temporaries = training_step(method, size, batch_size, devices=1)
    once()
    compiled, seconds = time.perf_counter() - began, []
    for _ in range(calls):
        began = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - began)
    return {
        "case": case,
        "remat": choice,
        "seconds": median(seconds),
        "images_per_second": batch_size / median(seconds),
        "temporaries_mib": temporaries / 2**20,
        "peak_mib": jax_memory() / 2**20,
        "compile_seconds": compiled,
    }


def run(case: str, choice: str, calls: int) -> dict[str, float | str]:
    line = [sys.executable, "-m", "tests.benchmarks.remat", "--case", case, "--serve", choice]
    done = subprocess.run([*line, "--calls", str(calls)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{case}, remat {choice} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def line_of(row: dict[str, float | str]) -> str:
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="128 px, batch 4", choices=CASES)
    parser.add_argument("--choices", nargs="*", default=[], help="none, all, numbers of levels; all of them")
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--out", default="")
    parser.add_argument("--serve", default="", help="measure one choice (used by the command itself)")
    asked = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if asked.serve:
        print(json.dumps(measure(asked.case, asked.serve, asked.calls)))
        return
    rows = []
    for choice in asked.choices or choices(len(CASES[asked.case][0]["channels"])):
        rows.append(run(asked.case, choice, asked.calls))
        print(line_of(rows[-1]), flush=True)
        if asked.out:
            Path(asked.out).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
