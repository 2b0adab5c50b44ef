"""How fast a large folder opens, how much memory training on it takes, and how many tiles the cache feeds.

    python -m tests.benchmarks.data_feed --images=100000

Writes a folder of small images (class folders a to d, 24 x 24 px RGB, PNG) and one of 128 px tiles into a
temporary place, opens the first, trains a tiny network on it through the train command, and then runs the
pipeline alone on the second from its cache. Prints one line for each figure.
"""

import argparse
import itertools
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from configs.default import get_config
from microgen_jax.commands.train import train
from microgen_jax.data import batches, open_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--tiles", type=int, default=2000, help="of 128 px")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "small", asked.images, 24)
        write(folder / "tiles", asked.tiles, 128)
        opening(folder / "small")
        training(folder / "small", folder / "run", asked.steps)
        feeding(folder / "tiles", folder / "cache")


def write(folder: Path, count: int, side: int) -> None:
    """Grain maps of squares, a different one each."""
    for name in "abcd":
        (folder / name).mkdir(parents=True)

    def one(n: int) -> None:
        rng = np.random.default_rng(n)
        colours = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        image = Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1))
        image.save(folder / "abcd"[n % 4] / f"{n:06d}.png", compress_level=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(count)))


def peak() -> int:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def tiny(root: Path) -> ConfigDict:
    config = get_config()
    config.data.root = str(root)
    config.data.size = (16, 16)
    config.model.update(
        channels=(16, 32), attention_levels=(False, False), remat=(False, False), norm_groups=8, head_dim=8
    )
    config.train.update(batch_size=32, warmup_steps=10, sample_every=0, eval_every=0, log_every=100)
    return config


def opening(root: Path) -> None:
    start = time.perf_counter()
    dataset = open_dataset(tiny(root).data)
    seconds = time.perf_counter() - start
    count = len(dataset.train) + len(dataset.holdout)
    print(f"opening {count} images: {seconds:.1f} s, peak so far {peak()} MiB", flush=True)


def training(root: Path, workdir: Path, steps: int) -> None:
    config = tiny(root)
    config.train.update(steps=steps, checkpoint_every=steps)
    start = time.perf_counter()
    train(config, workdir)
    print(
        f"training {steps} steps of 32 on it: {time.perf_counter() - start:.1f} s, peak {peak()} MiB",
        flush=True,
    )


def feeding(root: Path, cache: Path) -> None:
    config = tiny(root).data
    config.update(size=(128, 128), cache=str(cache), workers=os.cpu_count())
    stream = batches(*_parts(config), seed=0, batch_size=32, workers=config.workers)
    list(itertools.islice(stream, 20))
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(len(batch.label) for batch in itertools.islice(stream, 300))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"the cache feeds {count / wall:.0f} augmented 128 px RGB tiles/s on {os.cpu_count()} cores"
        f" ({count / cpu:.0f} a second of one core's time)",
        flush=True,
    )


def _parts(config: ConfigDict) -> tuple:
    dataset = open_dataset(config)
    return dataset.train, dataset.preparation


if __name__ == "__main__":
    main()
