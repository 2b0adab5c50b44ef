"""What a training step costs as it grows: with size, batch, channels and devices; and sampling with its steps.

    python -m tests.benchmarks.growth --out=docs/figures/growth.png

Every case runs in a process of its own: seconds (the least of three steps), the same for a million pixels, gigabytes
of temporaries as XLA plans them, seconds to compile. Devices are pretended ones that share this machine's cores, with
the batch shared among them: what they add is what partitioning costs. With `steps`, so many DDIM steps are drawn in
place of a training step, and a million pixels are counted once a step.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = {"size": 32, "batch": 16, "channels": 64, "devices": 1, "steps": 0}
AXES = {
    "size": (32, 64, 128, 256, 512),
    "batch": (1, 4, 16, 64),
    "channels": (32, 64, 128),
    "devices": (1, 2, 4, 8),
    "steps": (5, 20, 80),
}
LABELS = {"size": "size, px", "channels": "channels of the first level", "steps": "DDIM steps"}
FEW = {128: 4, 256: 2, 512: 1}  # images in a batch, where 16 do not fit the time


def cases() -> list[tuple[str, dict[str, int]]]:
    """`(axis, case)`; a case is BASE with one value changed."""
    found = [(axis, BASE | {axis: value}) for axis, values in AXES.items() for value in values]
    return [(axis, case | {"batch": FEW.get(case["size"], case["batch"])}) for axis, case in found]


def measure(size: int, batch: int, channels: int, devices: int, steps: int) -> dict[str, float]:
    from microgen_jax import methods
    from microgen_jax.runtime import compile_cache

    compile_cache.keep_memory()
    config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()
    config.data.size = (size, size)
    config.model.update(
        channels=(channels, 2 * channels, 2 * channels),
        blocks_per_level=2,
        attention_levels=(False, False, True),
        remat=(False, False, False),
        dtype="float32",
        dropout=0.0,
    )
    config.sample.update(sampler="ddim", steps=max(steps, 1))
    method = methods.build(config, channels=3, num_classes=0, num_conditions=0)
    began = time.perf_counter()
    once, temporaries = _draw(method, size, batch) if steps else training_step(method, size, batch, devices)
    compiled = time.perf_counter() - began
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - began)
    least = min(seconds[1:])
    return {
        "seconds": least,
        "per_million_pixels": least / (max(steps, 1) * batch * size**2 / 1e6),
        "temporaries_gb": temporaries * devices / 1e9,
        "compile_seconds": compiled,
    }


def training_step(method, size: int, batch: int, devices: int) -> tuple[Callable[[], None], int]:
    """One training step, compiled, and the bytes of temporaries on each device."""
    import jax
    import jax.numpy as jnp

    from microgen_jax.runtime import mesh as meshes
    from microgen_jax.types import Batch

    mesh = meshes.make_mesh(devices, 1)
    shardings = meshes.parameter_shardings(jax.eval_shape(method.init, jax.random.key(0)), mesh)
    state = jax.jit(method.init, out_shardings=shardings)(jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), (batch, size, size, 3), minval=-1.0)
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("data", "fsdp")))
    given = jax.device_put(Batch(image, jnp.zeros(batch, jnp.int32), jnp.zeros((batch, 0))), rows)
    step = meshes.compiled_step(method.train_step, shardings, mesh, (size, size))
    step = step.lower(state, given, jax.random.key(2)).compile()

    def once() -> None:
        nonlocal state
        state, metrics = step(state, given, jax.random.key(2))
        jax.block_until_ready(metrics)

    return once, step.memory_analysis().temp_size_in_bytes


def _draw(method, size: int, batch: int) -> tuple[Callable[[], None], int]:
    """One batch of images, compiled, and the bytes of temporaries."""
    import jax
    import jax.numpy as jnp

    from microgen_jax.runtime import compile_cache
    from microgen_jax.types import Condition

    params = jax.jit(method.init)(jax.random.key(0)).ema_params
    given = (
        params,
        jax.random.split(jax.random.key(2), batch),
        Condition(jnp.zeros(batch, jnp.int32), jnp.zeros((batch, 0))),
    )
    draw = (
        jax.jit(method.generate, compiler_options=compile_cache.options((size, size))).lower(*given).compile()
    )
    return lambda: jax.block_until_ready(draw(*given)), draw.memory_analysis().temp_size_in_bytes


def run(case: dict[str, int]) -> dict[str, float]:
    flags = f"--xla_force_host_platform_device_count={case['devices']}"
    line = [sys.executable, "-m", "tests.benchmarks.growth", "--case", json.dumps(case)]
    done = subprocess.run(
        line, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{case} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def draw(rows: list[dict], place: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    figure, panels = pyplot.subplots(1, len(AXES), figsize=(14, 3.4), layout="constrained")
    for panel, axis in zip(panels, AXES):
        points = [(row[axis], row["per_million_pixels"]) for row in rows if row["axis"] == axis]
        values = [value for value, _ in points]
        panel.loglog(*zip(*points), "o-")
        panel.set_xticks(values, map(str, values))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("{x:g}")
        panel.xaxis.set_minor_locator(ticker.NullLocator())
        panel.set_xlabel(LABELS.get(axis, axis))
        panel.set_ylim(0.5 * min(y for _, y in points), 2 * max(y for _, y in points))
    panels[0].set_ylabel("seconds per million pixels")
    figure.savefig(place, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="growth.png")
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=AXES)
    parser.add_argument("--case", default="", help="measure one case (used by the command itself)")
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measure(**json.loads(asked.case))))
        return
    rows = []
    for axis, case in cases():
        if axis not in asked.axes:
            continue
        rows.append({"axis": axis} | case | run(case))
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()))
    Path(asked.out).with_suffix(".json").write_text(json.dumps(rows, indent=1))
    draw(rows, Path(asked.out))


if __name__ == "__main__":
    main()
