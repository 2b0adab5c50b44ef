"""Speed beside PyTorch: the same UNet, batch and optimizer, in two processes that take turns.

    python -m tests.benchmarks speed --torch=path/of/python --out=speed.json

`--torch` is a Python with torch and diffusers (`pip install -e '.[bench]'` in an environment of its own). Every round
runs every variant once, one after the other, so that what else the machine does falls on all of them alike. The
table gives medians over the rounds, the smallest and the largest, the ratio to the fastest PyTorch variant (above 1:
faster than PyTorch), and the share that the network's own products and convolutions, counted once in their plain
form, have of what a matrix product reaches here (2048, float32; 8192 in bfloat16). Without `--torch` only the JAX side
runs. Of cases that differ in their batch alone, the end gives the best images a second of each side.

Tasks that run only when they are named:

- `feed`, `feed_uint8`: a batch of images from the host to the device, seconds and GB/s; `feed_batch`: images and
  labels, as the training loop does (`mesh.put_batch`). PyTorch pins the memory and copies without blocking; on the
  CPU neither side needs to copy.
- `first_step`: from the start of a process to the end of its first training step, imports, tracing and compiling
  included; cold with empty folders for compiled programs, warm in a second process with the same folders. Every round
  starts afresh: `--rounds 1` is long enough for large networks.

On a GPU, `ipf128` in bfloat16 (PyTorch under autocast in training, its weights in bfloat16 in sampling); gpu.py runs

    python -m tests.benchmarks speed --torch=... --variants channels_last compile --tasks train forward \
        --cases 'ipf128, batch 16' 'ipf128, batch 64' 'ipf128, batch 256'
    python -m tests.benchmarks speed --tasks train ddim50 --cases 'ipf128, batch 64' --xla no_command_buffer O3

The ratios of the last accepted run are in accepted_speed.json; the end of the output says which moved by more than a
tenth. `--accept` stores the new ones.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"channels": (64, 128, 128), "blocks": 2, "head_dim": 64, "groups": 32, "dtype": "float32"}
IPF128 = SMALL | {"channels": (64, 128, 256, 512), "dtype": "bfloat16"}
TINY = SMALL | {"channels": (16, 32), "blocks": 1, "head_dim": 8, "groups": 8}
CASES = {"32 px, batch 16": (SMALL, 32, 16), "128 px, batch 4": (SMALL, 128, 4)}
ON_CPU = tuple(CASES)
CASES |= {f"ipf128, batch {number}": (IPF128, 128, number) for number in (16, 64, 128, 256)}
CASES |= {f"tiny, batch {number}": (TINY, 16, number) for number in (2, 4)}  # to rehearse with
WORK = {"train": 3, "forward": 1, "ddim50": 50, "ancestral1000": 1000}  # in forward passes
FEEDS = {"feed": 4, "feed_uint8": 1, "feed_batch": 4}  # bytes a value
TASKS = ("train", "forward", "ddim50")
CALLS = {"train": 2, "forward": 4, "ddim50": 1, "ancestral1000": 1, "product": 4} | dict.fromkeys(FEEDS, 8)
XLA = {
    "no_command_buffer": {"XLA_FLAGS": "--xla_gpu_enable_command_buffer="},
    "more_command_buffer": {
        "XLA_FLAGS": "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE"
    },
    "no_triton_products": {"XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false"},
    "conv_fusion": {"XLA_FLAGS": "--xla_gpu_experimental_enable_conv_fusion=true"},
    "O3": {"JAX_OPTIMIZATION_LEVEL": "O3"},
}
ACCEPTED = Path(__file__).with_name("accepted_speed.json")


def product_side(network: dict) -> int:
    return 8192 if network["dtype"] == "bfloat16" else 2048


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

    def __init__(self, line: list[str], environment: dict[str, str]):
        self._process = subprocess.Popen(
            line, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait(self) -> None:
        """Returns when it can be asked."""
        while self._line() != "ready":
            pass

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._process.args)} ended with {self._process.wait()}")
        return line.strip()

    def tell(self, task: str) -> None:
        print(task, file=self._process.stdin, flush=True)

    def answer(self) -> float:
        return float(self._line())

    def ask(self, task: str) -> float:
        self.tell(task)
        return self.answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def variants(case: str, asked: argparse.Namespace) -> dict[str, tuple[list[str], dict[str, str]]]:
    """`{name: (command line, changes to the environment)}`; names of ours begin with jax."""
    here = [sys.executable, "-m", "tests.benchmarks.speed_jax", case]
    found = {"jax": (here, {})} | {f"jax {name}": (here, XLA[name]) for name in asked.xla}
    if asked.torch:
        there = [asked.torch, "-m", "tests.benchmarks.speed_torch"]
        found |= {name: ([*there, name, case], {}) for name in asked.variants}
    return found


def measured(case: str, asked: argparse.Namespace) -> Iterator[dict]:
    """Rows: a task each."""
    tasks = [task for task in asked.tasks if task != "first_step"]
    if tasks:
        yield from compare(case, tasks, asked)
    if tasks != asked.tasks:
        yield from first_steps(case, asked)


def compare(case: str, tasks: list[str], asked: argparse.Namespace) -> Iterator[dict]:
    """Rows of workers that take turns."""
    network, size, batch_size = CASES[case]
    workers = {name: Worker(line, os.environ | more) for name, (line, more) in variants(case, asked).items()}
    for worker in workers.values():
        worker.wait()
    product = 0.0
    for task in tasks:
        if task in WORK and not product:
            product = _product(workers["jax"], network)
        _warm_up(list(workers.values()), task, asked.together)
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(asked.rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.ask(task))
        row = with_ratio({"case": case, "task": task, "seconds": seconds})
        row["memory_mib"] = {name: worker.ask("memory") for name, worker in workers.items()}
        if task in WORK:
            from tests.benchmarks.speed_jax import forward_flops

            work = WORK[task] * forward_flops(network, size, batch_size)
            row["product_tflops"] = product / 1e12
            row["tflops"] = {name: work / median(s) / 1e12 for name, s in seconds.items()}
        else:
            count = FEEDS[task] * batch_size * size * size * 3
            row["gigabytes_per_second"] = {name: count / median(s) / 1e9 for name, s in seconds.items()}
        yield row
    for worker in workers.values():
        worker.close()


def _product(worker: Worker, network: dict) -> float:
    """Operations a second of a matrix product, at best."""
    worker.ask("product")
    return 2 * product_side(network) ** 3 / min(worker.ask("product") for _ in range(5))


def _warm_up(workers: list[Worker], task: str, together: bool) -> None:
    """The first call, which compiles."""
    for group in [workers] if together else [[worker] for worker in workers]:
        for worker in group:
            worker.tell(task)
        for worker in group:
            worker.answer()


def first_steps(case: str, asked: argparse.Namespace) -> Iterator[dict]:
    """Two rows, cold and warm: seconds from the start of a process to the end of its first training step."""
    found = variants(case, asked)
    seconds: dict[str, dict[str, list[float]]] = {
        state: {name: [] for name in found} for state in ("cold", "warm")
    }
    for _ in range(asked.rounds):
        for name, (line, more) in found.items():
            with tempfile.TemporaryDirectory() as folder:
                for state in seconds:
                    seconds[state][name].append(_first_step(line, _caches(Path(folder)) | more))
    for state, own in seconds.items():
        yield with_ratio({"case": case, "task": f"first_step, {state}", "seconds": own})


def _caches(folder: Path) -> dict[str, str]:
    """The environment with every cache of compiled programs under a folder."""
    named = (
        ("inductor", "TORCHINDUCTOR_CACHE_DIR"),
        ("triton", "TRITON_CACHE_DIR"),
        ("user", "XDG_CACHE_HOME"),
    )
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return kept | {variable: str(folder / place) for place, variable in named}


def _first_step(line: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    worker = Worker(line, environment)
    worker.wait()
    worker.ask("train")
    seconds = time.perf_counter() - began
    worker.close()
    return seconds


def with_ratio(row: dict) -> dict:
    """The row with the fastest of PyTorch's variants and the ratio to it."""
    seconds = row["seconds"]
    best = min((n for n in seconds if not n.startswith("jax")), key=lambda n: median(seconds[n]), default="")
    return row | {"best": best, "ratio": median(seconds[best]) / median(seconds["jax"]) if best else None}


