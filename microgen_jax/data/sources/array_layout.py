"""Which axis of an array counts images, found over all arrays of a source, as one alone may not show it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgen_jax.errors import UserError

LAYOUTS = {
    "HW": "one image",
    "NHW": "N grey images",
    "HWK": "K grey images along the last axis",
    "HWC": "one image of C channels",
    "NHWC": "N images of C channels",
    "CHW": "one image of C channels along the first axis",
    "NCHW": "N images of C channels along the second axis",
}
CHANNELS = (1, 3, 4)
MAX_CHANNELS = 16


class StoredArray(NamedTuple):
    """An array in a file, not yet read.

    Attributes:
      file: name of the file, relative to the root.
      key: name of the array in the file.
      shape: its shape.
      dtype: its dtype.
      load: function that returns the array, or the HDF5 dataset, of this process.
      others: all other arrays of the file.
      layout: layout that the file names itself, '' = none.
      factor, offset: what a stored number is multiplied by, and what is added then.
      inverted: whether the low value is white.
      transposed: whether height and width of each image are stored in reverse, as MATLAB does.
      missing: stored numbers that stand for what was not measured.
      notes: what was decided by the file's own entries.
      unused: entries of the file that were not used.
    """

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], Any]
    others: "tuple[StoredArray, ...]" = ()
    layout: str = ""
    factor: float = 1.0
    offset: float = 0.0
    inverted: bool = False
    transposed: bool = False
    missing: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def choose_layout(layout: str, arrays: Sequence[StoredArray], what: str, kind: str) -> tuple[str, str]:
    """Return the layout of arrays, and why it was taken.

    Args:
      layout: one of `LAYOUTS`, or 'auto' (or '').
      arrays: the arrays.
      what: name of their source in a message.
      kind: hdf5 | npz.

    Raises:
      UserError: the shapes do not have the axes of the layout, fit several, or none.
    """
    shapes = [array.shape for array in arrays]
    if layout not in ("", "auto"):
        if wrong := [shape for shape in shapes if len(shape) != len(layout)]:
            raise UserError(
                "layout", f"{what}: shape {wrong[0]} does not have the {len(layout)} axes of {layout}"
            )
        return layout, "data.layout"
    if len(named := {array.layout for array in arrays}) == 1 and named != {""}:
        return named.pop(), "the file names its axes"
    if kind == "npz" and {len(shape) for shape in shapes} == {3} and not _has_channels(shapes):
        return "NHW", "npz files count along their first axis"
    return find_layout(shapes, what)


def _has_channels(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the first or the last of three axes is as long as an image has colours, and the others longer."""
    return any(
        all(shape[axis] in CHANNELS[1:] and min(np.delete(shape, axis)) > max(CHANNELS) for shape in shapes)
        for axis in (0, 2)
    )


def find_layout(shapes: Sequence[tuple[int, ...]], what: str) -> tuple[str, str]:
    """Return the layout that arrays of these shapes have, and why.

    Args:
      shapes: shapes of the arrays.
      what: name of their source in a message.

    Raises:
      UserError: the shapes fit several layouts, or none.
    """
    ranks = {len(shape) for shape in shapes}
    if ranks == {2}:
        return "HW", "two axes"
    if ranks == {4}:
        if all(shape[3] <= MAX_CHANNELS for shape in shapes):
            return "NHWC", "four axes"
        if all(shape[1] <= MAX_CHANNELS for shape in shapes):
            return "NCHW", "four axes, of which the second is as short as channels are few"
        problem = f"{what}: shape {shapes[0]} is neither (N, H, W, C) nor (N, C, H, W): both are too long for channels"
        raise UserError("layout", problem)
    if ranks != {3}:
        problem = f"{what}: arrays of {sorted(ranks)} axes together; 2, 3 or 4 in all of them can be read"
        raise UserError("layout", problem, "name other arrays with data.key")
    if all(shape[0] in CHANNELS[1:] and min(shape[1:]) > max(CHANNELS) for shape in shapes):
        problem = f"{what}: shape {shapes[0]} may be CHW (one image, channels first) or NHW (grey images)"
        raise UserError("layout", problem, "set data.layout=CHW or NHW")
    varying = [axis for axis in range(3) if len({shape[axis] for shape in shapes}) > 1]
    if varying == [0]:
        return "NHW", "the length of the first axis differs from file to file"
    if all(shape[2] in CHANNELS and min(shape[:2]) > max(CHANNELS) for shape in shapes):
        return "HWC", "the last axis is as long as channels are many"
    if varying == [2]:
        return "HWK", "the length of the last axis differs from file to file"
    height, width, depth = shapes[0]
    if not varying and width == depth != height:
        return "NHW", "the last two axes are of one length"
    if not varying and height == width != depth:
        return "HWK", "the first two axes are of one length"
    problem = f"{what}: shape {shapes[0]} may be NHW (images along the first axis) or HWK (along the last)"
    raise UserError("layout", problem, "set data.layout to one of them")


def image_count(shape: tuple[int, ...], layout: str) -> int:
    """Return how many images an array holds."""
    return {"N": shape[0], "K": shape[-1]}.get("K" if layout == "HWK" else layout[0], 1)


def image_shape(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    """Return height, width and channels of each image of an array, alpha counted."""
    axes = dict(zip(layout, shape))
    return axes["H"], axes["W"], axes.get("C", 1)


def image(array: Any, layout: str, index: int) -> np.ndarray:
    """Return an image of an array or an HDF5 dataset, [H, W, C]; a fourth channel (alpha) is dropped.

    Args:
      array: the array.
      layout: one of `LAYOUTS`.
      index: number of the image.
    """
    if layout == "HWK":
        pixels = array[:, :, index]
    else:
        pixels = array[index] if layout[0] == "N" else array[()]
    pixels = np.asarray(pixels)
    if layout.endswith("CHW"):
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., : 3 if pixels.shape[-1] == 4 else None]
