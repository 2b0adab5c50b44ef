"""Boundary networks of a WGAN-GP and of a DDPM trained for the same time: dead ends and floating pieces an image.

    python -m tests.benchmarks.boundary_topology --root=../shared/data/voronoi_h5 --seconds=480 --workdir=/tmp/topology

Each method trains alone on the same images of 64 px, from its first step (compiled before) until the time is up;
64 images are drawn from its averaged parameters. Both networks are small enough for a CPU. Without --root the
built-in polycrystals are drawn as boundaries. Prints a table in Markdown; the images are under --workdir.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from microgen_jax.evaluation import ImageKind, classify_images, grains
from microgen_jax.images import grid, png, to_uint8

ROOT = Path(__file__).resolve().parents[2]
NUM = 64
COMMON = {
    "data.source": "auto",
    "model.dtype": "float32",
    "train.steps": 1_000_000,
    "train.lr_schedule": "constant",
    "train.log_every": 100,
    "train.sample_every": 0,
    "train.eval_every": 0,
    "train.checkpoint_every": 1_000_000,
}
METHODS = {
    "wgan_gp": (
        "configs/voronoi64_wgan.py",
        {
            "wgan.width": 16,
            "wgan.n_critic": 3,
            "wgan.critic_learning_rate": 1e-3,
            "train.batch_size": 16,
            "train.learning_rate": 3e-4,
            "train.ema_decay": 0.99,
        },
    ),
    "ddpm": (
        "configs/voronoi64.py",
        {
            "model.channels": "(16,32,64)",
            "model.attention_levels": "(False,False,False)",
            "model.blocks_per_level": 1,
            "model.mid_attention": False,
            "model.norm_groups": 8,
            "train.batch_size": 16,
            "train.learning_rate": 1e-3,
            "train.warmup_steps": 50,
            "train.ema_decay": 0.99,
        },
    ),
}
SAMPLE = {"sample.num": NUM, "sample.steps": 50, "sample.batch_size": 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", default="")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    asked = parser.parse_args()
    rows = []
    for name in asked.methods:
        workdir = asked.workdir / name
        train(name, workdir, asked.root, asked.seconds)
        began = time.perf_counter()
        command("sample", workdir, SAMPLE).wait()
        seconds = time.perf_counter() - began
        images = np.load(workdir / "samples/default/samples.npz")["images"]
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        step = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())
        speed = np.median([line["images_per_second"] for line in lines if "images_per_second" in line])
        rows.append((name, images, f"{step:,}", f"{speed:.0f}", f"{seconds:.0f}"))
    real = real_images(asked.root)
    (asked.workdir / "real.png").write_bytes(png(grid(real[:NUM])))
    print(f"| {asked.seconds:g} s each | updates | images a second | seconds for {NUM} | "
          "share of boundary | dead ends | floating pieces |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    kind = classify_images(real)
    for name, images, *figures_of in [("training data", real, "", "", ""), *rows]:
        counts = " | ".join(f"{mean:.2f} ± {error:.2f}" for mean, error in topology(images, kind))
        print(f"| {name} | {' | '.join(figures_of)} | {counts} |")


def train(name: str, workdir: Path, root: str, seconds: float) -> None:
    """Trains until the time since the first step is up; the signal saves the state."""
    config, own = METHODS[name]
    process = command("train", workdir, COMMON | own | {"data.root": root}, config)
    for line in process.stdout:
        if line.startswith("step 1/"):
            time.sleep(seconds)
            process.send_signal(signal.SIGTERM)
            process.communicate()
            return
    raise SystemExit(f"{name}: training ended early")


def command(mode: str, workdir: Path, fields: dict, config: str = "") -> subprocess.Popen:
    flags = [f"--config.{name}={value}" for name, value in fields.items() if value != ""]
    config = [f"--config={config}"] if config else []
    line = [sys.executable, "main.py", f"--mode={mode}", f"--workdir={workdir.absolute()}", *config, *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def real_images(root: str) -> np.ndarray:
    """Up to 256 training images, uint8, as the models see them."""
    from configs.voronoi64_wgan import get_config
    from microgen_jax import data

    config = get_config().data
    config.root = root
    dataset = data.open_dataset(config)
    batches = data.evaluation_batches(dataset.train, dataset.preparation, batch_size=64, limit=256)
    return np.concatenate([to_uint8(batch.image)[mask] for batch, mask in batches])


def topology(images: np.ndarray, kind: ImageKind) -> list[tuple[float, float]]:
    """Mean and standard error over images of the share of boundary pixels, dead ends and floating pieces."""
    lines = (images[..., 0] > 127) != kind.dark
    values = [
        lines.mean(axis=(1, 2)),
        [grains.line_dead_ends(image) for image in lines],
        [grains.line_floating_pieces(image) for image in lines],
    ]
    return [(float(np.mean(v)), float(np.std(v) / np.sqrt(len(v)))) for v in values]


if __name__ == "__main__":
    main()
