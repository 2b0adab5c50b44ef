"""Microstructure statistics of two sets compared: pooled, by class, and with the conditions that were requested."""

import time
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from microgen_jax.evaluation import baseline, conditioning, copy_search, entries, statistics
from microgen_jax.evaluation.baseline import BaselineRatio, SplitPlan, Statistic
from microgen_jax.evaluation.copy_search import CopySearch
from microgen_jax.evaluation.image_set import ImageSet, shared_classes

CONDITIONING_ACCURACY = "conditioning_accuracy"
NO_CONDITIONING = "no conditioning (R² < 0)"


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
    kind: statistics.ImageKind,
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
    if set(wanted) & {*kind.names, CONDITIONING_ACCURACY}:
        measured = statistics.measure(both, kind, lambda count: progress.advance(task, count))
    seconds = {"measuring": round(time.perf_counter() - start, 2)}
    if copies is not None:
        distances = np.concatenate([copies.real, copies.generated])
        measured["training_distance"] = baseline.distribution(
            distances, np.arange(len(distances)), len(distances), "1", "distance to the training data"
        )
    plan = baseline.plan_splits(real.groups, sizes[1], seed=seed)
    metrics, ratios, requested_and_measured = {}, {}, {}
    names = [name for name in measured if name in wanted]
    has_pixel_size = kind.pixel_size_um > 0
    classes = shared_classes(real, generated)
    task = progress.add_task("comparing", total=len(names) * (1 + len(classes)))
    for name in names:
        start = time.perf_counter()
        found = baseline.compare(measured[name], plan)
        metrics[name] = entries.compared(found, measured[name], plan, *sizes, has_pixel_size=has_pixel_size)
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
        rows_real, rows_generated = (
            np.flatnonzero(real.labels == label),
            np.flatnonzero(generated.labels == other),
        )
        own_sizes = len(rows_real), len(rows_generated)
        if own_sizes[0] < baseline.MIN_REAL_TILES or own_sizes[1] < 2:
            reason = f"{own_sizes[0]} real and {own_sizes[1]} generated images are too few"
            metrics |= {f"{name}/{title}": entries.entry(*own_sizes, reason) for name in names}
            progress.advance(task, len(names))
            continue
        own = baseline.plan_splits(real.groups[rows_real], own_sizes[1], seed=seed)
        rows = np.concatenate([rows_real, sizes[0] + rows_generated])
        for name in names:
            statistic = baseline.take(measured[name], rows)
            found = baseline.compare(statistic, own)
            metrics[f"{name}/{title}"] = entries.compared(
                found, statistic, own, *own_sizes, has_pixel_size=has_pixel_size
            )
            progress.advance(task)
    return Compared(metrics, measured, ratios, requested_and_measured, plan, seconds)


def _have_conditions(real: ImageSet, generated: ImageSet, names: tuple[str, ...]) -> bool:
    return real.conditions.shape[1] == generated.conditions.shape[1] == len(names) > 0


def _conditioning_accuracy(
    measured: dict[str, Statistic], real: ImageSet, generated: ImageSet, names: tuple[str, ...]
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Requested against measured values of every continuous condition: entries, and the values."""
    table = conditioning.summaries({n: s for n, s in measured.items() if n in statistics.DESCRIPTIONS})
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
