"""Images kept as arrays, in HDF5 or npz files, as one listing."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgen_jax.data.decoding import BadFile, Header, check_pixels
from microgen_jax.data.records import Listing, fault_text
from microgen_jax.data.sources import array_layout
from microgen_jax.data.sources.file_tree import BROKEN, reason_of
from microgen_jax.data.sources.folder import class_names
from microgen_jax.data.sources.value_range import Range, find_range, parse_range, scaled
from microgen_jax.errors import UserError

READ_WHOLE = 2**28  # bytes of a dataset up to which all its values are looked at, to tell their range
LOOKED_AT = 64  # images looked at in a larger one; the others are held against the range when read


class Array(NamedTuple):
    """A dataset in a file.

    Attributes:
      file: name of the file, relative to the root.
      key: name of the dataset in the file.
      load: gives the array, or the HDF5 dataset, of this process.
      labels: class name of each image, or None for the folder's.
      others: names of datasets in the file that might have been taken as well.
    """

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], Any]
    labels: Sequence[str] | None = None
    others: Sequence[str] = ()


def list_arrays(
    arrays: Sequence[Array],
    *,
    kind: str,
    root: str,
    root_name: str,
    layout: str,
    value_range: str,
    refused: Sequence[tuple[str, str]],
    on_bad_file: str,
) -> Listing:
    """Tells layout and value ranges, and lists every image.

    Raises:
      UserError: ambiguous layouts or ranges, empty arrays, or (with `on_bad_file='raise'`) anything refused.
    """
    asked, refused = parse_range(value_range), list(refused)
    if refused and on_bad_file == "raise":
        raise UserError(fault_text(root, *refused[0]))
    layout, why = _layout(layout, arrays, kind, root)
    kept, ranges = [], []
    for array in arrays:
        try:
            ranges.append(_range(array, layout, asked))
            kept.append(array)
        except BadFile as error:
            refused.append((f"{array.file}:{array.key}", str(error)))
    if refused and (on_bad_file == "raise" or not kept):
        raise UserError(fault_text(root, *refused[-1]))
    where = [
        (a, i) for a, array in enumerate(kept) for i in range(array_layout.image_count(array.shape, layout))
    ]
    if not where:
        raise UserError(f"data.root: no images in {root}")
    folders = class_names([array.file for array in kept], root_name)
    labels = [kept[a].labels[i] if kept[a].labels is not None else folders[kept[a].file] for a, i in where]
    headers = [_header(array, layout, values) for array, values in zip(kept, ranges)]

    def read(index: int) -> np.ndarray:
        a, i = where[index]
        try:
            pixels = array_layout.image(kept[a].load(), layout, i)
        except BROKEN as error:
            raise BadFile(f"cannot be read ({reason_of(error)})") from error
        return scaled(pixels, ranges[a])

    return Listing(
        kind=kind,
        root=root,
        names=[f"{kept[a].file}:{kept[a].key}[{i}]" for a, i in where],
        labels=labels,
        headers=[headers[a] for a, _ in where],
        sizes=[
            int(np.prod(array_layout.image_shape(kept[a].shape, layout))) * kept[a].dtype.itemsize
            for a, _ in where
        ],
        read=read,
        columns={"file": [kept[a].file for a, _ in where]},
        refused=tuple(refused),
        notes=_notes(layout, why, kept, ranges),
    )


def _layout(layout: str, arrays: Sequence[Array], kind: str, root: str) -> tuple[str, str]:
    shapes = [array.shape for array in arrays]
    if layout in ("", "auto"):
        if kind == "npz" and {len(shape) for shape in shapes} == {3}:
            return "NHW", "npz files count along their first axis"
        return array_layout.find_layout(shapes, root)
    array_layout.check_layout(layout, shapes, root)
    return layout, "data.layout"


def _range(array: Array, layout: str, asked: Range | None) -> Range:
    if array.dtype.kind not in "buif":
        raise BadFile(f"holds {array.dtype}, no numbers")
    if 0 in array.shape:
        raise BadFile(f"is empty, of shape {array.shape}")
    check_pixels(*array_layout.image_shape(array.shape, layout)[:2])
    if asked is not None:
        return asked
    try:
        data = array.load()
        if np.prod(array.shape) * array.dtype.itemsize <= READ_WHOLE:
            looked = [data[()]]
        else:
            count = array_layout.image_count(array.shape, layout)
            looked = [array_layout.image(data, layout, i) for i in range(0, count, -(-count // LOOKED_AT))]
    except BROKEN as error:
        raise BadFile(f"cannot be read ({reason_of(error)})") from error
    low, high = min(float(part.min()) for part in looked), max(float(part.max()) for part in looked)
    return find_range(array.dtype, low, high)


def _header(array: Array, layout: str, values: Range) -> Header:
    height, width, channels = array_layout.image_shape(array.shape, layout)
    dtype = scaled(np.full((1, 1, 1), values.low, array.dtype), values).dtype.name
    return Header(height, width, 3 if channels == 4 else channels, dtype)


def _notes(layout: str, why: str, arrays: Sequence[Array], ranges: Sequence[Range]) -> tuple[str, ...]:
    found = Counter((array.dtype.name, str(values)) for array, values in zip(arrays, ranges))
    notes = [f"layout {layout}, {array_layout.LAYOUTS[layout]}: {why}"]
    for array in [array for array in arrays if array.others][:1]:
        others = ", ".join(map(repr, array.others[:3])) + (", ..." if len(array.others) > 3 else "")
        notes.append(f"{array.file} holds {others} too: {array.key!r} is read, data.key names another")
    return (
        *notes,
        *(f"{n} dataset(s) of {dtype}, read as {values}" for (dtype, values), n in sorted(found.items())),
    )
