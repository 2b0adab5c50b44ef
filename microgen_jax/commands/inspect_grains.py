"""Grains of a data set for `inspect`: of scans by orientation, of images by colour or by their boundaries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.segmentation import (
    COLOUR_TOLERANCE,
    ORIENTATION_TOLERANCE,
    grains_from_orientations,
)
from microgen_jax.data import Dataset
from microgen_jax.data.sources.ebsd import read_scans
from microgen_jax.evaluation import grain_size, grains, statistics
from microgen_jax.evaluation.grain_size import GrainSizes
from microgen_jax.evaluation.statistics import ImageKind

MAX_IMAGES, MAX_PIXELS = 256, 2**24  # that are measured
BY_ORIENTATION = f"misorientation over {ORIENTATION_TOLERANCE:g} degrees, on whole scans"
BY_COLOUR = f"colour steps over {COLOUR_TOLERANCE} of 255, on whole images"
BY_LINES = "boundary lines, on whole images"


def of_scans(dataset: Dataset, asked: DataConfig) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the facts of each scan with its grains, and the grains of all.

    Args:
      dataset: data set of scans.
      asked: `data` part of its configuration.
    """
    found = {
        name: grain_size.grain_sizes(
            grains_from_orientations(
                scan.orientations,
                {phase.id: phase.laue_group for phase in scan.phases if phase.laue_group},
                scan.phase,
            )
        )
        for name, scan in read_scans(Path(asked.root), [scan["scan"] for scan in dataset.scans], asked)
    }
    scans = [scan | found[scan["scan"]].to_json(scan["pixel_size_um"]) for scan in dataset.scans]
    return scans, _summed(list(found.values()), dataset, BY_ORIENTATION)


def of_images(dataset: Dataset, kind: ImageKind) -> dict[str, Any]:
    """Return the grains of the training images as stored, whole, up to MAX_IMAGES and MAX_PIXELS.

    Args:
      dataset: data set of images of one size or many.
      kind: result of `classify_images`, 'colour' or 'lines'.
    """
    found = [grain_size.grain_sizes(_labels(image, kind)) for image in _images(dataset)]
    return _summed(found, dataset, BY_COLOUR if kind.content == "colour" else BY_LINES)


def per_tile(labels: np.ndarray) -> float:
    """Return the mean number of grains of a tile.

    Args:
      labels: regions of tiles [N, H, W], -1 where unindexed.
    """
    return len(grains.measure(grains.absorb_specks(labels)).area) / len(labels)


def _images(dataset: Dataset) -> Iterator[np.ndarray]:
    seen = 0
    count = min(len(dataset.train), MAX_IMAGES)
    for n in range(count):
        image = dataset.train[n * len(dataset.train) // count].image
        yield _levels(image)
        seen += image.shape[0] * image.shape[1]
        if seen > MAX_PIXELS:
            return


def _levels(image: np.ndarray) -> np.ndarray:
    """uint8 of an image as stored."""
    if image.dtype == np.uint8:
        return image
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return np.rint(image.astype(np.float32) * (255 / top)).astype(np.uint8)


def _labels(image: np.ndarray, kind: ImageKind) -> np.ndarray:
    labels = statistics.labels_of(image[None], kind)[0]
    if kind.content == "lines":
        return labels
    return np.where(image.max(axis=-1) == 0, -1, labels)  # black is unindexed


def _summed(found: list[GrainSizes], dataset: Dataset, method: str) -> dict[str, Any]:
    stored = dataset.pixel_size_um / dataset.pixel_scale if dataset.pixel_scale else 0.0
    summed = grain_size.pooled(found).to_json(stored)
    return summed | {"maps": len(found), "method": f"{method}; {grain_size.RULES}"}
