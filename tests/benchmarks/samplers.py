"""Few steps against many: how far from the data the images of a sampler are, in statistics of their pixels.

    python -m tests.benchmarks.samplers runs/quickstart OUT.json [images] [seed]

Of each image: mean and standard deviation of every channel, mean absolute difference of neighbours across and
down, and the share of flat neighbours. The distance between two sets is

  d = sqrt(mean over statistics of ((mean_a - mean_b) / std of the data)^2)

and its noise baseline is that between two sets of the data of the same number; both with 90 % of a bootstrap. Classes
are drawn in turn; a model with conditions is told those of images of the data.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

import microgen_jax
from microgen_jax.crystal.polycrystal import CLASSES, Polycrystal, polycrystal
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.sampling.generator import Generator

SETTINGS = (  # sampler, steps, eps_scale
    ("dpmpp2m", 10, 1.0),
    ("dpmpp2m", 20, 1.0),
    ("dpmpp2m", 50, 1.0),
    ("ddim", 20, 1.0),
    ("unipc", 20, 1.0),
    ("dpmpp2m", 10, 1.03),
    ("dpmpp2m", 20, 1.01),
    ("dpmpp2m", 20, 1.02),
    ("dpmpp2m", 20, 1.03),
    ("dpmpp2m", 20, 1.04),
    ("dpmpp2m", 20, 1.06),
    ("ddim", 20, 1.03),
    ("unipc", 20, 1.03),
    ("dpmpp2m_sde", 20, 1.0),
    ("dpmpp2m_sde", 30, 1.0),
    ("dpmpp2m_sde", 50, 1.0),
    ("ancestral", 20, 1.0),
    ("ancestral", 50, 1.0),
    ("ancestral", 1000, 1.0),
)
UNSEEN = 1_000_000  # index of the first polycrystal that the data are drawn from


def statistics(images: np.ndarray) -> np.ndarray:
    """float64 [N, 2 C + 3] of uint8 [N, H, W, C]."""
    x = images.astype(float)
    across, down = (np.abs(np.diff(x, axis=axis)).mean((1, 2, 3)) for axis in (2, 1))
    flat = np.array([flat_share(image) for image in images])
    return np.column_stack([x.mean((1, 2)), x.std((1, 2)), across, down, flat])


def distance(a: np.ndarray, b: np.ndarray, scale: np.ndarray) -> float:
    return float(np.sqrt(np.mean(((a.mean(0) - b.mean(0)) / scale) ** 2)))


def interval(a: np.ndarray, b: np.ndarray, scale: np.ndarray, draws: int = 500) -> tuple[float, float]:
    """5 % and 95 % of the distance over resamples of both sets."""
    rng = np.random.default_rng(0)
    resampled = [distance(*(s[rng.integers(0, len(s), len(s))] for s in (a, b)), scale) for _ in range(draws)]
    low, high = np.percentile(resampled, (5, 95))
    return float(low), float(high)


def real(first: int, num: int, size: tuple[int, int], seed: int) -> list[Polycrystal]:
    """Of every class in turn."""
    return [polycrystal(seed, first + i, size, kind=CLASSES[i % len(CLASSES)]) for i in range(num)]


def draw(generator: Generator, like: list[Polycrystal], seed: int = 0) -> np.ndarray:
    """As many images, of the same classes and conditions."""
    resolved = generator.resolved
    labels = np.array([resolved.classes.index(tile.descriptors["class"]) for tile in like], np.int32)
    asked = [[tile.descriptors[name] for name in resolved.conditions] for tile in like]
    value = (np.array(asked) - resolved.mean) / resolved.std
    return np.concatenate(list(generator.batches(labels, value.astype(np.float32), seed=seed)))


def main(workdir: str, out: str, num: int = 64, seed: int = 0) -> None:
    config = microgen_jax.load(workdir).config
    size = tuple(config.data.size)
    many = statistics(np.stack([tile.image for tile in real(UNSEEN, 2000, size, config.seed)]))
    like = real(2 * UNSEEN + num * seed, num, size, config.seed)
    scale = many.std(0)
    baselines = [distance(many[i : i + num], np.delete(many, slice(i, i + num), 0), scale)
              for i in range(0, 2000 - num, num)]  # fmt: skip
    print(
        f"baseline: data against data, {num} images: {np.mean(baselines):.3f}, 95 % {np.percentile(baselines, 95):.3f}"
    )
    rows = [
        {
            "sampler": "data",
            "distance": float(np.mean(baselines)),
            "high": float(np.percentile(baselines, 95)),
        }
    ]
    for sampler, steps, eps_scale in SETTINGS:
        began, cpu = time.perf_counter(), time.process_time()
        generator = microgen_jax.load(
            workdir, sampler=sampler, steps=steps, guidance=1.0, eps_scale=eps_scale
        )
        drawn = statistics(draw(generator, like, seed))
        low, high = interval(drawn, many, scale)
        row = {
            "sampler": sampler,
            "steps": steps,
            "eps_scale": eps_scale,
            "calls": 2 * steps - 1 if sampler == "heun" else steps,
            "distance": distance(drawn, many, scale),
            "low": low,
            "high": high,
            "flat_share": float(drawn[:, -1].mean()),
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
        }
        rows.append(row)
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
        sys.stdout.flush()
        Path(out).write_text(json.dumps({"images": num, "rows": rows}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(given) for given in sys.argv[3:]))
