"""Entries of metrics.json: the same fields for every figure, null where there is none."""

import math
from typing import Any

import numpy as np

from microgen_jax.evaluation.baseline import Comparison, Plan, Statistic
from microgen_jax.evaluation.features.distances import Distance

SMALL = 50  # tiles a side; below it the result says so
FIELDS = ("value", "baseline", "ratio", "interval")


def null(n_real: int, n_generated: int, reason: str) -> dict[str, Any]:
    """What could not be measured, and why."""
    return {**dict.fromkeys(FIELDS), "n_real": n_real, "n_generated": n_generated, "note": reason}


def compared(
    found: Comparison | None, statistic: Statistic, plan: Plan, n_real: int, n_generated: int
) -> dict[str, Any]:
    """A microstructure statistic."""
    if found is None:
        return null(n_real, n_generated, "does not occur in every set that was to be compared")
    unit = "" if statistic.unit == "1" else f"in {statistic.unit}; "
    notes = [f"{unit}{plan.size} against {plan.size} tiles"]
    if plan.size < SMALL:
        notes.append("small samples: the interval is rough")
    exists = math.isfinite(found.ratio)
    if not exists:
        notes.append("the real tiles do not differ at all, the generated ones do")
        notes += ["no more often than chance allows"] if found.interval[0] <= 1 else []
    return {
        "value": found.value,
        "baseline": found.baseline,
        "ratio": found.ratio if exists else None,
        "interval": list(found.interval) if exists else None,
        "n_real": n_real,
        "n_generated": n_generated,
        "note": "; ".join(notes),
    }


def of_features(found: Distance, n_real: int, n_generated: int) -> dict[str, Any]:
    """A distance or score of features; of a kernel distance with its standard error and p-value."""
    entry = {
        "value": found.value,
        "baseline": found.baseline,
        "ratio": found.ratio,
        "interval": None if found.interval is None else list(found.interval),
        "n_real": n_real,
        "n_generated": n_generated,
        "note": f"{found.size} against {found.size} tiles",
    }
    if found.standard_error is None:
        return entry
    if found.p_value is None:
        entry["note"] += "; no permutation test, as real tiles of one group are alike"
    return entry | {"standard_error": found.standard_error, "p_value": found.p_value}


def mean(values: np.ndarray, n_real: int, note: str) -> dict[str, Any]:
    """A mean over real images that nothing is compared with, with its standard error."""
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return null(n_real, 0, note) | {"value": float(values.mean()), "standard_error": error}
