"""What an evaluation says in words: warnings, the summary, and the table on the screen."""

import numpy as np
from rich.console import Console
from rich.table import Table

from microgen_jax.commands.evaluation_sets import Tiles
from microgen_jax.evaluation import statistics

SMALL = 50  # tiles a side; below it the result says so
AUDIT = {
    "copies": "share of tiles that copy a training picture",
    "training_distance": "distance to the nearest training picture",
}
DESCRIPTIONS = statistics.DESCRIPTIONS | AUDIT


def words(
    metrics: dict[str, dict], real: Tiles, generated: Tiles, compared: int, notes: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Warnings and the summary, as sentences."""
    warnings = list(notes)
    copies = metrics.get("copies", {"value": None})
    if copies["value"] is not None and copies["value"] > copies["floor"]:
        warnings.append(
            f"{copies['value']:.1%} of the generated tiles copy a training picture, "
            f"of the held-out ones {copies['floor']:.1%}: see the nearest pairs"
        )
    known = {tile.tobytes() for tile in real.images}
    if same := sum(tile.tobytes() in known for tile in generated.images):
        warnings.append(f"{same} generated pictures are among the real ones, pixel for pixel")
    for name, tiles in (("real", real), ("generated", generated)):
        constant = int(np.sum(np.ptp(tiles.images.reshape(len(tiles.images), -1), axis=1) == 0))
        if constant:
            warnings.append(f"{constant} of {len(tiles.images)} {name} pictures are one flat colour")
    if compared < SMALL:
        warnings.append(f"only {compared} tiles a side are compared: small faults cannot be seen")
    pooled = {name: entry for name, entry in metrics.items() if "/" not in name and name != "copies"}
    judged = {name: entry for name, entry in pooled.items() if entry["ratio"] is not None}
    beyond = {name: entry for name, entry in judged.items() if entry["interval"][0] > 1}
    never = [name for name, entry in pooled.items() if entry["ratio"] is None and entry["value"]]
    worst = sorted(beyond, key=lambda name: -beyond[name]["ratio"])
    summary = [
        f"{len(generated.images)} generated pictures ({generated.origin}) are compared with "
        f"{len(real.images)} real ones ({real.origin}), {compared} against {compared} at a time.",
        f"{len(judged) - len(beyond)} of {len(judged)} statistics are as near to the real pictures as real "
        "pictures are to each other.",
    ]
    if worst:
        listed = ", ".join(f"{DESCRIPTIONS[name]} ({beyond[name]['ratio']:.2g} times)" for name in worst)
        summary.append(f"Farther from the real pictures than the floor: {listed}.")
    if never:
        listed = ", ".join(DESCRIPTIONS[name] for name in never)
        summary.append(f"Seen in generated pictures only, the real ones agreeing exactly: {listed}.")
    return warnings, summary


def show(metrics: dict[str, dict], warnings: list[str], summary: list[str]) -> None:
    table = Table("metric", "value", "floor", "ratio", "interval")
    for name, entry in metrics.items():
        if "/" not in name:
            numbers = (
                "" if entry[field] is None else f"{entry[field]:.3g}" for field in ("value", "floor", "ratio")
            )
            interval = "" if entry["interval"] is None else "{:.2f} to {:.2f}".format(*entry["interval"])
            table.add_row(name, *numbers, interval if entry["value"] is not None else entry["note"])
    console = Console()
    console.print(table)
    for line in [*(f"Warning: {warning}" for warning in warnings), *summary]:
        console.print(line, markup=False, highlight=False)
