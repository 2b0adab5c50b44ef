"""Does the model do as it is told: requested against measured grain diameter and aspect ratio, against guidance.

    python -m tests.benchmarks.conditioning_accuracy runs/conditions32 OUT.json [images of each value] [seed]

The diameter of an image is sqrt(4 area / (pi grains)), with grains segmented by colour and specks given to their
neighbours; grains cut by the edge make it too small, so it is put on the scale of what was asked for by a line fitted
to the data's own images. The aspect ratio is that of the mean intercepts, on a scale of its own in the same way.
R^2 = 1 - sum (measured - asked)^2 / sum (asked - mean)^2, over the mean of each requested value and, beside it, over
single images and for the best straight line (which forgives a wrong scale); the interval is 95 % of a bootstrap over
images.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import microgen_jax
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.crystal.segmentation import grains_from_colour
from microgen_jax.evaluation.grains import absorb_specks

DIAMETERS = np.geomspace(8.0, 12.8, 9)  # px, at 32 px
ASPECT_RATIOS = np.linspace(2.5, 5.0, 6)
GUIDANCE = (0.0, 1.0, 1.5, 2.0, 4.0)
UNSEEN = 2_000_000  # index of the first polycrystal that the scales are fitted to


def labelled(images: np.ndarray) -> np.ndarray:
    return absorb_specks(np.stack([grains_from_colour(image) for image in images]))


def diameter(images: np.ndarray) -> np.ndarray:
    labels = labelled(images)
    grains = np.array([len(np.unique(one)) for one in labels])
    return np.sqrt(4 / np.pi * labels[0].size / grains)


def aspect_ratio(images: np.ndarray) -> np.ndarray:
    labels = labelled(images)
    across = (labels[:, :, 1:] != labels[:, :, :-1]).mean((1, 2))
    down = (labels[:, 1:] != labels[:, :-1]).mean((1, 2))
    return down / across


CHECKS: dict[str, tuple[str, np.ndarray, Callable]] = {
    "grain_diameter": ("equiaxed", DIAMETERS, diameter),
    "aspect_ratio": ("elongated", ASPECT_RATIOS, aspect_ratio),
}


def data(name: str, value: float, num: int, size: tuple[int, int], first: int) -> np.ndarray:
    kind = CHECKS[name][0]
    asked = {"diameter": value} if name == "grain_diameter" else {"aspect_ratio": value, "diameter": 10.0}
    return np.stack([polycrystal(0, first + i, size, kind=kind, **asked).image for i in range(num)])


def r2(asked: np.ndarray, measured: np.ndarray) -> float:
    return float(1 - np.sum((measured - asked) ** 2) / np.sum((asked - asked.mean()) ** 2))


def summary(asked: np.ndarray, measured: np.ndarray) -> dict:
    """Of measured [values, images]."""
    rng, (values, num) = np.random.default_rng(0), measured.shape
    draws = [
        r2(asked, np.take_along_axis(measured, rng.integers(0, num, (values, num)), 1).mean(1))
        for _ in range(2000)
    ]
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "r2": r2(asked, measured.mean(1)),
        "low": float(low),
        "high": float(high),
        "r2_line": float(np.corrcoef(asked, measured.mean(1))[0, 1] ** 2),
        "r2_single": r2(np.repeat(asked, num), measured.ravel()),
        "measured": measured.mean(1).tolist(),
    }


def main(workdir: str, out: str, num: int = 32, seed: int = 0) -> None:
    size = tuple(microgen_jax.load(workdir).config.data.size)
    results: dict = {
        "images": num,
        "seed": seed,
        "requested": {n: c[1].tolist() for n, c in CHECKS.items()},
        "rows": [],
    }
    scales, first = {}, 100 * seed
    for name, (_, values, measure) in CHECKS.items():
        raw = np.stack([measure(data(name, v, 200, size, UNSEEN + 1000 * i)) for i, v in enumerate(values)])
        scales[name] = np.polyfit(raw.mean(1), values, 1)
        fresh = np.stack(
            [measure(data(name, v, num, size, 2 * UNSEEN + 1000 * i)) for i, v in enumerate(values)]
        )
        row = {"guidance": "data", "condition": name, **summary(values, np.polyval(scales[name], fresh))}
        results["rows"].append(row)
        print(row)
    for guidance in GUIDANCE:
        generator = microgen_jax.load(workdir, guidance=guidance)
        for name, (kind, values, measure) in CHECKS.items():
            began = time.perf_counter()
            other = {"aspect_ratio": 1.0} if name == "grain_diameter" else {"grain_diameter": 10.0}
            drawn = [
                measure(
                    generator.sample(
                        num, label=kind, condition={name: float(v), **other}, seed=first + i
                    ).images
                )
                for i, v in enumerate(values)
            ]
            row = {"guidance": guidance, "condition": name}
            row |= summary(values, np.polyval(scales[name], np.stack(drawn)))
            results["rows"].append(row | {"seconds": time.perf_counter() - began})
            print(row, flush=True)
            Path(out).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(given) for given in sys.argv[3:]))
