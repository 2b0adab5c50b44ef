"""Where the time of a step goes: convolutions, products and the rest, from JAX's own profiler.

    python -m tests.benchmarks.step_profile --case 'ipf128, batch 64' --task train --out profile

An operation is a convolution or a product if its optimised program (`--xla_dump_to`) has one in it: what is fused with
one counts as one. Meant for an accelerator: on the CPU convolutions go on in other threads after their events have
ended. The folder `--out`, which must be new, holds
the programs and the trace for TensorBoard or Perfetto.
"""

import argparse
import gzip
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

KINDS = (
    ("convolutions", re.compile(r" convolution\(|cudnn\$conv|__op\$.*conv")),
    ("products", re.compile(r" dot\(|cublas|gemm|fmha")),
)
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (.*)")
COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) .*\{$")
CALLED = re.compile(r"calls=%?([\w.-]+)")
AROUND = re.compile(r"^(while|call|conditional|command_buffer)\b")  # their own operations are counted instead


def kinds(programs: list[str]) -> dict[str, str]:
    """`{operation: kind}` of optimised programs as text; what is neither a convolution nor a product is left out."""
    lines: dict[str, str] = {}
    bodies: dict[str, list[str]] = {}
    computation = ""
    for line in "\n".join(programs).splitlines():
        if found := INSTRUCTION.match(line):
            lines[found[1]] = found[2]
            bodies[computation].append(found[1])
        elif found := COMPUTATION.match(line):
            computation = found[1]
            bodies[computation] = []

    def whole(operation: str) -> str:
        called = CALLED.search(lines[operation])
        return lines[operation] + "".join(map(whole, bodies[called[1]] if called else []))

    of = {operation: next((n for n, p in KINDS if p.search(whole(operation))), "") for operation in lines}
    return {operation: name for operation, name in of.items() if name}


def times(folder: Path) -> Counter[str]:
    """Microseconds by operation, of the newest trace under a folder."""
    trace = max(folder.rglob("*.trace.json.gz"), key=lambda place: place.stat().st_mtime)
    spent: Counter[str] = Counter()
    for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]:
        operation = event.get("args", {}).get("hlo_op", "")
        if event.get("ph") == "X" and operation and not AROUND.match(operation):
            spent[operation] += event["dur"]
    return spent


def main() -> None:
    from tests.benchmarks.speed import CASES, WORK

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=next(iter(CASES)), choices=CASES)
    parser.add_argument("--task", default="train", choices=WORK)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--out", default="profile")
    asked = parser.parse_args()
    folder = Path(asked.out)
    folder.mkdir(parents=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # a program from the cache is not written down
    dump = f"--xla_dump_to={folder / 'programs'} --xla_dump_hlo_as_text"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {dump}"
    import jax

    from tests.benchmarks.speed_jax import jax_rounds

    call = jax_rounds(*CASES[asked.case])[asked.task]
    call()
    with jax.profiler.trace(folder):
        for _ in range(asked.calls):
            call()
    largest = max(folder.glob("programs/*after_optimizations.txt"), key=lambda place: place.stat().st_size)
    of, spent = kinds([largest.read_text()]), times(folder)
    if not spent:
        sys.exit(f"{folder} holds no operations: this backend names none in its trace")
    whole = sum(spent.values())
    shares: Counter[str] = Counter()
    for operation, microseconds in spent.items():
        shares[of.get(operation, "the rest")] += microseconds
    for name, microseconds in shares.most_common():
        print(f"{name:14s} {microseconds / whole:6.1%}  {microseconds / asked.calls / 1000:9.2f} ms a call")
    print("longest:")
    for operation, microseconds in spent.most_common(12):
        print(f"  {operation:40s} {microseconds / whole:6.1%}  {of.get(operation, '')}")


if __name__ == "__main__":
    main()
