"""Speed beside PyTorch: the same UNet, batch and optimizer, in two processes that take turns.

    python -m tests.benchmarks.speed --torch=path/of/python --out=speed.json

`--torch` is a Python with torch and diffusers (`pip install -e '.[bench]'` in an environment of its own). Every round
runs every variant once, one after the other, so that what else the machine does falls on all of them alike. The
table gives medians over the rounds, the smallest and the largest, the ratio to the fastest PyTorch variant (above 1:
faster than PyTorch), and the share that the network's own products and convolutions, counted once in their plain
form, have of what a matrix product reaches here (2048, float32; 8192 in bfloat16). Without `--torch` only the JAX side
runs. Of cases that differ in their batch alone, the end gives the best images a second of each side.

On a GPU, `ipf128` in bfloat16 (PyTorch under autocast in training, its weights in bfloat16 in sampling):

    python -m tests.benchmarks.speed --torch=... --variants channels_last compile --tasks train forward \
        --cases 'ipf128, batch 16' 'ipf128, batch 64' 'ipf128, batch 256'
    python -m tests.benchmarks.speed --torch=... --variants compile --tasks ddim50 ancestral1000 --rounds 2 \
        --cases 'ipf128, batch 64'

The ratios of the last accepted run are in accepted_speed.json; the end of the output says which moved by more than a
tenth. `--accept` stores the new ones.
"""

import argparse
import json
import os
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
SMALL = {"channels": (64, 128, 128), "blocks": 2, "head_dim": 64, "groups": 32, "dtype": "float32"}
IPF128 = SMALL | {"channels": (64, 128, 256, 512), "dtype": "bfloat16"}
CASES = {"32 px, batch 16": (SMALL, 32, 16), "128 px, batch 4": (SMALL, 128, 4)}
ON_CPU = tuple(CASES)
CASES |= {f"ipf128, batch {number}": (IPF128, 128, number) for number in (16, 64, 256)}
TASKS = ("train", "forward", "ddim50")
CALLS = {"train": 2, "forward": 4, "ddim50": 1, "ancestral1000": 1, "product": 4}
WORK = {"train": 3, "forward": 1, "ddim50": 50, "ancestral1000": 1000}  # in forward passes
ACCEPTED = Path(__file__).with_name("accepted_speed.json")


def _method(network: dict, size: int, sampler: str = "ddim", steps: int = 50):
    from microgen_jax import methods

    config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()
    levels = len(network["channels"])
    config.data.size = (size, size)
    config.model.update(
        channels=network["channels"],
        blocks_per_level=network["blocks"],
        attention_levels=(False,) * (levels - 1) + (True,),
        head_dim=network["head_dim"],
        norm_groups=network["groups"],
        remat=(False,) * levels,
        dtype=network["dtype"],
        dropout=0.0,
    )
    config.sample.update(sampler=sampler, steps=steps)
    return methods.build(config, channels=3, num_classes=0, num_conditions=0)


def jax_rounds(network: dict, size: int, batch_size: int) -> dict[str, Callable[[], None]]:
    """`{task: one round}`, compiled and warmed up."""
    import jax
    import jax.numpy as jnp

    from microgen_jax.training import compilation
    from microgen_jax.types import Batch, Condition

    compilation.keep_memory()
    compilation.use_compile_cache()
    method = _method(network, size)
    state = jax.jit(method.init)(jax.random.key(0))
    labels, values = jnp.zeros(batch_size, jnp.int32), jnp.zeros((batch_size, 0))
    image = jax.random.uniform(jax.random.key(1), (batch_size, size, size, 3), minval=-1.0)
    batch, cond = Batch(image, labels, values), Condition(labels, values)
    jit = partial(jax.jit, compiler_options=compilation.options((size, size)))
    step = jit(method.train_step, donate_argnums=0)
    ddim, ancestral = jit(method.generate), jit(_method(network, size, "ancestral", 1000).generate)
    side = product_side(network)
    product, square = jit(jnp.matmul), jax.random.normal(jax.random.key(4), (side, side), network["dtype"])
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


def product_side(network: dict) -> int:
    return 8192 if network["dtype"] == "bfloat16" else 2048


def jax_memory() -> float:
    """The peak so far, in bytes: the accelerator's where there is one, else the process's."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else resident()


def resident() -> float:
    """The peak of the process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve(rounds: dict[str, Callable[[], None]], memory: Callable[[], float]) -> None:
    """Answers a task's name by the seconds of one call, the first one apart; `memory` by the peak so far, in MiB."""
    print("ready", flush=True)
    started = set()
    for line in sys.stdin:
        task = line.strip()
        if task == "memory":
            print(memory() / 2**20, flush=True)
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


def forward_flops(network: dict, size: int, batch_size: int) -> float:
    """Of one pass through the network, in the plain form of every layer."""
    from microgen_jax import networks

    return batch_size * sum(row.flops for row in networks.summary(_method(network, size).unet, (size, size)))


def compare(case: str, asked: argparse.Namespace) -> list[dict]:
    """Rows: a task each."""
    network, size, batch_size = CASES[case]
    here = [sys.executable, "-m", "tests.benchmarks.speed", "--serve", case]
    lines = {"jax": here}
    if asked.torch:
        there = [asked.torch, "-m", "tests.benchmarks.speed_torch"]
        lines |= {v: [*there, v, case] for v in asked.variants}
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
        rate = WORK[task] * forward_flops(network, size, batch_size) / median(seconds["jax"])
        row["share_of_product"] = rate / (2 * product_side(network) ** 3 / product)
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


def best_batches(rows: list[dict]) -> list[str]:
    """A line for every network and task that ran with several batches: the best images a second of each side."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["case"].split(", batch")[0], row["task"]), []).append(row)
    lines = []
    for (network, task), group in groups.items():
        if len(group) < 2:
            continue
        rates: dict[str, tuple[float, int]] = {}
        for row in group:
            batch_size = CASES[row["case"]][2]
            for name, seconds in row["seconds"].items():
                rates[name] = max(rates.get(name, (0.0, 0)), (batch_size / median(seconds), batch_size))
        sides = (f"{name} {rate:.1f} images/s (batch {number})" for name, (rate, number) in rates.items())
        others = [rate for name, (rate, _) in rates.items() if name != "jax"]
        ratio = f", ratio {rates['jax'][0] / max(others):.2f}" if others else ""
        lines.append(f"{network}, {task}, best batch: {', '.join(sides)}{ratio}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", help="a Python that has torch and diffusers")
    parser.add_argument("--variants", nargs="*", default=["eager", "channels_last"])
    parser.add_argument("--cases", nargs="*", default=ON_CPU, choices=CASES)
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=WORK)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="")
    parser.add_argument("--accept", action="store_true", help="store these ratios as the ones to keep to")
    parser.add_argument("--serve", default="", help="serve one case (used by the command itself)")
    asked = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the two sides share one GPU
    if asked.serve:
        serve(jax_rounds(*CASES[asked.serve]), jax_memory)
        return
    rows = [row for case in asked.cases for row in compare(case, asked)]
    if asked.out:
        Path(asked.out).write_text(json.dumps(rows, indent=1))
    print("\n".join(best_batches(rows)))
    ratios = {f"{row['case']}, {row['task']}": row["ratio"] for row in rows if row["ratio"]}
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    print("\n".join(moved(ratios, accepted)) or "nothing moved by more than a tenth")
    if asked.accept:
        ACCEPTED.write_text(
            json.dumps(accepted | {n: round(r, 2) for n, r in ratios.items()}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
