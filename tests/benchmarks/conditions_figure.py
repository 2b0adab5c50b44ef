"""Images that a model with conditions draws of one noise: a row for each request, a column for each noise.

python -m tests.benchmarks.conditions_figure runs/conditions32 docs/figures/conditions32.png
"""

import sys

import numpy as np
from PIL import Image

import microgen_jax

ROWS = (("equiaxed", 8.1, 1.0), ("equiaxed", 10.0, 1.0), ("equiaxed", 12.7, 1.0), ("elongated", 10.0, 5.0))
COLUMNS, ZOOM, GAP = 12, 3, 2


def main(workdir: str, out: str) -> None:
    generator = microgen_jax.load(workdir)
    rows = []
    for label, diameter, aspect_ratio in ROWS:
        condition = {"grain_diameter": diameter, "aspect_ratio": aspect_ratio}
        images = generator.sample(COLUMNS, label=label, condition=condition, seed=3).images
        framed = np.pad(images, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=255)
        rows.append(np.concatenate(list(framed), axis=1))
    image = np.concatenate(rows)[GAP:, GAP:]
    Image.fromarray(image.repeat(ZOOM, 0).repeat(ZOOM, 1)).save(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
