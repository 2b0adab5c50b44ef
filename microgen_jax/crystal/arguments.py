"""Checks of arrays that come from outside: type, shape and range, refused under the argument's own name.

A check takes one pass over the array at most.
"""

from typing import Any

import numpy as np

from microgen_jax.errors import UserError

UNIT_TOLERANCE = 1e-3  # of the length of a quaternion or direction


def require_uint8_image(where: str, image: Any, shape: tuple[int | None, ...]) -> None:
    """Refuse what is no array of 8-bit values of a shape.

    Args:
      where: name of the argument.
      image: the value.
      shape: sizes of the last axes, None for any; a shape of three or more axes is that of the whole array.

    Raises:
      UserError: another type or shape.
    """
    require_shape(where, image, shape, whole=len(shape) > 1)
    if image.dtype != np.uint8:
        low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
        raise UserError(
            where,
            f"{image.dtype} values from {low:g} to {high:g} must be uint8 from 0 to 255",
            "scale and convert them first, as in np.rint(255 * image).astype(np.uint8) of values from 0 to 1",
        )


def require_floats(where: str, values: Any, last: tuple[int, ...]) -> None:
    """Refuse what is no array of floating-point numbers with these last axes.

    Args:
      where: name of the argument.
      values: the value.
      last: sizes of the last axes.

    Raises:
      UserError: another type or shape.
    """
    require_shape(where, values, last)
    if values.dtype.kind != "f":
        raise UserError(where, f"values of type {values.dtype} must be floating-point numbers")


def require_unit(where: str, values: Any, last: int) -> None:
    """Refuse what is no array of unit quaternions (`last` = 4) or unit directions (`last` = 3).

    Args:
      where: name of the argument.
      values: the value.
      last: size of the last axis.

    Raises:
      UserError: another type or shape, or a length that differs from 1 by more than UNIT_TOLERANCE (or is NaN).
    """
    require_floats(where, values, (last,))
    squared = np.einsum("...i,...i->...", values, values)
    wrong = ~(np.abs(squared - 1) <= 2 * UNIT_TOLERANCE)
    if np.any(wrong):
        length = float(np.sqrt(squared[wrong].flat[0]))
        raise UserError(
            where,
            f"{np.count_nonzero(wrong)} of {wrong.size} vectors are not of length 1 (the first has {length:.4g})",
            "divide each by its length, and leave out the points that are not indexed",
        )


def require_shape(where: str, values: Any, last: tuple[int | None, ...], whole: bool = False) -> None:
    """Refuse what is no numpy array with these last axes.

    Args:
      where: name of the argument.
      values: the value.
      last: sizes of the last axes, None for any.
      whole: whether there may be no axes before them.

    Raises:
      UserError: another type or shape.
    """
    if not isinstance(values, (np.ndarray, np.generic)):
        raise UserError(where, f"is a {type(values).__name__}, not a numpy array", "pass np.asarray(...)")
    found = values.shape[max(values.ndim - len(last), 0) :]
    fits = len(found) == len(last) and all(want in (None, size) for want, size in zip(last, found))
    if not fits or (whole and values.ndim != len(last)):
        sizes = ["any" if size is None else str(size) for size in last]
        wanted = ", ".join(sizes if whole else ["...", *sizes])
        raise UserError(where, f"has the shape {list(values.shape)} where [{wanted}] is needed")
