"""--mode=inspect: what the data set of a configuration holds, before it is trained on."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microgen_jax import data, files
from microgen_jax.commands import inspect_grains, inspect_table
from microgen_jax.config import fields
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config, DataConfig
from microgen_jax.crystal.ipf import off_key_share
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.data import Dataset, checks, overlaps
from microgen_jax.data.decoding import Header
from microgen_jax.evaluation import classify_images
from microgen_jax.images import grid, png, to_uint8
from microgen_jax.sampling import batching
from microgen_jax.types import Source

_MAX_DECODED = 2000  # images of either side of the split
_GRID_IMAGES = 36
_EXCHANGING = {"turn_90", "turn_270", "transpose", "antitranspose"}
_DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float32": "float"}


@dataclass(frozen=True)
class Summary:
    """What a data set holds.

    Attributes:
      values: content of `summary.json`.
      grid: uint8 [H, W] or [H, W, 3], images as training sees them.
    """

    values: dict[str, Any]
    grid: np.ndarray


def inspect(path: str | Path, **options: Any) -> Summary:
    """Return what a data set holds.

    Args:
      path: folder, archive or file of the data, as in `data.root`.
      **options: further fields of the `data` part, as in `size=(32, 32)`.

    Raises:
      UserError: the data cannot be read, or an option is unknown or refused.
    """
    given = {"root": str(path), **options}
    return summarise(fields.replace(Config(), {f"data.{name}": value for name, value in given.items()}))


def run_inspect(request: Request) -> None:
    """Write `inspect/summary.json` and `inspect/grid.png`, and print a table.

    Args:
      request: what was asked; its `data` part and seed count.

    Raises:
      UserError: the data or their configuration are wrong.
    """
    workdir = request.workdir
    if workdir is not None:
        files.check_writable(workdir)
    summary = summarise(request.config)
    inspect_table.print_table(summary.values)
    if workdir is None:
        print("nothing written: name a --workdir to keep summary.json and grid.png")
        return

    def write(folder: Path) -> None:
        files.write_json(folder / "summary.json", summary.values)
        (folder / "grid.png").write_bytes(png(summary.grid))

    files.write_folder(workdir / "inspect", write)
    print(f"written: {workdir}/inspect")


def summarise(config: Config) -> Summary:
    """Return what the data set of a configuration holds.

    Args:
      config: the configuration; its `data` part and seed count.

    Raises:
      UserError: the data or their configuration are wrong.
    """
    dataset = data.open_dataset(config.data, config.seed)
    seen = checks.examine(dataset.train, _MAX_DECODED), checks.examine(dataset.holdout, _MAX_DECODED)
    tiles = _tiles(dataset.train, dataset)
    values = _summary(dataset, *seen, tiles, config.data)
    spread = np.linspace(0, len(tiles) - 1, min(_GRID_IMAGES, len(tiles))).astype(int)
    return Summary(values, grid(batching.to_display(to_uint8(tiles[spread]), config.data)))


def _tiles(source: Source, dataset: Dataset, count: int = 256) -> np.ndarray:
    """float32 [N, H, W, C]: centre tiles spread over the source, as training will see them."""
    stream = data.evaluation_batches(source, dataset.preparation, batch_size=32, limit=count)
    return np.concatenate([batch.image[mask] for batch, mask in stream])


def _summary(
    dataset: Dataset,
    train: list[checks.ImageFacts],
    holdout: list[checks.ImageFacts],
    tiles: np.ndarray,
    asked: DataConfig,
) -> dict[str, Any]:
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
        "modes": dict(Counter(map(_mode, headers)).most_common()),
        "values": _ranges(seen),
        "split": {"train": len(dataset.train), "holdout": len(dataset.holdout), "by": asked.split_by},
        "conditions": dict(zip(dataset.conditions, zip(dataset.preparation.mean, dataset.preparation.std))),
        "condition_ranges": dict(zip(dataset.conditions, zip(dataset.low, dataset.high))),
        "augmentation": dict(zip(dataset.classes, dataset.preparation.transforms)),
        "augmentation_why": _why(dataset, asked, grey=grey),
        "augmentation_risk": _risk(dataset, asked),
        "flat_share": float(np.mean([flat_share(image) for image in to_uint8(tiles)])),
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
        summary["off_key"] = {
            "source": _mean(
                [
                    look.off_key
                    for look in seen
                    if (look.channels, look.dtype, look.copies) == (3, "uint8", False)
                ]
            ),
            "resampled": _mean(
                [off_key_share(image) for image in to_uint8(tiles) if (image != image[..., :1]).any()]
            ),
            "bilinear": checks.off_key_by_averaging(dataset.train, tuple(asked.size), len(tiles)),
        }
    images = batching.to_display(to_uint8(tiles), asked)
    kind = classify_images(images)
    if kind.content in ("colour", "lines"):
        summary["grains"] = {"per_tile": inspect_grains.per_tile(images, kind)}
    if dataset.scans:
        summary["scans"], found = inspect_grains.of_scans(dataset, asked)
        summary["grains"] = summary.get("grains", {}) | found
    elif "grains" in summary:
        summary["grains"] |= inspect_grains.of_images(dataset, kind)
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
    if dataset.preparation.orientations:
        return f"{process}; orientations are moved with the sample (data.ebsd)"
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
