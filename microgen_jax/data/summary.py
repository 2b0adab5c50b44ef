"""What a data set holds: images, classes, values, conditions, split, augmentation, and what was refused or not used."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.ipf import off_key_share
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.data import checks, overlaps
from microgen_jax.data.dataset import Dataset
from microgen_jax.data.decoding import Header
from microgen_jax.data.pipeline import shown_windows
from microgen_jax.data.rendered import rendered
from microgen_jax.data.representations import Orientations
from microgen_jax.types import Source

MAX_DECODED = 2000  # images of either side of the split
MAX_TILES = 256
MAX_WHOLE, MAX_PIXELS = 256, 2**24  # images that are measured whole, and their pixels
_EXCHANGING = {"turn_90", "turn_270", "transpose", "antitranspose"}
_DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float32": "float"}


def tiles_of(dataset: Dataset) -> UInt8[np.ndarray, "N H W C"]:
    """Return centre tiles spread over the training images; orientations in IPF-Z colours.

    Args:
      dataset: the data set.
    """
    return shown_windows(dataset.train, dataset.preparation, limit=MAX_TILES).image


def whole_images(source: Source) -> Iterator[UInt8[np.ndarray, "h w C"]]:
    """Yield images as stored, whole, up to MAX_WHOLE and MAX_PIXELS.

    Args:
      source: images of one size or many.
    """
    seen = 0
    count = min(len(source), MAX_WHOLE)
    for n in range(count):
        image = source[n * len(source) // count].image
        yield _levels(image)
        seen += image.shape[0] * image.shape[1]
        if seen > MAX_PIXELS:
            return


def summarise(dataset: Dataset, asked: DataConfig, tiles: UInt8[np.ndarray, "N H W C"]) -> dict[str, Any]:
    """Return the content of summary.json, but for the grains.

    Args:
      dataset: the data set.
      asked: `data` part of its configuration.
      tiles: result of `tiles_of`.
    """
    representation = dataset.preparation.representation
    maps = isinstance(representation, Orientations)
    parts = (rendered(part, representation) for part in (dataset.train, dataset.holdout))
    train, holdout = (checks.examine(part, MAX_DECODED) for part in parts)
    seen = train + holdout
    grey = all(look.channels == 1 or look.copies for look in seen)
    headers = [part.header(n) for part in (dataset.train, dataset.holdout) for n in range(len(part))]
    labels = Counter(dataset.classes[n] for part in (dataset.train, dataset.holdout) for n in part.labels)
    summary = {
        "source": dataset.kind,
        "count": len(dataset.train) + len(dataset.holdout),
        "looked_at": len(seen),
        "classes": {name: labels[name] for name in dataset.classes},
        "sizes": dict(Counter(f"{header.height}x{header.width}" for header in headers).most_common()),
        "channels": dataset.preparation.channels,
        "channels_are_copies": all(look.copies for look in seen),
        "copied_channels": sum(look.copies for look in seen),
        "dtype": dataset.dtype,
        "modes": dict(Counter("orientations" if maps else _mode(header) for header in headers).most_common()),
        "values": _ranges(seen),
        "split": {"train": len(dataset.train), "holdout": len(dataset.holdout), "by": asked.split_by},
        "conditions": dict(zip(dataset.conditions, zip(dataset.preparation.mean, dataset.preparation.std))),
        "condition_ranges": dict(zip(dataset.conditions, zip(dataset.low, dataset.high))),
        "augmentation": dict(zip(dataset.classes, dataset.preparation.transforms)),
        "augmentation_why": _why(dataset, asked, grey=grey),
        "augmentation_risk": _risk(dataset, asked),
        "flat_share": float(np.mean([flat_share(image) for image in tiles])),
        "refused": [{"file": file, "reason": reason} for file, reason in _refused(dataset)],
        "leaks": [
            {"a": leak.a, "b": leak.b, "correlation": leak.correlation}
            for leak in checks.leaks(train, holdout)
        ],
        "overlaps": overlaps.report(dataset.train, dataset.holdout),
        "notes": list(dataset.notes),
        "unused": list(dataset.unused),
        "pixel_size_um": dataset.pixel_size_um,
        "scans": list(dataset.scans),
        "fingerprint": dataset.fingerprint,
    }
    if asked.ipf_direction and not grey and dataset.preparation.channels == 3:
        eight_bit = [
            look.off_key for look in seen if look.dtype == "uint8" and look.channels == 3 and not look.copies
        ]
        coloured = [image for image in tiles if (image != image[..., :1]).any()]
        summary["off_key"] = {
            "source": _mean(eight_bit),
            "resampled": _mean([off_key_share(image) for image in coloured]),
            "bilinear": checks.off_key_by_averaging(dataset.train, tuple(asked.size), len(tiles)),
        }
    return summary


def _mean(shares: list[float]) -> float:
    return float(np.mean(shares)) if shares else 0.0


def _mode(header: Header) -> str:
    plural = "s" if header.channels > 1 else ""
    return f"{header.channels} channel{plural}, {_DEPTHS.get(header.dtype, header.dtype)}"


def _ranges(seen: list[checks.ImageFacts]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each depth, as those of different depths cannot be compared."""
    found: dict[str, list[checks.ImageFacts]] = {}
    for look in seen:
        found.setdefault(look.dtype, []).append(look)
    return {
        _DEPTHS.get(dtype, dtype): (min(look.low for look in looks), max(look.high for look in looks))
        for dtype, looks in sorted(found.items())
    }


def _refused(dataset: Dataset) -> list[tuple[str, str]]:
    """What was left out when the data were opened, and what failed when it was decoded now."""
    return [*dataset.refused, *dataset.train.failed.items(), *dataset.holdout.failed.items()]


def _why(dataset: Dataset, asked: DataConfig, *, grey: bool) -> str:
    if not asked.augment:
        return "off: data.augment=False"
    process = f"what leaves a process of symmetry {asked.symmetry!r} as it is (data.symmetry)"
    if isinstance(dataset.preparation.representation, Orientations):
        return f"{process}; orientations are moved with the sample"
    if grey or not asked.ipf_direction:
        return f"{process}; no IPF colours to keep"
    return f"{process} and keeps IPF-{asked.ipf_direction} colours true (data.ipf_direction)"


def _risk(dataset: Dataset, asked: DataConfig) -> str:
    """What turns would do to images of a process that has a direction in the plane."""
    done = {element for elements in dataset.preparation.transforms for element in elements}
    if "all" not in asked.symmetry or not done & _EXCHANGING:
        return ""
    how = "turned by 90 degrees" if "turn_90" in done else "mirrored at a diagonal"
    return (
        f"images are {how} too: right where no direction in the plane differs from another;"
        " for tension, rolling or shear set data.symmetry to orthotropic or monoclinic, or one a class"
    )


def _levels(image: np.ndarray) -> np.ndarray:
    """uint8 of an image of any depth."""
    if image.dtype == np.uint8:
        return image
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return np.rint(image.astype(np.float32) * (255 / top)).astype(np.uint8)
