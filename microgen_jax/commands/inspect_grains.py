"""Grains of a data set for `inspect`: of scans by orientation, of images by colour or by their boundaries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.segmentation import ORIENTATION_TOLERANCE, grains_from_orientations
from microgen_jax.data import Dataset
from microgen_jax.data.sources.ebsd import read_scans
from microgen_jax.evaluation import grain_finding, grain_size, grains
from microgen_jax.evaluation.grain_size import GrainSizes
from microgen_jax.evaluation.image_kind import ImageKind

MAX_IMAGES, MAX_PIXELS = 256, 2**24  # that are measured
BY_ORIENTATION = f"whole scans, misorientation over {ORIENTATION_TOLERANCE:g} degrees; {grain_finding.RULE}"


def of_scans(dataset: Dataset, asked: DataConfig) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the facts of each scan with its grains, and the grains of all.

    Args:
      dataset: data set of scans.
      asked: `data` part of its configuration.
    """
    found = {
        name: grain_size.grain_sizes(_regions_of(scan))
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
    found = [
        grain_size.grain_sizes(grain_finding.regions(image[None], kind)[0]) for image in _images(dataset)
    ]
    return _summed(found, dataset, f"whole images, {grain_finding.method(kind)}")


def per_tile(tiles: np.ndarray, kind: ImageKind) -> float:
    """Return the mean number of grains of a tile.

    Args:
      tiles: uint8 [N, H, W, C].
      kind: result of `classify_images`, 'colour' or 'lines'.
    """
    return len(grains.measure(grains.absorb_specks(grain_finding.regions(tiles, kind))).area) / len(tiles)


def _regions_of(scan: EbsdMap) -> np.ndarray:
    laue_groups = {phase.id: phase.laue_group for phase in scan.phases if phase.laue_group}
    return grains_from_orientations(scan.orientations, laue_groups, scan.phase)


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


def _summed(found: list[GrainSizes], dataset: Dataset, method: str) -> dict[str, Any]:
    summed = grain_size.pooled(found).to_json(dataset.pixel_size_um)
    return summed | {"maps": len(found), "method": f"{method}; {grain_size.DIAMETER}"}
