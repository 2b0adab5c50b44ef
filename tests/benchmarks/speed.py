"""Speed beside PyTorch: the same UNet, batch and optimizer, in two processes that take turns.

    python -m tests.benchmarks.speed --torch=path/of/python --out=speed.json

`--torch` is a Python with torch and diffusers (`pip install -e '.[bench]'` in an environment of its own). Every round
runs every variant once, one after the other, so that what else the machine does falls on all of them alike. The
table gives medians over the rounds, the smallest and the largest, and the ratio to the fastest PyTorch variant
(above 1: faster than PyTorch). Without `--torch` only the JAX side runs.
"""

import argparse
import json
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"channels": (64, 128, 128), "blocks": 2, "head_dim": 64, "groups": 32}
CASES = {"32 px, batch 16": (32, 16), "128 px, batch 4": (128, 4)}
TASKS = ("train", "forward", "ddim50")
CALLS = {"train": 2, "forward": 4, "ddim50": 1}


def _method(size: int):
    from microgen_jax import methods

    config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()
    levels = len(NETWORK["channels"])
    config.data.size = (size, size)
    config.model.update(
        channels=NETWORK["channels"],
        blocks_per_level=NETWORK["blocks"],
        attention_levels=(False,) * (levels - 1) + (True,),
        head_dim=NETWORK["head_dim"],
        norm_groups=NETWORK["groups"],
        remat=(False,) * levels,
        dtype="float32",
        dropout=0.0,
    )
    config.sample.update(sampler="ddim", steps=50)
    return methods.build(config, channels=3, num_classes=0, num_conditions=0)


def jax_rounds(size: int, batch_size: int) -> dict[str, Callable[[], None]]:
    """`{task: one round}`, compiled and warmed up."""
    import jax
    import jax.numpy as jnp

    from microgen_jax.training import compilation
    from microgen_jax.types import Batch, Condition

    compilation.keep_memory()
    compilation.use_compile_cache()
    method = _method(size)
    state = jax.jit(method.init)(jax.random.key(0))
    labels, values = jnp.zeros(batch_size, jnp.int32), jnp.zeros((batch_size, 0))
    image = jax.random.uniform(jax.random.key(1), (batch_size, size, size, 3), minval=-1.0)
    batch, cond = Batch(image, labels, values), Condition(labels, values)
    step = jax.jit(method.train_step, donate_argnums=0)
    draw = jax.jit(method.generate)
    forward = jax.jit(lambda params: method.denoiser(params)(image, jnp.full(batch_size, 500), cond))
    keys = jax.random.split(jax.random.key(2), batch_size)

    def train() -> None:
        nonlocal state
        state, metrics = step(state, batch, jax.random.key(3))
        jax.block_until_ready(metrics)

    return {
        "train": train,
        "forward": lambda: jax.block_until_ready(forward(state.ema_params)),
        "ddim50": lambda: jax.block_until_ready(draw(state.ema_params, keys, cond)),
    }


def serve(rounds: dict[str, Callable[[], None]]) -> None:
    """Answers every line with a task's name by the seconds of one call."""
    for task in TASKS:
        rounds[task]()
    print("ready", flush=True)
    for line in sys.stdin:
        task = line.strip()
        began = time.perf_counter()
        for _ in range(CALLS[task]):
            rounds[task]()
        print((time.perf_counter() - began) / CALLS[task], flush=True)


class Worker:
    """A process that serves one variant of one case."""

    def __init__(self, line: list[str]):
        self._process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        began = time.perf_counter()
        self._expect("ready")
        self.start_seconds = time.perf_counter() - began

    def _expect(self, word: str) -> None:
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise SystemExit(f"{' '.join(self._process.args)} ended with {self._process.wait()}")

    def seconds(self, task: str) -> float:
        print(task, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def compare(case: str, rounds: int, torch: str, variants: list[str]) -> list[dict]:
    """Rows: a task each."""
    size, batch_size = CASES[case]
    here = [sys.executable, "-m", "tests.benchmarks.speed", "--serve", str(size), str(batch_size)]
    lines = {"jax": here}
    if torch:
        there = [torch, "-m", "tests.benchmarks.speed_torch"]
        lines |= {v: [*there, v, json.dumps(NETWORK), str(size), str(batch_size)] for v in variants}
    workers = {name: Worker(line) for name, line in lines.items()}
    rows = []
    for task in TASKS:
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.seconds(task))
        best = min((name for name in workers if name != "jax"), key=lambda n: median(seconds[n]), default="")
        row = {"case": case, "task": task, "seconds": seconds, "best": best}
        if best:
            row["ratio"] = median(seconds[best]) / median(seconds["jax"])
        rows.append(row)
        spread = {n: f"{median(s):.3f} [{min(s):.3f}, {max(s):.3f}]" for n, s in seconds.items()}
        print(f"{case}  {task:8s} {spread}  ratio {row.get('ratio', float('nan')):.2f} to {best}", flush=True)
    for worker in workers.values():
        worker.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", help="a Python that has torch and diffusers")
    parser.add_argument("--variants", nargs="*", default=["eager", "channels_last"])
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="")
    parser.add_argument("--serve", type=int, nargs=2, help="serve one case (used by the command itself)")
    asked = parser.parse_args()
    if asked.serve:
        serve(jax_rounds(*asked.serve))
        return
    rows = [row for case in asked.cases for row in compare(case, asked.rounds, asked.torch, asked.variants)]
    if asked.out:
        Path(asked.out).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
