"""Entries of metrics.json: the same keys for every metric, null where there is no value."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from microgen_jax.evaluation import baseline
from microgen_jax.evaluation.baseline import BaselineRatio, SplitPlan, Statistic
from microgen_jax.evaluation.features.distances import FeatureDistance

FEW_TILES = 50  # tiles a side; below it the note says so
VALUES = ("value", "baseline", "ratio", "interval", "real", "generated", "unit")


def entry(n_real: int, n_generated: int, note: str, **values: Any) -> dict[str, Any]:
    """Return an entry; what is not given is null.

    Args:
      n_real: number of real images.
      n_generated: number of generated images.
      note: how the value was found, or why there is none.
      **values: values by the keys of VALUES, and further keys.
    """
    numbers = {"n_real": n_real, "n_generated": n_generated, "note": note}
    return dict.fromkeys(VALUES) | numbers | values


def compared(
    found: BaselineRatio | None,
    statistic: Statistic,
    plan: SplitPlan,
    n_real: int,
    n_generated: int,
    *,
    has_pixel_size: bool = True,
    note: str = "",
) -> dict[str, Any]:
    """Return the entry of a microstructure statistic.

    Args:
      found: result of `baseline.compare`; None where there is none.
      statistic: the statistic, real tiles first.
      plan: the splits that were compared.
      n_real: number of real images.
      n_generated: number of generated images.
      has_pixel_size: whether lengths are in um; if not, ASTM numbers have a distance and no value.
      note: why there is no result; '' = the statistic does not exist for a side.
    """
    is_real = np.arange(len(statistic.denominator)) < plan.tiles
    values = {"real": mean_of(statistic, is_real), "generated": mean_of(statistic, ~is_real)}
    values["unit"] = statistic.unit
    unknown = statistic.unit == "G" and not has_pixel_size
    if unknown:
        values |= {"real": None, "generated": None}
    if found is None:
        reason = note or "does not occur in every set that was to be compared"
        return entry(n_real, n_generated, reason, **values)
    notes = [f"{plan.size} against {plan.size} tiles"]
    if plan.size < FEW_TILES:
        notes.append("small samples: the interval is rough")
    if unknown:
        notes.append("the numbers themselves need the pixel size (pixel_size_um)")
    values |= {"value": found.value, "baseline": found.baseline}
    if math.isfinite(found.ratio):
        values |= {"ratio": found.ratio, "interval": list(found.interval)}
    else:
        notes.append("the real tiles do not differ at all, the generated ones do")
        notes += ["no more often than chance allows"] if found.interval[0] <= 1 else []
        values["p_value"] = baseline.chance(statistic, plan)
    return entry(n_real, n_generated, "; ".join(notes), **values)


def of_features(found: FeatureDistance, n_real: int, n_generated: int) -> dict[str, Any]:
    """Return the entry of a distance or score of features; of a kernel distance with standard error and p-value.

    Args:
      found: the distance.
      n_real: number of real images.
      n_generated: number of generated images.
    """
    note = f"{found.size} against {found.size} tiles"
    values = {
        "value": found.value,
        "baseline": found.baseline,
        "ratio": found.ratio,
        "interval": None if found.interval is None else list(found.interval),
    }
    if found.standard_error is not None:
        values |= {"standard_error": found.standard_error, "p_value": found.p_value}
        if found.p_value is None:
            note += "; no permutation test, as real tiles of one group are alike"
    return entry(n_real, n_generated, note, **values)


def mean(values: Float[np.ndarray, "N"], unit: str, note: str) -> dict[str, Any]:
    """Return the entry of a mean over real images that nothing is compared with, with its standard error.

    Args:
      values: value of each image.
      unit: unit of the values.
      note: how they were found.
    """
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return entry(len(values), 0, note, value=float(values.mean()), unit=unit, standard_error=error)


def mean_of(statistic: Statistic, chosen: np.ndarray) -> float | None:
    """Return the mean of a distribution, or the single number, pooled over some tiles; None for curves.

    Args:
      statistic: the statistic.
      chosen: which tiles, bool [N].
    """
    if not len(statistic.grid):
        return None
    pooled = baseline.pool(statistic, chosen[None].astype(float))[0]
    if statistic.distribution:
        value = float(pooled @ statistic.grid)
    elif len(pooled) == 1:
        value = float(pooled[0])
    else:
        return None
    return value if math.isfinite(value) else None
