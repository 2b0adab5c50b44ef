"""Compare the numbers of this checkout with those of the commit before the redesign, or store them.

    python -m tests.witness.witness compare --before=4e7862a   # two checkouts on one machine: the same bits
    python -m tests.witness.witness store                      # what CI compares with

Three tiny configs are trained for 20 updates and sampled from: ddpm on polycrystals; ddpm with classes and conditions
on a class folder; wgan_gp. Only the command line is used, so that any version can be run;
`OLD_FIELDS` and `OLD_CONFIGS` say what today's names were called before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("stored.npz")
OLD_FIELDS = {
    "data.fill_unindexed": "data.fill",
    "data.read_timeout": "data.patience",
    "data.window": "data.crop",
    "evaluate.copy_search_num": "evaluate.audit_num",
    "evaluate.pixel_size_um": "evaluate.step",
    "sample.trajectory_times": "sample.stills",
    "train.eval_samples": "train.eval_draws",
    "train.skip_batches": "train.skip",
}
OLD_CONFIGS: dict[str, str] = {}
TINY = {
    "data.size": "(16,16)",
    "data.count": "64",
    "train.steps": "20",
    "train.batch_size": "8",
    "train.log_every": "1",
    "train.sample_every": "0",
    "train.eval_every": "0",
    "train.checkpoint_every": "20",
    "sample.num": "4",
    "sample.batch_size": "4",
}
UNET = {
    "model.channels": "(8,16)",
    "model.attention_levels": "(False,True)",
    "model.remat": "(False,False)",
    "model.head_dim": "8",
    "model.norm_groups": "4",
    "sample.sampler": "ancestral",
    "sample.steps": "5",
    "sample.eps_scale": "1.0",
}
FOLDER = {
    "data.filename_pattern": r"(?P<specimen>s\d)_(?P<strain>\d+)\.",
    "data.conditions": "('strain',)",
    "data.split_by": "specimen",
    "train.learning_rate": "1e-3",
    "sample.sampler": "dpmpp2m",
    "sample.guidance": "2.0",
    "sample.condition": '{"strain": 5}',
}
GAN = {
    "data.size": "(32,32)",
    "wgan.width": "8",
    "wgan.critic_learning_rate": "1e-3",
    "train.learning_rate": "2e-3",
    "train.ema_decay": "0.5",
}
CASES = {
    "polycrystals": ("configs/quickstart.py", {**TINY, **UNET}),
    "class_folder": ("configs/ipf128.py", {**TINY, **UNET, **FOLDER, "model.dtype": "float32"}),
    "wgan_gp": ("configs/voronoi64_wgan.py", {**TINY, **GAN}),
}
LOSSES = ("loss", "critic_loss", "generator_loss", "penalty")


def write_class_folder(folder: Path) -> None:
    """Write 12 tiny images of flat patches in two classes, with a specimen and a strain in each name."""
    rng = np.random.default_rng(0)
    for label in ("Compression", "Tension"):
        (folder / label).mkdir(parents=True)
        for specimen in range(3):
            for strain in (1, 9):
                patches = rng.integers(0, 256, (5, 5, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
                Image.fromarray(patches).save(folder / label / f"s{specimen}_{strain}.png")


def measure(checkout: Path, case: str, scratch: Path, old: bool = False) -> dict[str, np.ndarray]:
    """Train and sample one case with a checkout.

    Args:
      checkout: the folder with `main.py`.
      case: one of `CASES`.
      scratch: an empty folder.
      old: whether the checkout has the names of before the redesign.

    Returns:
      float64 losses [20] by name and `images`, uint8 [4, H, W, C].
    """
    config, fields = CASES[case]
    if case == "class_folder":
        write_class_folder(scratch / "images")
        fields = {**fields, "data.root": str(scratch / "images")}
    if old:
        config = OLD_CONFIGS.get(config, config)
        fields = {OLD_FIELDS.get(name, name): value for name, value in fields.items()}
    workdir = scratch / "run"
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    _main(checkout, f"--config={config}", f"--workdir={workdir}", *flags)
    sampling = [flag for flag in flags if flag.startswith("--config.sample.")]
    _main(checkout, "--mode=sample", f"--workdir={workdir}", *sampling)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = {name: np.array([line[name] for line in lines if name in line]) for name in LOSSES}
    with np.load(workdir / "samples" / "default" / "samples.npz") as samples:
        images = samples["images"]
    return {name: values for name, values in losses.items() if values.size} | {"images": images}


def _main(checkout: Path, *flags: str) -> None:
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(checkout),
        "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "witness-xla"),
    }
    line = [sys.executable, "main.py", *flags]
    done = subprocess.run(line, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def measure_all(checkout: Path, old: bool = False) -> dict[str, np.ndarray]:
    """Measure every case; names are `case/loss` and `case/images`."""
    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            values = measure(checkout, case, Path(scratch), old)
        found |= {f"{case}/{name}": value for name, value in values.items()}
    return found


def compare(before: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> list[str]:
    """Describe what differs: the largest relative error of losses, the largest level of images."""
    lines = []
    for name, old in before.items():
        new = now[name]
        if np.array_equal(old, new):
            lines.append(f"{name}: the same bits")
        elif name.endswith("/images"):
            levels = np.abs(old.astype(int) - new.astype(int))
            lines.append(f"{name}: up to {levels.max()} levels, {np.mean(levels <= 1):.4%} within one")
        else:
            lines.append(f"{name}: {np.max(np.abs(new / old - 1)):.2g} relative")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["compare", "store"])
    parser.add_argument("--before", default="4e7862a", help="commit before the redesign")
    asked = parser.parse_args()
    now = measure_all(ROOT)
    if asked.action == "store":
        np.savez_compressed(STORED, **now)
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", tree, asked.before], cwd=ROOT, check=True)
        try:
            before = measure_all(tree, old=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    print("\n".join(compare(before, now)))


if __name__ == "__main__":
    main()
