"""Images kept as arrays in HDF5 or npz files."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from microgen_jax.data.catalogue import Catalogue, bad_file_error
from microgen_jax.data.decoding import BadFile, Header, check_pixels
from microgen_jax.data.sources import array_layout, hdf5, npz
from microgen_jax.data.sources.array_layout import StoredArray
from microgen_jax.data.sources.file_tree import BROKEN_HDF5, Tree, reason_of
from microgen_jax.data.sources.folder import class_names
from microgen_jax.data.sources.value_range import Range, find_range, parse_range, scaled
from microgen_jax.errors import UserError

READERS = {"hdf5": hdf5, "npz": npz}
MAX_READ_WHOLE = 2**28  # bytes of an array up to which its range is found from all its values
RANGE_SAMPLE = (
    64  # images of a larger one that its range is found from; the others are checked when they are read
)


def open_arrays(
    tree: Tree,
    kind: str,
    *,
    root: str,
    key: str = "",
    layout: str = "auto",
    value_range: str = "auto",
    on_bad_file: str = "raise",
) -> Catalogue:
    """List the images in the HDF5 or npz files of a tree.

    Args:
      tree: the files.
      kind: hdf5 | npz.
      root: the root as a person would name it.
      key: name of the array in every file; '' = the one that the reader finds (see `find_array` of hdf5 and npz).
      layout: HW | NHW | HWK | HWC | NHWC | auto (see `array_layout.choose_layout`).
      value_range: auto | ids | 'low,high' (see `value_range`).
      on_bad_file: raise | skip.

    Raises:
      UserError: no such file, an ambiguous layout or range, empty arrays, or (with `on_bad_file='raise'`) a bad file.
    """
    given_range, reader = parse_range(value_range), READERS[kind]
    files = [name for name in tree.files if name.lower().endswith(reader.SUFFIXES)]
    if not files:
        raise UserError("root", f"no {kind} file ({', '.join(reader.SUFFIXES)}) in {root}")
    arrays, refused = [], list(tree.refused)
    for name in files:
        try:
            arrays.append(reader.find_array(tree, root, name, key))
        except BadFile as error:
            refused.append((name, str(error)))
    if refused and (on_bad_file == "raise" or not arrays):
        raise bad_file_error(root, *refused[0])
    layout, why = array_layout.choose_layout(layout, [array.shape for array in arrays], root, kind)
    kept, ranges = [], []
    for array in arrays:
        try:
            _check(array, layout)
            ranges.append(given_range or _find_range(array, layout))
            kept.append(array)
        except BadFile as error:
            refused.append((f"{array.file}:{array.key}", str(error)))
    if refused and (on_bad_file == "raise" or not kept):
        raise bad_file_error(root, *refused[-1])
    return _catalogue(kept, ranges, layout, why, kind, root, tree.name, refused)


def _catalogue(
    arrays: Sequence[StoredArray],
    ranges: Sequence[Range],
    layout: str,
    why: str,
    kind: str,
    root: str,
    root_name: str,
    refused: Sequence[tuple[str, str]],
) -> Catalogue:
    counts = [array_layout.image_count(array.shape, layout) for array in arrays]
    where = [(a, i) for a, count in enumerate(counts) for i in range(count)]
    folders = class_names([array.file for array in arrays], root_name)
    headers = [_header(array, layout, values) for array, values in zip(arrays, ranges)]
    sizes = [
        int(np.prod(array_layout.image_shape(array.shape, layout))) * array.dtype.itemsize for array in arrays
    ]

    def read(index: int) -> np.ndarray:
        a, i = where[index]
        return scaled(_read(arrays[a], layout, i), ranges[a])

    def label(array: StoredArray, index: int) -> str:
        return folders[array.file] if array.labels is None else array.labels[index]

    return Catalogue(
        kind=kind,
        root=root,
        names=[f"{arrays[a].file}:{arrays[a].key}[{i}]" for a, i in where],
        labels=[label(arrays[a], i) for a, i in where],
        headers=[headers[a] for a, _ in where],
        sizes=[sizes[a] for a, _ in where],
        read=read,
        columns={"file": [arrays[a].file for a, _ in where]},
        refused=tuple(refused),
        notes=_notes(layout, why, arrays, ranges),
    )


def _check(array: StoredArray, layout: str) -> None:
    if array.dtype.kind not in "buif":
        raise BadFile(f"holds {array.dtype}, no numbers")
    if 0 in array.shape:
        raise BadFile(f"is empty, of shape {array.shape}")
    check_pixels(*array_layout.image_shape(array.shape, layout)[:2])


def _find_range(array: StoredArray, layout: str) -> Range:
    if np.prod(array.shape) * array.dtype.itemsize <= MAX_READ_WHOLE:
        parts = [_read(array)]
    else:
        count = array_layout.image_count(array.shape, layout)
        parts = [_read(array, layout, i) for i in range(0, count, -(-count // RANGE_SAMPLE))]
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    return find_range(array.dtype, low, high)


def _read(array: StoredArray, layout: str = "", index: int = 0) -> np.ndarray:
    """Return an image of an array, or without a layout all of it."""
    try:
        data = array.load()
        return array_layout.image(data, layout, index) if layout else data[()]
    except BROKEN_HDF5 as error:
        raise BadFile(f"cannot be read ({reason_of(error)})") from error


def _header(array: StoredArray, layout: str, values: Range) -> Header:
    height, width, channels = array_layout.image_shape(array.shape, layout)
    dtype = scaled(np.full((1, 1, 1), values.low, array.dtype), values).dtype.name
    return Header(height, width, 3 if channels == 4 else channels, dtype)


def _notes(layout: str, why: str, arrays: Sequence[StoredArray], ranges: Sequence[Range]) -> tuple[str, ...]:
    found = Counter((array.dtype.name, str(values)) for array, values in zip(arrays, ranges))
    notes = [f"layout {layout}, {array_layout.LAYOUTS[layout]}: {why}"]
    for array in [array for array in arrays if array.others][:1]:
        others = ", ".join(map(repr, array.others[:3])) + (", ..." if len(array.others) > 3 else "")
        notes.append(f"{array.file} holds {others} too: {array.key!r} is read, data.key names another")
    return (
        *notes,
        *(f"{n} dataset(s) of {dtype}, read as {values}" for (dtype, values), n in sorted(found.items())),
    )
