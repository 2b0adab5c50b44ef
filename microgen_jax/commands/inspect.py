"""--mode=inspect: what the data set that the config names holds, before an hour of GPU is spent on it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from microgen_jax import data
from microgen_jax.commands import settings
from microgen_jax.commands.command_line import Request
from microgen_jax.crystal.colour import off_key_share
from microgen_jax.crystal.segment import flat_share
from microgen_jax.data import Dataset, audit
from microgen_jax.evaluation import figures
from microgen_jax.training import files
from microgen_jax.types import Source

_LOOKED_AT = 2000
_SHOWN = 36


def inspect(request: Request) -> None:
    """Writes `inspect/summary.json` and `inspect/grid.png`, and prints a table.

    Raises:
      UserError: what is wrong with the data or the config.
    """
    config, workdir = request.config, request.workdir
    settings.check(config)
    if workdir is not None:
        files.check_writable(workdir)
    dataset = data.open_dataset(config.data, config.seed)
    seen = audit.look(dataset.train, _LOOKED_AT), audit.look(dataset.holdout, _LOOKED_AT)
    tiles = _tiles(dataset.train, dataset)
    summary = _summary(dataset, *seen, tiles, colours=bool(config.data.ipf_direction))
    _print(summary)
    if workdir is None:
        print("nothing written: name a --workdir to keep summary.json and grid.png")
        return
    grid = figures.grid(figures.to_uint8(tiles[:_SHOWN]))

    def write(folder: Path) -> None:
        files.write_json(folder / "summary.json", summary)
        (folder / "grid.png").write_bytes(figures.png(grid))

    files.write_folder(workdir / "inspect", write)
    print(f"written: {workdir}/inspect")


def _tiles(source: Source, dataset: Dataset, count: int = 256) -> np.ndarray:
    """float32 [N, H, W, C]: centre tiles spread over the source, as training will see them."""
    stream = data.evaluation_batches(source, dataset.preparation, batch_size=32, limit=count)
    return np.concatenate([batch.image[mask] for batch, mask in stream])


def _summary(
    dataset: Dataset, train: list[audit.Look], holdout: list[audit.Look], tiles: np.ndarray, colours: bool
) -> dict[str, Any]:
    seen = train + holdout
    labels = Counter(dataset.classes[look.label] for look in seen)
    summary = {
        "source": dataset.kind,
        "count": len(dataset.train) + len(dataset.holdout),
        "looked_at": len(seen),
        "classes": {name: labels[name] for name in dataset.classes},
        "sizes": dict(Counter(f"{look.height}x{look.width}" for look in seen).most_common()),
        "channels": dataset.preparation.channels,
        "channels_are_copies": all(look.copies for look in seen),
        "dtype": dataset.dtype,
        "split": {"train": len(dataset.train), "holdout": len(dataset.holdout)},
        "conditions": dict(zip(dataset.conditions, zip(dataset.preparation.mean, dataset.preparation.std))),
        "augmentation": dict(zip(dataset.classes, dataset.preparation.transforms)),
        "flat_share": float(np.mean([flat_share(image) for image in figures.to_uint8(tiles)])),
        "refused": [{"file": file, "reason": reason} for file, reason in dataset.refused],
        "leaks": [
            {"a": leak.a, "b": leak.b, "correlation": leak.correlation}
            for leak in audit.leaks(train, holdout)
        ],
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint,
    }
    if colours and dataset.preparation.channels == 3:
        summary["off_key"] = {
            "source": float(np.mean([look.off_key for look in seen])),
            "resampled": float(np.mean([off_key_share(image) for image in figures.to_uint8(tiles)])),
        }
    return summary


def _print(summary: dict[str, Any]) -> None:
    table = Table("", "", show_header=False)
    sizes = list(summary["sizes"].items())
    more = f", and {len(sizes) - 6} more" if len(sizes) > 6 else ""
    table.add_row("source", f"{summary['source']}, {summary['dtype']}, {summary['channels']} channels")
    table.add_row("pictures", f"{summary['count']} ({summary['looked_at']} looked at)")
    table.add_row("classes", ", ".join(f"{name} {n}" for name, n in summary["classes"].items()))
    table.add_row("sizes", ", ".join(f"{size} ({n})" for size, n in sizes[:6]) + more)
    table.add_row("split", f"{summary['split']['train']} train, {summary['split']['holdout']} held out")
    for name, elements in summary["augmentation"].items():
        table.add_row(f"augmentation, {name}", ", ".join(elements))
    table.add_row(
        "flat neighbours", f"{summary['flat_share']:.1%} of pixel pairs differ by 24 of 255 at most"
    )
    if "off_key" in summary:
        shares = summary["off_key"]
        table.add_row("off the colour key", f"{shares['source']:.2%}, as trained {shares['resampled']:.2%}")
    for entry in summary["refused"]:
        table.add_row("refused", f"{entry['file']}: {entry['reason']}")
    for note in summary["notes"]:
        table.add_row("note", note)
    Console(highlight=False).print(table)
    if summary["leaks"]:
        worst = summary["leaks"][0]
        print(
            f"warning: {len(summary['leaks'])} held-out pictures are near copies of training pictures, such as "
            f"{worst['a']} and {worst['b']} (correlation {worst['correlation']:.3f}); set data.split_by"
        )
