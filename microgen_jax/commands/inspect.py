"""--mode=inspect: what the data set of a configuration holds, before it is trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from microgen_jax import data, files
from microgen_jax.config import fields
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config, DataConfig
from microgen_jax.data import Dataset, summary, summary_table
from microgen_jax.data.rendered import rendered
from microgen_jax.data.sources.ebsd import read_scans
from microgen_jax.evaluation import classify_images, grain_finding, grain_size
from microgen_jax.images import grid, png

_GRID_IMAGES = 36


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
      request: the parsed command line, of which the `data` part and the seed are used.

    Raises:
      UserError: the data or their configuration are wrong.
    """
    workdir = request.workdir
    if workdir is not None:
        files.check_writable(workdir)
    found = summarise(request.config)
    Console(highlight=False, markup=False, emoji=False).print(summary_table.table_of(found.values))
    for warning in summary_table.warnings_of(found.values):
        print(f"warning: {warning}")
    if workdir is None:
        print("nothing written: name a --workdir to keep summary.json and grid.png")
        return

    def write(folder: Path) -> None:
        files.write_json(folder / "summary.json", found.values)
        (folder / "grid.png").write_bytes(png(found.grid))

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
    tiles = summary.tiles_of(dataset)
    values = summary.summarise(dataset, config.data, tiles)
    values |= _grains(dataset, config.data, tiles)
    spread = np.linspace(0, len(tiles) - 1, min(_GRID_IMAGES, len(tiles))).astype(int)
    return Summary(values, grid(tiles[spread]))


def _grains(dataset: Dataset, asked: DataConfig, images: np.ndarray) -> dict[str, Any]:
    """Return the grains of scans by orientation, of images by colour or boundary lines; {} where there are none."""
    kind = classify_images(images)
    stored_um = dataset.pixel_size_um / dataset.pixel_scale if dataset.pixel_scale else 0.0
    grains, found = {}, {}
    if kind.content in ("colour", "lines"):
        grains["per_tile"] = grain_size.per_tile(images, kind)
    if dataset.scans:
        scans = read_scans(Path(asked.root), [scan["scan"] for scan in dataset.scans], asked)
        sizes = {name: grain_size.of_map(scan) for name, scan in scans}
        found["scans"] = [scan | sizes[scan["scan"]].to_json(scan["pixel_size_um"]) for scan in dataset.scans]
        grains |= grain_size.summed(sizes.values(), stored_um, grain_size.BY_ORIENTATION)
    elif grains:
        shown = rendered(dataset.train, dataset.preparation.representation)
        sizes = [grain_size.of_image(image, kind) for image in summary.whole_images(shown)]
        grains |= grain_size.summed(sizes, stored_um, f"whole images, {grain_finding.method(kind)}")
    return found | ({"grains": grains} if grains else {})
