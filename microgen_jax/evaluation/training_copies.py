"""The part of `--mode=evaluate` that looks for copies of training images."""

from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from microgen_jax.evaluation import memorisation, sets
from microgen_jax.evaluation.sets import Run, Tiles

PAIRS_SHOWN = 10
BLOCK = 512  # tiles whose nearest training images are searched at once


class Audit(NamedTuple):
    """The nearest training windows of both sides.

    Attributes:
      real, generated: distances, [N] and [M].
      pairs: the nearest generated tiles and their training windows, uint8 [P, H, W, C] each.
      searched: training images.
    """

    real: np.ndarray
    generated: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    searched: int


def search(run: Run, real: Tiles, generated: Tiles, limit: int, progress: Progress) -> Audit:
    """Looks for each tile of both sides in up to `limit` training images, 0 being all of them."""
    images, labels = [], []
    reading = progress.add_task("reading training images", total=min(limit or 10**9, len(run.dataset.train)))
    for image, label in sets.training_images(run, limit):
        images.append(image)
        labels.append(label)
        progress.advance(reading)
    elements, by_class = sets.transforms(run)
    both = np.concatenate([real.images, generated.images])
    size = both.shape[1:3]
    blocks = (sets.variants(both[n : n + BLOCK], elements, run) for n in range(0, len(both), BLOCK))
    task = progress.add_task("searching copies", total=len(both))
    parts = []
    for part in memorisation.nearest(blocks, images, size, by_class[labels]):
        parts.append(part)
        progress.advance(task, len(part.distance))
    found = memorisation.Nearest(*(np.concatenate(column) for column in zip(*parts)))
    first = len(real.images)
    shown = first + np.argsort(found.distance[first:], kind="stable")[:PAIRS_SHOWN]
    turned = sets.variants(both[shown], elements, run)[found.variant[shown], np.arange(len(shown))]
    corners = [(images[found.image[n]], *found.corner[n]) for n in shown]
    windows = np.stack([image[y : y + size[0], x : x + size[1]] for image, y, x in corners])
    pairs = turned, windows
    return Audit(found.distance[:first], found.distance[first:], pairs, len(images))


def copies(audit: Audit) -> dict[str, Any]:
    """Entry of metrics.json: the share of generated tiles that copy a training image, and of held-out ones."""
    value, usual = (float(np.mean(part < memorisation.COPY)) for part in (audit.generated, audit.real))
    return {
        "value": value,
        "baseline": usual,
        "ratio": value / usual if usual else None,
        "interval": None,
        "n_real": len(audit.real),
        "n_generated": len(audit.generated),
        "note": f"shares nearer than {memorisation.COPY} to one of {audit.searched} training images; "
        "the baseline is the held-out images' share",
    }
