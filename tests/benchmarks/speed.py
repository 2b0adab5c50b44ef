"""Speed beside PyTorch: the same UNet, batch and optimizer, in two processes that take turns.

    python -m tests.benchmarks.speed --torch=path/of/python --out=speed.json

`--torch` is a Python with torch and diffusers (`pip install -e '.[bench]'` in an environment of its own). Every round
runs every variant once, one after the other, so that what else the machine does falls on all of them alike. The
table gives medians over the rounds, the smallest and the largest, the ratio to the fastest PyTorch variant (above 1:
faster than PyTorch), and the share that the network's own products and convolutions, counted once in their plain
form, have of what a matrix product of 2048 reaches here. Without `--torch` only the JAX side runs.

The ratios of the last accepted run are in accepted_speed.json; the end of the output says which moved by more than a
tenth. `--accept` stores the new ones.
"""

import argparse
import json
import resource
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"channels": (64, 128, 128), "blocks": 2, "head_dim": 64, "groups": 32}
CASES = {"32 px, batch 16": (32, 16), "128 px, batch 4": (128, 4)}
TASKS = ("train", "forward", "ddim50")
CALLS = {"train": 2, "forward": 4, "ddim50": 1, "ancestral1000": 1, "product": 4}
WORK = {"train": 3, "forward": 1, "ddim50": 50, "ancestral1000": 1000}  # in forward passes
ACCEPTED = Path(__file__).with_name("accepted_speed.json")


def _method(size: int, sampler: str = "ddim", steps: int = 50):
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
    config.sample.update(sampler=sampler, steps=steps)
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
    jit = partial(jax.jit, compiler_options=compilation.options((size, size)))
    step = jit(method.train_step, donate_argnums=0)
    ddim, ancestral = jit(method.generate), jit(_method(size, "ancestral", 1000).generate)
    product, square = jit(jnp.matmul), jnp.ones((2048, 2048))
    forward = jit(lambda params: method.denoiser(params)(image, jnp.full(batch_size, 500), cond))
    keys = jax.random.split(jax.random.key(2), batch_size)

    def train() -> None:
        nonlocal state
        state, metrics = step(state, batch, jax.random.key(3))
        jax.block_until_ready(metrics)

    return {
        "train": train,
        "forward": lambda: jax.block_until_ready(forward(state.ema_params)),
        "ddim50": lambda: jax.block_until_ready(ddim(state.ema_params, keys, cond)),
        "ancestral1000": lambda: jax.block_until_ready(ancestral(state.ema_params, keys, cond)),
        "product": lambda: jax.block_until_ready(product(square, square)),
    }


def serve(rounds: dict[str, Callable[[], None]]) -> None:
    """Answers a task's name by the seconds of one call, the first one apart; `memory` by the peak so far, in MiB."""
    print("ready", flush=True)
    started = set()
    for line in sys.stdin:
        task = line.strip()
        if task == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
            continue
        calls = CALLS[task] if task in started else 1
        started.add(task)
        began = time.perf_counter()
        for _ in range(calls):
            rounds[task]()
        print((time.perf_counter() - began) / calls, flush=True)


class Worker:
    """A process that serves one variant of one case."""

    def __init__(self, line: list[str]):
        self._process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._expect("ready")

    def _expect(self, word: str) -> None:
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise SystemExit(f"{' '.join(self._process.args)} ended with {self._process.wait()}")

    def ask(self, task: str) -> float:
        print(task, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def forward_flops(size: int, batch_size: int) -> float:
    """Of one pass through the network, in the plain form of every layer."""
    from microgen_jax import networks

    return batch_size * sum(row.flops for row in networks.summary(_method(size).unet, (size, size)))


def compare(case: str, asked: argparse.Namespace) -> list[dict]:
    """Rows: a task each."""
    size, batch_size = CASES[case]
    here = [sys.executable, "-m", "tests.benchmarks.speed", "--serve", str(size), str(batch_size)]
    lines = {"jax": here}
    if asked.torch:
        there = [asked.torch, "-m", "tests.benchmarks.speed_torch"]
        lines |= {v: [*there, v, json.dumps(NETWORK), str(size), str(batch_size)] for v in asked.variants}
    workers = {name: Worker(line) for name, line in lines.items()}
    workers["jax"].ask("product")
    product = min(workers["jax"].ask("product") for _ in range(5))
    rows = []
    for task in asked.tasks:
        first = {name: worker.ask(task) for name, worker in workers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(asked.rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.ask(task))
        memory = {name: worker.ask("memory") for name, worker in workers.items()}
        row = {"case": case, "task": task, "seconds": seconds, "first": first, "memory_mib": memory}
        rate = WORK[task] * forward_flops(size, batch_size) / median(seconds["jax"])
        row["share_of_product"] = rate / (2 * 2048**3 / product)
        row["best"] = min((n for n in workers if n != "jax"), key=lambda n: median(seconds[n]), default="")
        row["ratio"] = median(seconds[row["best"]]) / median(seconds["jax"]) if row["best"] else None
        rows.append(row)
        print(_line(row), flush=True)
    for worker in workers.values():
        worker.close()
    return rows


def _line(row: dict) -> str:
    spread = (f"{n} {median(s):.3f} s [{min(s):.3f}, {max(s):.3f}]" for n, s in row["seconds"].items())
    memory = ", ".join(f"{n} {m:.0f}" for n, m in row["memory_mib"].items())
    ratio = f"ratio {row['ratio']:.2f} to {row['best']}  " if row["best"] else ""
    share = f"{row['share_of_product']:.0%} of a product"
    return f"{row['case']}  {row['task']}  {ratio}{'  '.join(spread)}  {share}  MiB {memory}"


def moved(ratios: dict[str, float], accepted: dict[str, float]) -> list[str]:
    """A line for every ratio that differs from the accepted one by more than a tenth."""
    both = [name for name in ratios if name in accepted]
    far = [name for name in both if abs(ratios[name] / accepted[name] - 1) > 0.1]
    return [f"{name}: {ratios[name]:.2f}, accepted {accepted[name]:.2f}" for name in far]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", help="a Python that has torch and diffusers")
    parser.add_argument("--variants", nargs="*", default=["eager", "channels_last"])
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=WORK)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="")
    parser.add_argument("--accept", action="store_true", help="store these ratios as the ones to keep to")
    parser.add_argument("--serve", type=int, nargs=2, help="serve one case (used by the command itself)")
    asked = parser.parse_args()
    if asked.serve:
        serve(jax_rounds(*asked.serve))
        return
    rows = [row for case in asked.cases for row in compare(case, asked)]
    if asked.out:
        Path(asked.out).write_text(json.dumps(rows, indent=1))
    ratios = {f"{row['case']}, {row['task']}": row["ratio"] for row in rows if row["ratio"]}
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    print("\n".join(moved(ratios, accepted)) or "nothing moved by more than a tenth")
    if asked.accept:
        ACCEPTED.write_text(json.dumps(accepted | ratios, indent=1) + "\n")


if __name__ == "__main__":
    main()
