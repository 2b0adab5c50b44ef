"""Which points a program could not index: one rule a vendor.

  TSL / EDAX: 4 pi in all three angles; CI below 0; (0, 0, 0) with CI 0 and no sound fit; `Valid` not 0 (HDF5).
    Sources: OIM's manual, EbsdLib's AngReader, the notes in EDAX' own files.
  Oxford / HKL: phase 0; (0, 0, 0) where Error is not 0, or MAD or Bands are 0.
    Sources: HKL's Channel 5 manual, MTEX's loadEBSD_ctf, the h5oina specification 5.0.
  Bruker: phase below 1; (0, 0, 0) where MAD or NIndexedBands are 0.
    Sources: orix' bruker_h5ebsd, EbsdLib's H5EspritReader.
  DREAM.3D: phase 0; `Mask` false; what TSL's or Oxford's column says where the file has it.
    Source: simplnx's threshold filters.

A column of zeros without spread says nothing: simulated scans carry CI 0, MAD 0 or Bands 0 throughout. So (0, 0, 0)
with a good fit is an orientation. Oxford's points with an Error but with angles were filled in by its clean-up, and
stay.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from microgen_jax.errors import UserError

FULL_TURNS = 4 * np.pi  # TSL writes 4 pi into all three angles of a point that it could not index
WORST_FIT = 90.0  # deg; TSL writes 180 where there is no fit

Failures = dict[str, Bool[np.ndarray, "N"]]
Column = Shaped[np.ndarray, "N"] | None


class Confidence(NamedTuple):
    """Confidence of the indexing, as the program gives it.

    Attributes:
      name: name of the column, CI or MAD.
      values: one a point [N].
      higher_is_better: True of CI, False of MAD.
    """

    name: str
    values: Shaped[np.ndarray, "N"]
    higher_is_better: bool


def confidence_of(ci: Column = None, mad: Column = None) -> Confidence | None:
    """Return the column that a threshold applies to; None where the file has none.

    Args:
      ci: confidence index of each point.
      mad: mean angular deviation of each point in degrees.
    """
    if ci is not None:
        return Confidence("CI", ci, True)
    return None if mad is None else Confidence("MAD", mad, False)


def tsl_failures(euler: Float[np.ndarray, "N 3"], ci: Column = None, fit: Column = None) -> Failures:
    """Return the points that TSL did not index, by reason.

    Args:
      euler: Bunge's angles in radians.
      ci: confidence index of each point.
      fit: angular misfit of each point in degrees.
    """
    failed = {"4 pi angles": (np.abs(euler - FULL_TURNS) < 1e-3).all(axis=-1)}
    if ci is not None:
        failed["CI below 0"] = ci < 0
    if says_something(ci):
        unfit = ~((fit > 0) & (fit < WORST_FIT)) if says_something(fit) else np.ones(len(euler), bool)
        failed["angles (0, 0, 0) with CI 0"] = (euler == 0).all(axis=-1) & (ci == 0) & unfit
    return failed


def oxford_failures(
    euler: Float[np.ndarray, "N 3"],
    phase: Shaped[np.ndarray, "N"],
    error: Column = None,
    mad: Column = None,
    bands: Column = None,
) -> Failures:
    """Return the points that Oxford or Bruker did not index, by reason.

    Args:
      euler: Bunge's angles in radians.
      phase: number of the phase of each point.
      error: code of each point, 0 where it was indexed.
      mad: mean angular deviation of each point in degrees.
      bands: number of bands that fit at each point.
    """
    failed = {"phase 0": phase <= 0}
    zero = (euler == 0).all(axis=-1)
    if error is not None:
        failed["angles (0, 0, 0) with an Error"] = zero & (error != 0)
    for name, values in (("MAD", mad), ("Bands", bands)):
        if says_something(values):
            failed[f"angles (0, 0, 0) with {name} 0"] = zero & (values == 0)
    return failed


def says_something(values: Column) -> bool:
    """Return whether a column is there and differs between points.

    Args:
      values: the column, or None.
    """
    if values is None or len(values) < 2:
        return values is not None
    return bool((values != values[0]).any())


def judge(failures: Failures) -> tuple[Bool[np.ndarray, "N"], tuple[str, ...]]:
    """Return which points are indexed, and a note on the others.

    Args:
      failures: points that are not indexed, by reason; a point counts under its first.
    """
    failed, counts = np.zeros(len(next(iter(failures.values()))), bool), []
    for reason, points in failures.items():
        if fresh := int((points & ~failed).sum()):
            counts.append(f"{fresh} with {reason}")
        failed |= points
    if not counts:
        return ~failed, ()
    return ~failed, (f"{failed.mean():.1%} of the points are unindexed: {', '.join(counts)}",)


def above_threshold(
    confidence: Confidence | None, indexed: Bool[np.ndarray, "N"], threshold: float
) -> tuple[Bool[np.ndarray, "N"], tuple[str, ...]]:
    """Return which points stay indexed under a threshold, and a note on the others.

    Args:
      confidence: the file's column; None where it has none.
      indexed: which points the program indexed.
      threshold: least CI, or largest MAD in degrees; 0 = off.

    Raises:
      UserError: a threshold where the file has neither.
    """
    if not threshold:
        return indexed, ()
    if confidence is None:
        raise UserError("path", "has no CI and no MAD for data.min_confidence", "set it to 0")
    values = confidence.values
    good = values >= threshold if confidence.higher_is_better else values <= threshold
    side = "below" if confidence.higher_is_better else "above"
    lost = int((indexed & ~good).sum())
    note = f"{lost} points with {confidence.name} {side} {threshold:g} are unindexed (min_confidence)"
    return indexed & good, (note,)