def line_of(row: dict) -> str:
    """Of the table."""
    parts = [row["case"], row["task"]]
    if row["best"]:
        parts.append(f"ratio {row['ratio']:.2f} to {row['best']}")
    parts += (f"{n} {median(s):.3g} s [{min(s):.3g}, {max(s):.3g}]" for n, s in row["seconds"].items())
    if "tflops" in row:
        shares = (f"{n} {own / row['product_tflops']:.0%}" for n, own in row["tflops"].items())
        parts.append(f"of a product's {row['product_tflops']:.3g} TFLOP/s: {', '.join(shares)}")
    if "gigabytes_per_second" in row:
        parts.append("GB/s " + ", ".join(f"{n} {v:.3g}" for n, v in row["gigabytes_per_second"].items()))
    if "memory_mib" in row:
        images = CASES[row["case"]][2]
        memory = (f"{n} {mib:.0f} ({mib / images:.1f} an image)" for n, mib in row["memory_mib"].items())
        parts.append(f"MiB {', '.join(memory)}")
    return "  ".join(parts)


def moved(ratios: dict[str, float], accepted: dict[str, float]) -> list[str]:
    """A line for every ratio that differs from the accepted one by more than a tenth."""
    both = [name for name in ratios if name in accepted]
    far = [name for name in both if abs(ratios[name] / accepted[name] - 1) > 0.1]
    return [f"{name}: {ratios[name]:.2f}, accepted {accepted[name]:.2f}" for name in far]


