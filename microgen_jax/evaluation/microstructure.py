"""Microstructure statistics of two sets compared: pooled, by class, and with the conditions that were requested."""

import time
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from microgen_jax.evaluation import baseline, conditioning, copy_search, entries, statistics
from microgen_jax.evaluation.baseline import BaselineRatio, SplitPlan, Statistic
from microgen_jax.evaluation.copy_search import CopySearch
from microgen_jax.evaluation.image_kind import ImageKind
from microgen_jax.evaluation.image_set import ImageSet, shared_classes

CONDITIONING_ACCURACY = "conditioning_accuracy"
NO_CONDITIONING = "no conditioning (R² < 0)"
MEAN_ONLY = "means only"


class Compared(NamedTuple):
    """Compared microstructure statistics.

    Attributes:
      metrics: entries of metrics.json, by name; those of a class are called NAME/CLASS.
      statistics: pooled statistics, by name.
      ratios: values and baselines with their curves, by name.
      requested_and_measured: requested and measured values of each continuous condition, standardised.
      plan: splits of the pooled comparison.
      seconds: time of each part.
    """

    metrics: dict[str, dict]
    statistics: dict[str, Statistic]
    ratios: dict[str, BaselineRatio]
    requested_and_measured: dict[str, tuple[np.ndarray, np.ndarray]]
    plan: SplitPlan
    seconds: dict[str, float]


def compare(
    real: ImageSet,
    generated: ImageSet,
    kind: ImageKind,
    copies: CopySearch | None,
    wanted: list[str],
    condition_names: tuple[str, ...],
    seed: int,
    progress: Progress,
) -> Compared:
    """Compare the statistics that are wanted, pooled and by class.

    Args:
      real: real images.
      generated: generated images.
      kind: result of `classify_images` for the real images.
      copies: result of the search for copies, or None.
      wanted: names of statistics.
      condition_names: names of the continuous conditions.
      seed: seed of the splits and resamples.
      progress: progress display.
    """
    sizes = len(real.images), len(generated.images)
    task = progress.add_task("measuring", total=sum(sizes))
    start = time.perf_counter()
    both = np.concatenate([real.images, generated.images])
    measured = {}
    if set(wanted) & {*statistics.names_of(kind), CONDITIONING_ACCURACY}:
        measured = statistics.measure(both, kind, lambda count: progress.advance(task, count))
    seconds = {"measuring": round(time.perf_counter() - start, 2)}
    if copies is not None:
        distances = np.concatenate([copies.real, copies.generated])
        measured["training_distance"] = baseline.distribution(
            distances, np.arange(len(distances)), len(distances), "1", "distance to the training data"
        )
    plan = baseline.plan_splits(real.groups, sizes[1], seed=seed)
    measured_and_wanted = {name: statistic for name, statistic in measured.items() if name in wanted}
    classes = shared_classes(real, generated)
    task = progress.add_task("comparing", total=len(measured_and_wanted) * (1 + len(classes)))
    metrics, ratios, requested_and_measured = {}, {}, {}
    for name, statistic in measured_and_wanted.items():
        start = time.perf_counter()
        metrics[name], found = _compared(name, statistic, plan, sizes, kind)
        seconds[name] = round(time.perf_counter() - start, 2)
        if found is not None:
            ratios[name] = found
        progress.advance(task)
    if copies is not None and "copies" in wanted:
        metrics["copies"] = copy_search.copies(copies)
    if CONDITIONING_ACCURACY in wanted and _have_conditions(real, generated, condition_names):
        found, requested_and_measured = _conditioning_accuracy(measured, real, generated, condition_names)
        metrics |= found
    for label, other, title in classes:
        rows = np.flatnonzero(real.labels == label), np.flatnonzero(generated.labels == other)
        own = _class_entries(measured_and_wanted, real.groups, rows, kind, seed)
        metrics |= {f"{name}/{title}": entry for name, entry in own.items()}
        progress.advance(task, len(measured_and_wanted))
    return Compared(metrics, measured, ratios, requested_and_measured, plan, seconds)


def _compared(
    name: str, statistic: Statistic, plan: SplitPlan, sizes: tuple[int, int], kind: ImageKind
) -> tuple[dict[str, Any], BaselineRatio | None]:
    found = None if name in statistics.MEANS_ONLY else baseline.compare(statistic, plan)
    note = MEAN_ONLY if name in statistics.MEANS_ONLY else ""
    has_pixel_size = kind.pixel_size_um > 0
    return entries.compared(found, statistic, plan, *sizes, has_pixel_size=has_pixel_size, note=note), found


def _class_entries(
    measured: dict[str, Statistic],
    groups: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    kind: ImageKind,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Entries of the real and generated images of one class, `rows` of their sides."""
    sizes = len(rows[0]), len(rows[1])
    if sizes[0] < baseline.MIN_REAL_TILES or sizes[1] < 2:
        reason = f"{sizes[0]} real and {sizes[1]} generated images are too few"
        return {name: entries.entry(*sizes, reason) for name in measured}
    plan = baseline.plan_splits(groups[rows[0]], sizes[1], seed=seed)
    both = np.concatenate([rows[0], len(groups) + rows[1]])
    return {
        name: _compared(name, baseline.take(statistic, both), plan, sizes, kind)[0]
        for name, statistic in measured.items()
    }


def _have_conditions(real: ImageSet, generated: ImageSet, names: tuple[str, ...]) -> bool:
    return real.conditions.shape[1] == generated.conditions.shape[1] == len(names) > 0


def _conditioning_accuracy(
    measured: dict[str, Statistic], real: ImageSet, generated: ImageSet, names: tuple[str, ...]
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Requested against measured values of every continuous condition: entries, and the values."""
    compared = set(statistics.DESCRIPTIONS) - set(statistics.MEANS_ONLY)
    table = conditioning.summaries({name: own for name, own in measured.items() if name in compared})
    sizes = len(real.images), len(generated.images)
    found, requested_and_measured = {}, {}
    for k, condition in enumerate(names):
        name = f"{CONDITIONING_ACCURACY}_{condition}"
        accuracy = conditioning.conditioning_accuracy(
            table[: sizes[0]], real.conditions[:, k], table[sizes[0] :], generated.conditions[:, k]
        )
        if accuracy is None:
            reason = f"fewer than {conditioning.MIN_IMAGES} images of a side have it, or all have the same"
            found[name] = entries.entry(*sizes, reason)
            continue
        requested_and_measured[name] = accuracy.requested, accuracy.measured
        values = {"value": accuracy.value, "baseline": accuracy.baseline, "unit": "1"}
        if accuracy.baseline > 0 and accuracy.value >= 0:
            values |= {"ratio": accuracy.value / accuracy.baseline, "interval": list(accuracy.interval)}
        note = (
            "R² of requested against measured; the baseline is that of known against measured in real images"
        )
        note += f"; {NO_CONDITIONING}" if accuracy.value < 0 else ""
        found[name] = entries.entry(*sizes, note, **values)
    return found, requested_and_measured
