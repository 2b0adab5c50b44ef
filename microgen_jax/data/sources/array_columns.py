"""Arrays beside the images of a file: those of one value an image are classes or columns, the others are named."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources.array_layout import StoredArray
from microgen_jax.data.sources.file_tree import BROKEN_HDF5, reason_of

LABELS, NAMES = "labels", "names"  # of the classes that the labels number
MAX_NAMED = 20  # arrays of a file that are named one by one


class Columns(NamedTuple):
    """What the other arrays of a file give.

    Attributes:
      label: name of the array of the classes, '' = none.
      columns: arrays of one value an image, by name.
      names: names of the classes that integers in `label` number; empty = none.
      unused: a phrase for each other array.
    """

    label: str
    columns: dict[str, np.ndarray]
    names: tuple[str, ...]
    unused: tuple[str, ...]


def columns_of(array: StoredArray, count: int) -> Columns:
    """Sort the arrays beside the images of a file.

    The classes are the array `labels`, or the only one of integers or names that has a value for each image, where
    there are two images a class or more.

    Args:
      array: the array of the images.
      count: number of its images.

    Raises:
      BadFile: `labels` has another length, or holds neither integers nor names.
    """
    columns: dict[str, np.ndarray] = {}
    names: tuple[str, ...] = ()
    left = []
    for other in array.others:
        fits = other.shape in ((count,), (count, 1)) and other.dtype.kind in "biufUS"
        if other.key == LABELS and len(other.shape) == 1 and not (fits and other.dtype.kind in "biuUS"):
            raise BadFile(
                f"{LABELS!r} is {other.dtype} of shape {other.shape}, not one whole number or name for each of "
                f"{count} images"
            )
        try:
            if fits:
                columns[other.key] = np.asarray(other.load()).reshape(count)
            elif other.key == NAMES and len(other.shape) == 1 and other.dtype.kind in "US":
                names = tuple(_texts(np.asarray(other.load())))
            else:
                left.append(f"the array {other.key!r} ({other.dtype}, {_shape(other.shape)})")
        except BROKEN_HDF5 as error:
            if other.key == LABELS:
                raise BadFile(f"{LABELS!r} cannot be read ({reason_of(error)})") from error
            left.append(f"the array {other.key!r} cannot be read ({reason_of(error)})")
    label = LABELS if LABELS in columns else _only_label(columns)
    if names and not (label and _numbers_fit(columns[label], names)):
        left.append(f"the array {NAMES!r} ({len(names)} names)")
        names = ()
    more = (f"{len(left) - MAX_NAMED} further arrays",) if len(left) > MAX_NAMED else ()
    return Columns(label, columns, names, (*left[:MAX_NAMED], *more))


def class_labels(found: Sequence[Columns]) -> list[list[str] | None]:
    """Return the class name of each image of each file; None where a file holds none. Numbers get one width."""
    numbers = [
        c.columns[c.label]
        for c in found
        if c.label and c.columns[c.label].dtype.kind in "biu" and not c.names
    ]
    width = max((len(str(int(part.max(initial=0)))) for part in numbers), default=0)
    return [_class_names(columns, width) if columns.label else None for columns in found]


def text_columns(found: Sequence[Columns], counts: Sequence[int]) -> dict[str, list[str]]:
    """Return the columns of all files as text, '' where a file does not have one.

    Args:
      found: columns of each file.
      counts: number of images of each file.
    """
    names = dict.fromkeys(name for columns in found for name in columns.columns)
    return {
        name: [
            cell
            for columns, count in zip(found, counts)
            for cell in (_texts(columns.columns[name]) if name in columns.columns else [""] * count)
        ]
        for name in names
    }


def _only_label(columns: dict[str, np.ndarray]) -> str:
    able = [name for name, values in columns.items() if values.dtype.kind in "biuUS"]
    if len(able) != 1 or 2 * len(np.unique(columns[able[0]])) > len(columns[able[0]]):
        return ""
    return able[0]


def _numbers_fit(values: np.ndarray, names: Sequence[str]) -> bool:
    return values.dtype.kind in "biu" and bool(((values >= 0) & (values < len(names))).all())


def _class_names(columns: Columns, width: int) -> list[str]:
    values = columns.columns[columns.label]
    if columns.names:
        return [columns.names[number] for number in values.astype(int)]
    if values.dtype.kind in "biu":
        return [f"{number:0{width}d}" for number in values.astype(int)]
    return _texts(values)


def _texts(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "S":
        return [value.decode("utf-8", errors="replace") for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one value"
