"""--mode=inspect: what the data set of a configuration holds, before it is trained on."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from microgen_jax import data, files
from microgen_jax.config import fields
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config, DataConfig
from microgen_jax.crystal.ipf import off_key_share
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.data import Dataset, checks, overlaps
from microgen_jax.data.decoding import Header
from microgen_jax.evaluation import grains, statistics
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
    _print(summary.values)
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
    kind = statistics.classify_images(images)
    if kind.content in ("colour", "lines"):
        summary["grains"] = _grains(statistics.labels_of(images, kind))
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


def _values(found: dict[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{low:g} to {high:g}" + (f" ({depth})" if len(found) > 1 else "")
        for depth, (low, high) in found.items()
    )


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


def _grains(labels: np.ndarray) -> dict[str, Any]:
    """Grains of the tiles: how many a tile, and the mean diameter of those that no edge cuts, in px."""
    found = grains.measure(labels)
    whole = found.diameter[found.whole]
    return {
        "per_tile": len(found.diameter) / len(labels),
        "whole": len(whole),
        "mean_diameter": float(whole.mean()) if len(whole) else None,
    }


def _scan_line(scan: dict[str, Any]) -> str:
    phases = ", ".join(
        f"{phase['name'] or f'phase {number}'} ({phase['laue_group'] or 'no Laue group'}) {phase['share']:.1%}"
        for number, phase in scan["phases"].items()
    )
    size = f"{scan['pixel_size_um']:g} um" if scan["pixel_size_um"] else "pixel size unknown"
    return f"{scan['scan']}: {'x'.join(map(str, scan['size']))} px, {size}, {scan['unindexed']:.1%} unindexed, {phases}"


def _print(summary: dict[str, Any]) -> None:
    table = Table("", "", show_header=False)
    sizes = list(summary["sizes"].items())
    more = f", and {len(sizes) - 6} more" if len(sizes) > 6 else ""
    table.add_row("source", f"{summary['source']}, {summary['dtype']}, {summary['channels']} channels")
    table.add_row("images", f"{summary['count']} ({summary['looked_at']} looked at)")
    table.add_row("classes", ", ".join(f"{name} {n}" for name, n in summary["classes"].items()))
    table.add_row("sizes", ", ".join(f"{size} ({n})" for size, n in sizes[:6]) + more)
    table.add_row("modes", ", ".join(f"{mode} ({n})" for mode, n in summary["modes"].items()))
    table.add_row("values", _values(summary["values"]))
    if summary["copied_channels"]:
        table.add_row("copied channels", f"in {summary['copied_channels']} images: data.channels=1 is enough")
    if summary["channels"] == 3 and all(mode.startswith("1 channel,") for mode in summary["modes"]):
        table.add_row("grey", "every image has one channel: data.channels=1 is enough")
    by = f", split by {summary['split']['by']}" if summary["split"]["by"] else ""
    table.add_row("split", f"{summary['split']['train']} train, {summary['split']['holdout']} held out{by}")
    for name, (mean, std) in summary["conditions"].items():
        low, high = summary["condition_ranges"][name]
        spread = f"{low:g} to {high:g}, mean {mean:.4g}, standard deviation {std:.4g} in training"
        if low == high:
            spread = f"{low:g} in all of training: nothing can be learnt from it"
        table.add_row(f"condition, {name}", spread)
    for name, elements in summary["augmentation"].items():
        table.add_row(f"augmentation, {name}", ", ".join(elements))
    table.add_row("augmentation", summary["augmentation_why"])
    if summary["augmentation_risk"]:
        table.add_row("augmentation, risk", summary["augmentation_risk"])
    table.add_row(
        "flat neighbours", f"{summary['flat_share']:.1%} of pixel pairs differ by 24 of 255 at most"
    )
    if "off_key" in summary:
        shares = summary["off_key"]
        table.add_row(
            "off the colour key",
            f"{shares['source']:.2%}, as trained {shares['resampled']:.2%};"
            f" bilinear resampling would make it {shares['bilinear']:.2%}",
        )
    if "grains" in summary:
        found = summary["grains"]
        size = f"mean diameter {found['mean_diameter']:.1f} px" if found["whole"] else "all cut by an edge"
        table.add_row("grains", f"{found['per_tile']:.1f} a tile, {found['whole']} whole in all, {size}")
    if summary["pixel_size_um"]:
        table.add_row("pixel size", f"{summary['pixel_size_um']:g} um")
    for scan in summary["scans"]:
        table.add_row("scan", _scan_line(scan))
    for entry in summary["refused"]:
        table.add_row("refused", f"{entry['file']}: {entry['reason']}")
    for note in summary["notes"]:
        table.add_row("note", note)
    for line in summary["unused"]:
        table.add_row("not used", line)
    Console(highlight=False, markup=False, emoji=False).print(table)
    for warning in summary["overlaps"]["warnings"]:
        print(f"warning: {warning}")
    if summary["leaks"]:
        worst = summary["leaks"][0]
        split_by = summary["split"]["by"]
        mend = f"they are split by {split_by!r}" if split_by else "set data.split_by"
        print(
            f"warning: {len(summary['leaks'])} held-out images are near copies of training images, such as "
            f"{worst['a']} and {worst['b']} (correlation {worst['correlation']:.3f}); {mend}"
        )
