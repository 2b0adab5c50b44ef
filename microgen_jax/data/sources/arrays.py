"""Images kept as arrays in HDF5 or npz files."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from microgen_jax.data.catalogue import Catalogue, bad_file_error
from microgen_jax.data.decoding import MAX_PIXELS, BadFile, Header, check_pixels
from microgen_jax.data.leftovers import ALPHA, summed
from microgen_jax.data.sources import array_layout, hdf5, npz
from microgen_jax.data.sources.array_columns import Columns, class_labels, columns_of, text_columns
from microgen_jax.data.sources.array_layout import StoredArray
from microgen_jax.data.sources.file_tree import BROKEN_HDF5, Tree, reason_of
from microgen_jax.data.sources.folder import class_names
from microgen_jax.data.sources.value_range import (
    RANGE_SAMPLE,
    Range,
    parse_range,
    range_of,
    scaled,
    stored_as,
)
from microgen_jax.errors import UserError

READERS = {"hdf5": hdf5, "npz": npz}
MAX_READ_WHOLE = 2**28  # bytes of an array up to which its range is found from all its values


class _Stack(NamedTuple):
    """An array of images, and what was found out about it."""

    array: StoredArray
    values: Range
    columns: Columns
    count: int


def open_arrays(
    tree: Tree,
    kind: str,
    *,
    root: str,
    key: str = "",
    layout: str = "auto",
    value_range: str = "auto",
    max_pixels: int = MAX_PIXELS,
    on_bad_file: str = "raise",
) -> Catalogue:
    """List the images in the HDF5 or npz files of a tree.

    Args:
      tree: the files.
      kind: hdf5 | npz.
      root: the root as a person would name it.
      key: name of the array in every file; '' = the one that the reader finds (see `find_array` of hdf5 and npz).
      layout: HW | NHW | HWK | HWC | NHWC | CHW | NCHW | auto (see `array_layout.choose_layout`).
      value_range: auto | ids | 'low,high' (see `value_range`).
      max_pixels: number of pixels of an image that are let through.
      on_bad_file: raise | skip.

    Raises:
      UserError: no such file, an ambiguous layout or range, empty arrays, or (with `on_bad_file='raise'`) a bad file.
    """
    given, reader = parse_range(value_range), READERS[kind]
    files = [name for name in tree.files if name.lower().endswith(reader.SUFFIXES)]
    if not files:
        problem = f"no {kind} file ({', '.join(reader.SUFFIXES)}) in {root}"
        raise UserError("root", problem, "name a file or a folder of them, or set data.source=auto")
    arrays, refused = [], list(tree.refused)
    for name in files:
        try:
            arrays.append(reader.find_array(tree, root, name, key))
        except BadFile as error:
            refused.append((name, str(error)))
    if refused and (on_bad_file == "raise" or not arrays):
        raise bad_file_error(root, *refused[0])
    layout, why = array_layout.choose_layout(layout, arrays, root, kind)
    stacks = []
    for array in arrays:
        try:
            stacks.append(_stack(array, layout, given, max_pixels))
        except BadFile as error:
            refused.append((f"{array.file}:{array.key}", str(error)))
    if refused and (on_bad_file == "raise" or not stacks):
        raise bad_file_error(root, *refused[-1])
    others = [name for name in tree.files if name not in files]
    left_over = (f"files of another kind: {len(others)}, such as {others[0]}",) if others else ()
    return _catalogue(stacks, layout, why, kind, root, tree.name, refused, left_over)


def _stack(array: StoredArray, layout: str, given: Range | None, max_pixels: int) -> _Stack:
    if array.dtype.kind not in "buif":
        raise BadFile(f"holds {array.dtype}, no numbers")
    if 0 in array.shape:
        raise BadFile(f"is empty, of shape {array.shape}")
    check_pixels(*array_layout.image_shape(array.shape, layout)[:2], max_pixels)
    dtype = _read(array, layout, 0).dtype
    extremes = cache(partial(_extremes, array, layout))
    if array.missing:
        extremes()  # refuses the array where they occur
    values = range_of(given, dtype, extremes, inverted=array.inverted)
    count = array_layout.image_count(array.shape, layout)
    return _Stack(array, values, columns_of(array, count), count)


def _catalogue(
    stacks: Sequence[_Stack],
    layout: str,
    why: str,
    kind: str,
    root: str,
    root_name: str,
    refused: Sequence[tuple[str, str]],
    left_over: tuple[str, ...],
) -> Catalogue:
    where = [(s, i) for s, stack in enumerate(stacks) for i in range(stack.count)]
    folders = class_names([stack.array.file for stack in stacks], root_name)
    labels = class_labels([stack.columns for stack in stacks])
    headers = [_header(stack, layout) for stack in stacks]

    def per_image(of: Callable[[_Stack], object]) -> list:
        return [value for stack in stacks for value in [of(stack)] * stack.count]

    def read(index: int) -> np.ndarray:
        s, i = where[index]
        return scaled(_read(stacks[s].array, layout, i), stacks[s].values)

    return Catalogue(
        kind=kind,
        root=root,
        names=[f"{stacks[s].array.file}:{stacks[s].array.key}[{i}]" for s, i in where],
        labels=[folders[stacks[s].array.file] if labels[s] is None else labels[s][i] for s, i in where],
        headers=[headers[s] for s, _ in where],
        sizes=per_image(lambda stack: _bytes(stack.array, layout)),
        read=read,
        columns={
            **text_columns([stack.columns for stack in stacks], [stack.count for stack in stacks]),
            "file": per_image(lambda stack: stack.array.file),
        },
        serving=("file", *{stack.columns.label: None for stack in stacks if stack.columns.label}),
        refused=tuple(refused),
        notes=_notes(layout, why, stacks),
        unused=(*_unused(layout, stacks), *left_over),
    )


def _bytes(array: StoredArray, layout: str) -> int:
    return int(np.prod(array_layout.image_shape(array.shape, layout))) * array.dtype.itemsize


def _extremes(array: StoredArray, layout: str) -> tuple[float, float]:
    """Return the smallest and the largest value of an array, of a large one those of some of its images."""
    if np.prod(array.shape) * array.dtype.itemsize <= MAX_READ_WHOLE:
        parts = [_read(array)]
    else:
        count = array_layout.image_count(array.shape, layout)
        parts = [_read(array, layout, i) for i in range(0, count, -(-count // RANGE_SAMPLE))]
    return min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)


def _read(array: StoredArray, layout: str = "", index: int = 0) -> np.ndarray:
    """Return an image of an array, or without a layout all of it as stored."""
    try:
        data = array.load()
        found = array_layout.image(data, layout, index) if layout else data[()]
    except BROKEN_HDF5 as error:
        raise BadFile(f"cannot be read ({reason_of(error)})") from error
    for value in array.missing:
        if lost := np.count_nonzero(found == value):
            raise BadFile(
                f"{lost / found.size:.2%} of the numbers are {value:g}, which stands for what was not measured"
                " (_FillValue, missing_value): fill them, or remove the attribute where they were measured"
            )
    if array.transposed and layout:
        found = found.swapaxes(0, 1)
    if (array.factor, array.offset) == (1, 0):
        return found
    return (found * np.float64(array.factor) + array.offset).astype(np.float32)


def _header(stack: _Stack, layout: str) -> Header:
    height, width, channels = array_layout.image_shape(stack.array.shape, layout)
    if stack.array.transposed:
        height, width = width, height
    scaled_by = (stack.array.factor, stack.array.offset) != (1, 0)
    dtype = stored_as(np.dtype(np.float32) if scaled_by else stack.array.dtype, stack.values)
    return Header(height, width, 3 if channels == 4 else channels, dtype)


def _notes(layout: str, why: str, stacks: Sequence[_Stack]) -> tuple[str, ...]:
    found = Counter((stack.array.dtype.name, str(stack.values)) for stack in stacks)
    labelled = [
        (stack.array.file, f"classes are those of {stack.columns.label!r}")
        for stack in stacks
        if stack.columns.label
    ]
    done = [(stack.array.file, note) for stack in stacks for note in stack.array.notes]
    return (
        f"layout {layout}, {array_layout.LAYOUTS[layout]}: {why}",
        *(f"{n} dataset(s) of {dtype}, read as {values}" for (dtype, values), n in sorted(found.items())),
        *summed([*labelled, *done], len(stacks)),
    )


def _unused(layout: str, stacks: Sequence[_Stack]) -> tuple[str, ...]:
    found = [
        (stack.array.file, line) for stack in stacks for line in (*stack.columns.unused, *stack.array.unused)
    ]
    for stack in stacks:
        if array_layout.image_shape(stack.array.shape, layout)[2] == 4:
            found.append((stack.array.file, ALPHA))
    return summed(found, len(stacks))
