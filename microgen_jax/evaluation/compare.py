"""The part of `--mode=evaluate` that compares microstructure statistics, pooled, by class, and with the conditions."""

import math
import time
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from microgen_jax.evaluation import baseline, conditioning, entries, statistics, training_copies
from microgen_jax.evaluation.baseline import Comparison, Plan, Statistic
from microgen_jax.evaluation.sets import Tiles
from microgen_jax.evaluation.summary import CONDITIONING_ACCURACY
from microgen_jax.evaluation.training_copies import Audit


class Outcome(NamedTuple):
    """Entries of metrics.json, and what is behind them.

    Attributes:
      metrics: entries.
      statistics, compared: pooled, by name.
      requested_and_measured: requested and measured values of each continuous condition, standardised.
      plan: of the pooled comparison.
      seconds: of each part.
    """

    metrics: dict[str, dict]
    statistics: dict[str, Statistic]
    compared: dict[str, Comparison]
    requested_and_measured: dict[str, tuple[np.ndarray, np.ndarray]]
    plan: Plan
    seconds: dict[str, float]


def compare(
    real: Tiles,
    generated: Tiles,
    image_kind: statistics.ImageKind,
    audit: Audit | None,
    wanted: list[str],
    condition_names: tuple[str, ...],
    seed: int,
    progress: Progress,
) -> Outcome:
    """Compares the statistics that are wanted, pooled and by class."""
    n_real, n_generated = len(real.images), len(generated.images)
    task = progress.add_task("measuring", total=n_real + n_generated)
    start = time.perf_counter()
    both = np.concatenate([real.images, generated.images])
    measured = {}
    if set(wanted) & {*image_kind.names, CONDITIONING_ACCURACY}:
        measured = statistics.measure(both, image_kind, lambda count: progress.advance(task, count))
    seconds = {"measuring": round(time.perf_counter() - start, 2)}
    if audit is not None:
        distances = np.concatenate([audit.real, audit.generated])
        measured["training_distance"] = baseline.distribution(
            distances, np.arange(len(distances)), len(distances), "1", "distance to the training data"
        )
    plan = baseline.plan(real.groups, n_generated, seed=seed)
    metrics, compared, requested_and_measured = {}, {}, {}
    names = [name for name in measured if name in wanted]
    classes = classes_of(real, generated)
    task = progress.add_task("comparing", total=len(names) * (1 + len(classes)))
    for name in names:
        start = time.perf_counter()
        found = baseline.compare(measured[name], plan)
        metrics[name] = entries.compared(found, measured[name], plan, n_real, n_generated)
        seconds[name] = round(time.perf_counter() - start, 2)
        if found is not None:
            compared[name] = found
            metrics[name] |= (
                {"p_value": baseline.chance(measured[name], plan)} if found.ratio == math.inf else {}
            )
        progress.advance(task)
    if audit is not None and "copies" in wanted:
        metrics["copies"] = training_copies.copies(audit)
    if CONDITIONING_ACCURACY in wanted and generated.conditions.shape[1]:
        found, requested_and_measured = _conditioning_accuracy(measured, real, generated, condition_names)
        metrics |= found
    for label, other, title in classes:
        rows_real, rows_generated = (
            np.flatnonzero(real.labels == label),
            np.flatnonzero(generated.labels == other),
        )
        sizes = len(rows_real), len(rows_generated)
        if sizes[0] < baseline.LEAST_TILES or sizes[1] < 2:
            reason = f"{sizes[0]} real and {sizes[1]} generated images are too few"
            metrics |= {f"{name}/{title}": entries.null(*sizes, reason) for name in names}
            progress.advance(task, len(names))
            continue
        own = baseline.plan(real.groups[rows_real], sizes[1], seed=seed)
        rows = np.concatenate([rows_real, n_real + rows_generated])
        for name in names:
            statistic = baseline.take(measured[name], rows)
            metrics[f"{name}/{title}"] = entries.compared(
                baseline.compare(statistic, own), statistic, own, *sizes
            )
            progress.advance(task)
    return Outcome(metrics, measured, compared, requested_and_measured, plan, seconds)


def classes_of(real: Tiles, generated: Tiles) -> list[tuple[int, int, str]]:
    """Classes that both sides name, as numbered on either; none where a side has no classes to tell apart."""
    if min(len(real.classes), len(generated.classes)) < 2:
        return []
    return [
        (n, generated.classes.index(name), name)
        for n, name in enumerate(real.classes)
        if name in generated.classes
    ]


def missing_classes(real: Tiles, generated: Tiles) -> tuple[str, ...]:
    """What must be said of classes that cannot be compared, in sentences."""
    if len(real.classes) < 2:
        return ()
    if len(generated.classes) < 2:
        return ("the generated images are not told apart by class: all classes are compared together",)
    notes = []
    for side, own, others in (("real", real, generated), ("generated", generated, real)):
        alone = [name for name in own.classes if name not in others.classes]
        if alone:
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            notes.append(f"classes of the {side} images only, not compared: {', '.join(alone[:5])}{more}")
    return tuple(notes)


def _conditioning_accuracy(
    measured: dict[str, Statistic], real: Tiles, generated: Tiles, names: tuple[str, ...]
) -> tuple[dict[str, dict], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Requested against measured values of every continuous condition: entries, and the values."""
    summaries = conditioning.summaries({n: s for n, s in measured.items() if n in statistics.DESCRIPTIONS})
    first, second = summaries[: len(real.images)], summaries[len(real.images) :]
    found, requested_and_measured = {}, {}
    for k, name in enumerate(names):
        sizes = len(real.images), len(generated.images)
        one = conditioning.conditioning_accuracy(
            first, real.conditions[:, k], second, generated.conditions[:, k]
        )
        if one is None:
            reason = f"fewer than {conditioning.LEAST} images of a side have it, or all have the same"
            found[f"{CONDITIONING_ACCURACY}_{name}"] = entries.null(*sizes, reason)
            continue
        requested_and_measured[f"{CONDITIONING_ACCURACY}_{name}"] = one.requested, one.measured
        found[f"{CONDITIONING_ACCURACY}_{name}"] = {
            "value": one.value,
            "baseline": one.baseline,
            "ratio": one.value / one.baseline if one.baseline > 0 else None,
            "interval": list(one.interval) if one.baseline > 0 else None,
            "n_real": sizes[0],
            "n_generated": sizes[1],
            "note": "R² of requested against measured; the baseline is that of known against measured in real images",
        }
    return found, requested_and_measured