def best_batches(rows: list[dict]) -> list[str]:
    """A line for every network and task that ran with several batches: the best images a second of each side."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        if row["task"] in WORK:
            groups.setdefault((row["case"].split(", batch")[0], row["task"]), []).append(row)
    lines = []
    for (network, task), group in groups.items():
        if len({row["case"] for row in group}) < 2:
            continue
        rates: dict[str, tuple[float, int]] = {}
        for row in group:
            batch_size = CASES[row["case"]][2]
            for name, seconds in row["seconds"].items():
                rates[name] = max(rates.get(name, (0.0, 0)), (batch_size / median(seconds), batch_size))
        sides = (f"{name} {rate:.1f} images/s (batch {number})" for name, (rate, number) in rates.items())
        others = [rate for name, (rate, _) in rates.items() if not name.startswith("jax")]
        ratio = f", ratio {rates['jax'][0] / max(others):.2f}" if others else ""
        lines.append(f"{network}, {task}, best batch: {', '.join(sides)}{ratio}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", help="a Python that has torch and diffusers")
    parser.add_argument("--variants", nargs="*", default=["eager", "channels_last"])
    parser.add_argument("--cases", nargs="*", default=ON_CPU, choices=CASES)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=[*WORK, *FEEDS, "first_step"])
    parser.add_argument(
        "--xla", nargs="*", default=[], choices=XLA, help="settings of XLA to try beside ours"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--together", action="store_true", help="let all variants compile at the same time")
    parser.add_argument("--out", default="")
    parser.add_argument("--accept", action="store_true", help="store these ratios as the ones to keep to")
    asked = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the two sides share one GPU
    rows: list[dict] = []
    for row in (row for case in asked.cases for row in measured(case, asked)):
        rows.append(row)
        print(line_of(row), flush=True)
        if asked.out:
            Path(asked.out).write_text(json.dumps(rows, indent=1))
    print("\n".join(best_batches(rows)))
    ratios = {f"{row['case']}, {row['task']}": row["ratio"] for row in rows if row["ratio"]}
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    if set(ratios) & set(accepted):
        print("\n".join(moved(ratios, accepted)) or "nothing moved by more than a tenth")
    if asked.accept:
        ACCEPTED.write_text(
            json.dumps(accepted | {n: round(r, 2) for n, r in ratios.items()}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
