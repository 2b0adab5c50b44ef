"""What an evaluation says in words: warnings, the summary, and the table on the screen."""

import numpy as np
from rich.console import Console
from rich.table import Table

from microgen_jax.evaluation import baseline, denoising_error, statistics
from microgen_jax.evaluation.entries import SMALL
from microgen_jax.evaluation.features import comparison
from microgen_jax.evaluation.sets import Tiles

AUDIT = {
    "copies": "share of tiles that copy a training image",
    "training_distance": "distance to the nearest training image",
}
CONDITIONING_ACCURACY = "conditioning_accuracy"
TOLD = 8  # of the statistics that are farther than the baseline
DESCRIPTIONS = {
    **statistics.DESCRIPTIONS,
    **AUDIT,
    **comparison.DESCRIPTIONS,
    **denoising_error.DESCRIPTIONS,
    CONDITIONING_ACCURACY: "requested against measured conditions, R²",
}


def words(
    metrics: dict[str, dict], real: Tiles, generated: Tiles, compared: int, notes: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Warnings and the summary, as sentences."""
    warnings = list(notes)
    copies = metrics.get("copies", {"value": None})
    if copies["value"] is not None and copies["value"] > copies["baseline"]:
        warnings.append(
            f"{copies['value']:.1%} of the generated tiles copy a training image, "
            f"of the held-out ones {copies['baseline']:.1%}: see the nearest pairs"
        )
    known = {tile.tobytes() for tile in real.images}
    if same := sum(tile.tobytes() in known for tile in generated.images):
        warnings.append(f"{same} generated images are among the real ones, pixel for pixel")
    for name, tiles in (("real", real), ("generated", generated)):
        constant = int(np.sum(np.ptp(tiles.images.reshape(len(tiles.images), -1), axis=1) == 0))
        if constant:
            warnings.append(f"{constant} of {len(tiles.images)} {name} images are one flat colour")
    if compared < SMALL:
        warnings.append(f"only {compared} tiles a side are compared: small faults cannot be seen")
    pooled = {name: entry for name, entry in metrics.items() if "/" not in name and name != "copies"}
    summary = [
        f"{len(generated.images)} generated images ({generated.origin}) are compared with "
        f"{len(real.images)} real ones ({real.origin}), {compared} against {compared} at a time.",
        *_distances({name: entry for name, entry in pooled.items() if not is_score(name)}),
        *_scores({name: entry for name, entry in pooled.items() if is_score(name)}),
    ]
    return warnings, summary


def describe(name: str) -> str:
    """In words, of any metric; of the conditioning accuracy with the condition."""
    if name.startswith(CONDITIONING_ACCURACY):
        return f"{DESCRIPTIONS[CONDITIONING_ACCURACY]}, {name.removeprefix(CONDITIONING_ACCURACY + '_')}"
    return DESCRIPTIONS[name]


def spread(entry: dict) -> str:
    """The interval, or the standard error where there is no ratio to have one."""
    if entry["interval"] is not None:
        return "{:.3g} to {:.3g}".format(*entry["interval"])
    return f"± {entry['standard_error']:.2g}" if "standard_error" in entry else ""


def is_score(name: str) -> bool:
    """Whether less than the baseline is worse, not more."""
    return name in comparison.SCORES or name.startswith(CONDITIONING_ACCURACY)


def _distances(entries: dict[str, dict]) -> list[str]:
    judged = {name: entry for name, entry in entries.items() if entry["ratio"] is not None}
    beyond = {name: entry for name, entry in judged.items() if entry["interval"][0] > 1}
    sentences = ["Nothing was compared that has a real-against-real baseline; the table says why."]
    if judged:
        sentences = [
            f"{len(judged) - len(beyond)} of {len(judged)} statistics are as near to the real images as real "
            "images are to each other."
        ]
    if beyond:
        worst = sorted(beyond, key=lambda name: -beyond[name]["ratio"])
        listed = ", ".join(f"{describe(name)} ({_times(beyond[name]['ratio'])})" for name in worst[:TOLD])
        more = f", and {len(worst) - TOLD} more" if len(worst) > TOLD else ""
        sentences.append(f"Farther from the real images than the baseline: {listed}{more}.")
    never = [
        name
        for name, entry in entries.items()
        if entry["ratio"] is None and entry["baseline"] == 0 and entry["p_value"] < 1 - baseline.LEVEL
    ]
    if never:
        listed = ", ".join(describe(name) for name in never)
        sentences.append(f"Seen in generated images only, the real ones agreeing exactly: {listed}.")
    for name, entry in entries.items():
        if "standard_error" in entry and entry.get("p_value") is not None:
            said = "tells both sets apart" if entry["p_value"] < 0.05 else "cannot tell the sets apart"
            sentences.append(f"The {describe(name)} {said} (p = {entry['p_value']:.3f}).")
    return sentences


def _scores(entries: dict[str, dict]) -> list[str]:
    low = [name for name, entry in entries.items() if entry["interval"] and entry["interval"][1] < 1]
    if not low:
        return []
    listed = ", ".join(f"{describe(name)} ({entries[name]['ratio']:.0%})" for name in low)
    return [f"Less than real images reach among themselves: {listed}."]


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2g} times"


def show(metrics: dict[str, dict], warnings: list[str], summary: list[str]) -> None:
    table = Table("metric", "value", "baseline", "ratio", "interval")
    for name, entry in metrics.items():
        if "/" not in name:
            numbers = (
                "" if entry[field] is None else f"{entry[field]:.3g}"
                for field in ("value", "baseline", "ratio")
            )
            table.add_row(name, *numbers, entry["note"] if entry["value"] is None else spread(entry))
    console = Console()
    console.print(table)
    for line in [*(f"Warning: {warning}" for warning in warnings), *summary]:
        console.print(line, markup=False, highlight=False)
