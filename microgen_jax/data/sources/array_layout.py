"""Which axis of an array counts images, told over all arrays of a source, as one alone may not tell."""

from collections.abc import Sequence

import numpy as np

from microgen_jax.data.augment import choice
from microgen_jax.errors import UserError

LAYOUTS = {
    "HW": "one image",
    "NHW": "N grey images",
    "HWK": "K grey images along the last axis",
    "HWC": "one image of C channels",
    "NHWC": "N images of C channels",
}
CHANNELS = (1, 3, 4)


def find_layout(shapes: Sequence[tuple[int, ...]], what: str) -> tuple[str, str]:
    """The layout of arrays of these shapes.

    Returns:
      The layout, and why it was taken.

    Raises:
      UserError: the shapes fit several layouts, or none.
    """
    ranks = {len(shape) for shape in shapes}
    if ranks == {2}:
        return "HW", "two axes"
    if ranks == {4}:
        if any(shape[3] > 16 for shape in shapes):
            raise UserError(
                f"{what}: shape {shapes[0]} is not (N, H, W, C): its last axis is too long for channels"
            )
        return "NHWC", "four axes"
    if ranks != {3}:
        raise UserError(
            f"{what}: arrays of {sorted(ranks)} axes together; 2, 3 or 4 in all of them can be read"
        )
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
    raise UserError(
        f"{what}: shape {shapes[0]} may be NHW (images along the first axis)"
        " or HWK (along the last): set data.layout"
    )


def check_layout(layout: str, shapes: Sequence[tuple[int, ...]], what: str) -> None:
    """Raises UserError where a layout was asked for that does not exist or does not fit."""
    choice(layout, LAYOUTS, "data.layout")
    for shape in shapes:
        if len(shape) != len(layout):
            raise UserError(
                f"{what}: shape {shape} does not have the {len(layout)} axes of data.layout={layout}"
            )


def image_count(shape: tuple[int, ...], layout: str) -> int:
    """How many images an array holds."""
    return {"N": shape[0], "K": shape[-1]}.get("K" if layout == "HWK" else layout[0], 1)


def image_shape(shape: tuple[int, ...], layout: str) -> tuple[int, int, int]:
    """Height, width, channels of each of them, alpha counted."""
    axes = dict(zip(layout, shape))
    return axes["H"], axes["W"], axes.get("C", 1)


def image(array, layout: str, index: int) -> np.ndarray:
    """Image `index` of an array or an HDF5 dataset, [H, W, C]; a fourth channel (alpha) is dropped."""
    if layout == "HWK":
        pixels = array[:, :, index]
    else:
        pixels = array[index] if layout[0] == "N" else array[()]
    pixels = np.asarray(pixels)
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., : 3 if pixels.shape[-1] == 4 else None]
