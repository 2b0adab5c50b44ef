"""What a person asks of the images: a class and conditions for each, checked and in the model's units."""

import math
import numbers
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.config.run_config import Resolved
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.sampling import batching


def choose_labels(resolved: Resolved, num: int, label: Any = None) -> Int[np.ndarray, "num"]:
    """Return the class of each image.

    Args:
      resolved: classes of the run.
      num: number of images.
      label: a class by name, or by index where no name is a number, for all images; a sequence of `num` of them; or
        None (or '') for every class in turn.

    Raises:
      UserError: of `label`: a class that does not exist, or another number of them than of images.
    """
    if label is None or (isinstance(label, str) and not label):
        return batching.in_turn(num, len(resolved.classes))
    if isinstance(label, (Sequence, np.ndarray)) and not isinstance(label, str):
        if len(label) != num:
            raise UserError(
                "label", f"{len(label)} labels for {num} images", "give one label, or one for each image"
            )
        return np.array([_class_index(resolved.classes, one) for one in label], np.int32)
    return np.full(num, _class_index(resolved.classes, label), np.int32)


def _class_index(classes: tuple[str, ...], label: Any) -> int:
    name = unicodedata.normalize("NFC", str(label))
    if name in classes and not isinstance(label, float):
        return classes.index(name)
    numbered = any(known.isdecimal() for known in classes)
    if name.isdecimal() and int(name) < len(classes) and not numbered:
        return int(name)
    fix = f"{did_you_mean(str(label), classes)}there are: {', '.join(classes)}"
    raise UserError("label", f"{str(label)!r} does not exist", fix)


def choose_conditions(
    resolved: Resolved, num: int, condition: Mapping[str, Any], dropout: float
) -> dict[str, Float[np.ndarray, "num"]]:
    """Return the value of every condition for each image, in the data's own units; NaN where it is not given.

    Args:
      resolved: conditions of the run.
      num: number of images.
      condition: by name, one value for all images or an array of `num` values.
      dropout: share of the conditions that was hidden in training; where it is 0 none may be left out.

    Raises:
      UserError: of `condition`: an unknown name, a value that is no finite number, an array of another length, or a
        condition that must be given and is not.
    """
    for name in condition:
        if name not in resolved.conditions:
            known = ", ".join(resolved.conditions) or "none, this model was trained without any"
            near = did_you_mean(str(name), resolved.conditions)
            raise UserError("condition", f"{name!r} does not exist", f"{near}there are: {known}")
    missing = [name for name in resolved.conditions if name not in condition]
    if missing and not dropout:
        raise UserError(
            "condition",
            f"{missing[0]!r} is missing",
            "the model was trained with diffusion.condition_dropout=0 and needs every one of "
            + ", ".join(resolved.conditions),
        )
    return {
        name: _values(name, condition[name], num) if name in condition else np.full(num, np.nan)
        for name in resolved.conditions
    }


def _values(name: str, given: Any, num: int) -> np.ndarray:
    if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, str):
        if isinstance(given, bool) or not isinstance(given, numbers.Real) or not math.isfinite(given):
            raise UserError("condition", f"{name}={given!r} must be a finite number")
        return np.full(num, float(given))
    values = np.asarray(given)
    if values.shape not in ((), (num,)):
        raise UserError(
            "condition", f"{name} has shape {values.shape}", f"give one number, or an array of shape ({num},)"
        )
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise UserError("condition", f"{name} must hold finite numbers only")
    return np.broadcast_to(values.astype(float), num)


def standardise(
    resolved: Resolved, values: Mapping[str, Float[np.ndarray, "num"]], num: int
) -> Float[np.ndarray, "num K"]:
    """Return conditions in units of the training data's spread, float32; NaN stays NaN.

    Args:
      resolved: means and standard deviations of the conditions.
      values: conditions by name, from `choose_conditions`.
      num: number of images.
    """
    columns = [values[name] for name in resolved.conditions]
    asked = np.stack(columns, axis=1) if columns else np.zeros((num, 0))
    return ((asked - np.array(resolved.mean)) / np.array(resolved.std)).astype(np.float32)


def warn_outside(
    resolved: Resolved, labels: Int[np.ndarray, "num"], values: Mapping[str, Float[np.ndarray, "num"]]
) -> None:
    """Warn, on standard error, of values outside the range that the model, or the class asked for, was trained on.

    Args:
      resolved: ranges of the conditions, of all images and of each class.
      labels: class of each image, from `choose_labels`.
      values: conditions by name, from `choose_conditions`.
    """
    for name, low, high in zip(resolved.conditions, resolved.low, resolved.high):
        outside = values[name][(values[name] < low) | (values[name] > high)]
        if outside.size:
            print(
                f"warning: condition {name}={outside[0]:g} ({outside.size} of {len(values[name])} images) lies outside "
                f"of the {low:g} to {high:g} that the model was trained on",
                file=sys.stderr,
            )
    for label, pairs in zip(resolved.classes, resolved.class_ranges):
        here = labels == resolved.classes.index(label)
        for name, low, high, seen in zip(resolved.conditions, resolved.low, resolved.high, pairs):
            inside = here & (values[name] >= low) & (values[name] <= high)
            outside = inside & ((values[name] < seen[0]) | (values[name] > seen[1])) if seen else inside
            if outside.any():
                print(
                    f"warning: condition {name}={values[name][outside][0]:g} ({outside.sum()} of {len(labels)} images)"
                    f" contradicts label={label}, whose training images have "
                    + (f"{seen[0]:g} to {seen[1]:g}" if seen else "no value of it"),
                    file=sys.stderr,
                )
