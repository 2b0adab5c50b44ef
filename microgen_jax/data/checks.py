"""Checks of the images themselves: sizes, copied channels, off-key colours, and leaks across the split."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from microgen_jax.crystal.ipf import off_key_share
from microgen_jax.data.catalogue import CatalogueSource, image_name
from microgen_jax.data.pipeline import Preparation, prepare
from microgen_jax.types import Source

_SIDE = 16  # px of a thumbnail
NEAR_COPY = 0.9  # correlation of thumbnails
MAX_COMPARED_PIXELS = 2**25  # about a second
LEVEL_TOLERANCE = 1e-5  # of black and white


class ImageFacts(NamedTuple):
    """Facts of one image.

    Attributes:
      name: name of its file, or its number.
      label: class index.
      height, width, channels: shape of the image as stored, in px.
      dtype: uint8 | uint16 | float32.
      low, high: its smallest and largest value, in the units of its dtype.
      copies: whether it has several channels, and all are the same.
      off_key: share of coloured pixels that are no IPF colour; 0 for grey images.
      thumbnail: float32 [256], the grey image on 16 x 16, zero mean and unit norm.
    """

    name: str
    label: int
    height: int
    width: int
    channels: int
    dtype: str
    low: float
    high: float
    copies: bool
    off_key: float
    thumbnail: np.ndarray


class Leak(NamedTuple):
    """A held-out image and the training image that it nearly repeats."""

    a: str
    b: str
    correlation: float


def examine(source: Source, limit: int) -> list[ImageFacts]:
    """Return the facts of up to `limit` images, spread evenly over the source."""
    count = min(limit, len(source))
    return [_examine(source, n * len(source) // count) for n in range(count)]


def leaks(train: list[ImageFacts], holdout: list[ImageFacts], threshold: float = NEAR_COPY) -> list[Leak]:
    """Return held-out images that nearly repeat a training image, nearest pairs first.

    Classes do not matter: the same specimen may appear in several.

    Args:
      train: facts of training images.
      holdout: facts of held-out images.
      threshold: correlation of two thumbnails above which they are a pair.
    """
    if not train or not holdout:
        return []
    correlation = np.stack([x.thumbnail for x in holdout]) @ np.stack([x.thumbnail for x in train]).T
    found = [
        Leak(facts.name, train[j].name, float(correlation[i, j]))
        for i, (facts, j) in enumerate(zip(holdout, correlation.argmax(axis=1)))
        if correlation[i, j] > threshold
    ]
    return sorted(found, key=lambda leak: -leak.correlation)


def off_key_by_averaging(source: Source, size: tuple[int, int], limit: int) -> float:
    """Return the share of off-key pixels that bilinear resampling would give: what nearest sampling avoids.

    Args:
      source: the images; those of three 8-bit channels count.
      size: height, width in px that the short side is fitted to.
      limit: number of images at most.
    """
    shares, count = [], min(limit, len(source))
    for n in range(count):
        image = source[n * len(source) // count].image
        if image.shape[-1] == 3 and image.dtype == np.uint8:
            scale = max(size[0] / image.shape[0], size[1] / image.shape[1])
            height, width = (max(round(scale * side), 1) for side in image.shape[:2])
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            shares.append(off_key_share(np.asarray(resized)))
    return float(np.mean(shares)) if shares else 0.0


def grey(source: Source, preparation: Preparation, limit: int = 16) -> tuple[str, float] | None:
    """Find an image that the model sees in more than black and white.

    Args:
      source: the images.
      preparation: how they are prepared.
      limit: number of images that are checked, spread evenly over the source.

    Returns:
      Its name and its level furthest from both, 0 = black to 1 = white; None where there is none.
    """
    count = min(limit, len(source))
    for index in (n * len(source) // count for n in range(count)):
        image = prepare(source[index], preparation).image
        level = float(image.flat[np.argmin(np.abs(image))] + 1) / 2
        if min(level, 1 - level) > LEVEL_TOLERANCE:
            return image_name(source, index), level
    return None


def duplicates(train: Source, holdout: Source, budget: int = MAX_COMPARED_PIXELS) -> list[tuple[str, str]]:
    """Return held-out images whose pixels are also a training image's: (held out, training) by name.

    Only images that take as many bytes as one of the other part are decoded.

    Args:
      train: the training images.
      holdout: the held-out images.
      budget: number of pixels of either part that are decoded at most.
    """
    if not (isinstance(train, CatalogueSource) and isinstance(holdout, CatalogueSource)):
        return []
    shared = set(train.sizes.tolist()) & set(holdout.sizes.tolist())
    held = {digest: name for name, digest in _digests(holdout, shared, budget)}
    return [(held[digest], name) for name, digest in _digests(train, shared, budget) if digest in held]


def _digests(source: CatalogueSource, sizes: set[int], budget: int) -> Iterator[tuple[str, bytes]]:
    for index in np.flatnonzero(np.isin(source.sizes, list(sizes))).tolist():
        header = source.header(index)
        budget -= header.height * header.width
        if budget < 0:
            return
        image = source[index].image
        yield source.name(index), hashlib.sha256(np.ascontiguousarray(image).data).digest()


def _examine(source: Source, index: int) -> ImageFacts:
    record = source[index]
    image = record.image
    height, width, channels = image.shape
    copies = channels > 1 and bool((image == image[..., :1]).all())
    coloured = channels == 3 and not copies and image.dtype == np.uint8
    name = image_name(source, index)
    off_key = float(off_key_share(image)) if coloured else 0.0
    return ImageFacts(
        name=name,
        label=record.label,
        height=height,
        width=width,
        channels=channels,
        dtype=image.dtype.name,
        low=float(image.min()),
        high=float(image.max()),
        copies=copies,
        off_key=off_key,
        thumbnail=_thumbnail(image),
    )


def _thumbnail(image: np.ndarray) -> np.ndarray:
    grey = image.astype(np.float32).mean(axis=-1)
    rows, columns = (np.linspace(0, side, _SIDE + 1).astype(int) for side in grey.shape)
    rows, columns = (np.minimum(edge[:-1], side - 1) for edge, side in zip((rows, columns), grey.shape))
    means = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    means /= np.outer(
        *(np.maximum(np.diff([*edge, side]), 1) for edge, side in zip((rows, columns), grey.shape))
    )
    centred = (means - means.mean()).ravel()
    return centred / max(np.linalg.norm(centred), 1e-6)
