"""The search for copies of training images among real and generated tiles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from rich.progress import Progress

from microgen_jax.errors import UserError
from microgen_jax.evaluation import entries, memorisation
from microgen_jax.evaluation.image_set import ImageSet, as_image_set
from microgen_jax.evaluation.memorisation import COPY

DESCRIPTIONS = {
    "copies": "share of tiles that copy a training image",
    "training_distance": "distance to the nearest training image",
}
PAIRS_SHOWN = 10
BLOCK = 512  # tiles whose nearest training images are searched at once


class TrainingImages(NamedTuple):
    """Training images, and the transforms under which a tile counts as a copy.

    Attributes:
      images: uint8 [h, w, C] each, no smaller than the tiles.
      allowed: which transforms keep each image true, bool [P, T].
      variants: function that returns tiles uint8 [N, H, W, C] under each of the T transforms, [T, N, H, W, C].
      tiles: training images as the network was given them, uint8 [N, H, W, C], for distances in features; or None.
    """

    images: list[np.ndarray]
    allowed: Bool[np.ndarray, "P T"]
    variants: Callable[[np.ndarray], np.ndarray]
    tiles: UInt8[np.ndarray, "N H W C"] | None


class CopySearch(NamedTuple):
    """The nearest training windows of both sets.

    Attributes:
      real: distance of each real tile, float64 [N].
      generated: distance of each generated tile, float64 [M].
      pairs: the nearest generated tiles and their training windows, uint8 [P, H, W, C] each.
      searched: number of training images.
    """

    real: np.ndarray
    generated: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    searched: int


def as_training_images(images: Any) -> TrainingImages:
    """Return images as `TrainingImages` that are compared as they are; a `TrainingImages` is returned unchanged.

    Args:
      images: as `compare` takes real images.

    Raises:
      UserError: the array has another type, range or shape.
    """
    if isinstance(images, TrainingImages):
        return images
    tiles = as_image_set(images, "training").images
    return TrainingImages(list(tiles), np.ones((len(tiles), 1), bool), lambda rows: rows[None], tiles)


def as_grey(training: TrainingImages) -> TrainingImages:
    """Return images of one channel where all channels of all training images are equal; others as they are.

    Args:
      training: training images.
    """
    if not all((image == image[..., :1]).all() for image in training.images):
        return training
    tiles = None if training.tiles is None else training.tiles[..., :1]
    return training._replace(images=[image[..., :1] for image in training.images], tiles=tiles)


def search(training: TrainingImages, real: ImageSet, generated: ImageSet, progress: Progress) -> CopySearch:
    """Return the nearest training window of each tile of both sets.

    Args:
      training: training images.
      real: real tiles.
      generated: generated tiles.
      progress: progress display.

    Raises:
      UserError: a training image is smaller than the tiles or has other channels.
    """
    both = np.concatenate([real.images, generated.images])
    height, width, channels = both.shape[1:]
    for image in training.images:
        if image.shape[0] < height or image.shape[1] < width or image.shape[2] != channels:
            raise UserError(
                "training",
                f"an image of shape {image.shape} beside tiles of {height}x{width} px and {channels} channels",
                "give training images of the same channels that are no smaller than the tiles",
            )
    blocks = (training.variants(both[n : n + BLOCK]) for n in range(0, len(both), BLOCK))
    task = progress.add_task("searching copies", total=len(both))
    parts = []
    for part in memorisation.nearest(blocks, training.images, (height, width), training.allowed):
        parts.append(part)
        progress.advance(task, len(part.distance))
    found = memorisation.Nearest(*(np.concatenate(column) for column in zip(*parts)))
    first = len(real.images)
    shown = first + np.argsort(found.distance[first:], kind="stable")[:PAIRS_SHOWN]
    turned = training.variants(both[shown])[found.variant[shown], np.arange(len(shown))]
    corners = [(training.images[found.image[n]], *found.corner[n]) for n in shown]
    windows = np.stack([image[y : y + height, x : x + width] for image, y, x in corners])
    return CopySearch(found.distance[:first], found.distance[first:], (turned, windows), len(training.images))


def copies(found: CopySearch) -> dict[str, Any]:
    """Return the entry `copies`: the share of generated tiles that copy a training image, and of held-out ones.

    Args:
      found: result of `search`.
    """
    value, usual = (float(np.mean(part < COPY)) for part in (found.generated, found.real))
    return entries.entry(
        len(found.real),
        len(found.generated),
        f"shares nearer than {COPY} to one of {found.searched} training images; "
        "the baseline is the real images' share",
        value=value,
        baseline=usual,
        ratio=value / usual if usual else None,
        real=usual,
        generated=value,
        unit="1",
    )
