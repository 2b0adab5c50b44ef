"""Sets of images to be compared: arrays, lists or objects with images, checked and brought to one shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """Images of one side of a comparison.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: class of each image, a row of `classes`.
      groups: name of what each image belongs to (scan, specimen, series), text [N].
      conditions: standardised conditions, float32 [N, K]; NaN = not known; K is 0 where there are none.
      classes: names of the classes.
      origin: where the images come from, as the summary names it.
      pixel_size_um: width of a pixel in micrometres; 0 where it is not known.
      lossy: number of images from files of lossy compression (JPEG).
    """

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    groups: np.ndarray
    conditions: Float[np.ndarray, "N K"]
    classes: tuple[str, ...]
    origin: str
    pixel_size_um: float = 0.0
    lossy: int = 0


def as_image_set(images: Any, where: str, *, groups: Sequence | np.ndarray | None = None) -> ImageSet:
    """Return images as an `ImageSet` without conditions; an `ImageSet` is returned as it is.

    Args:
      images: uint8 [N, H, W, C] or [N, H, W]; a list of images [H, W, C] or [H, W] of one size, or of maps, whose
        IPF-Z colours are taken; or any object that `np.asarray` turns into such an array, such as `Samples`, whose
        `labels` and `classes` are kept.
      where: name of the argument, for errors.
      groups: what each image belongs to, [N]; None counts each image as a group of its own.

    Raises:
      UserError: the array has another type, range or shape, or `groups` another length.
    """
    if isinstance(images, ImageSet):
        return images if groups is None else replace(images, groups=_group_names(groups, len(images.images)))
    pixel_size = 0.0
    if isinstance(images, list | tuple):
        pixel_size = _pixel_size(images)
        images = [_ipf_image(image) if isinstance(image, EbsdMap) else image for image in images]
        shapes = {np.shape(image) for image in images}
        if len(shapes) > 1:
            some = ", ".join("x".join(map(str, shape)) for shape in sorted(shapes)[:3])
            raise UserError(where, f"images of {len(shapes)} shapes ({some}, ...)", "cut them to one size")
    array = np.asarray(images)
    if array.dtype != np.uint8:
        raise UserError(where, f"images of type {array.dtype}", _fix_of_type(array))
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape:
        raise UserError(
            where,
            f"an array of shape {array.shape}",
            "pass uint8 images [N, H, W, C] or [N, H, W], one at the least",
        )
    number = len(array)
    names = np.zeros(number, "<U1") if groups is None else _group_names(groups, number)
    none = np.zeros((number, 0), np.float32)
    classes = getattr(images, "classes", ())
    if classes:
        labels = np.asarray(images.labels)
        return ImageSet(array, labels, names, none, tuple(classes), f"{number} samples")
    return ImageSet(array, np.zeros(number, int), names, none, ("",), f"array of {number}", pixel_size)


def as_grey(images: ImageSet) -> ImageSet:
    """Return images of one channel where all channels of all images are equal; others as they are."""
    equal = bool((images.images == images.images[..., :1]).all())
    return replace(images, images=images.images[..., :1]) if equal else images


def matched(real: ImageSet, generated: ImageSet, *, min_real: int) -> tuple[ImageSet, ImageSet]:
    """Return two sets that can be compared; where one is grey, equal channels of the other become one.

    Args:
      real: real images.
      generated: generated images.
      min_real: least number of real images.

    Raises:
      UserError: the sets differ in size or channels, or one has too few images.
    """
    check_number(real, min_real)
    if 1 in (real.images.shape[-1], generated.images.shape[-1]):
        real, generated = as_grey(real), as_grey(generated)
    (height, width, channels), other = real.images.shape[1:], generated.images.shape[1:]
    if (height, width) != other[:2]:
        raise UserError(
            "generated",
            f"images of {other[0]}x{other[1]} px beside real ones of {height}x{width} px",
            "cut both to one size, for instance with "
            f"--config.data.size='({min(height, other[0])},{min(width, other[1])})'",
        )
    if channels != other[2]:
        raise UserError(
            "generated",
            f"images of {other[2]} channels beside real ones of {channels}",
            "compare colour with colour and grey with grey",
        )
    if len(generated.images) < 2:
        raise UserError("generated", f"{len(generated.images)} image ({generated.origin})", "give at least 2")
    return real, generated


def check_number(real: ImageSet, min_real: int) -> None:
    """Refuse too few real images.

    Args:
      real: real images.
      min_real: least number of them.

    Raises:
      UserError: there are fewer.
    """
    if len(real.images) < min_real:
        raise UserError("real", f"{len(real.images)} images ({real.origin})", f"give at least {min_real}")


def shared_classes(real: ImageSet, generated: ImageSet) -> list[tuple[int, int, str]]:
    """Return the classes that both sets have: their row in either and their name; none where a set has one class.

    Args:
      real: real images.
      generated: generated images.
    """
    if min(len(real.classes), len(generated.classes)) < 2:
        return []
    return [
        (n, generated.classes.index(name), name)
        for n, name in enumerate(real.classes)
        if name in generated.classes
    ]


def missing_classes(real: ImageSet, generated: ImageSet) -> tuple[str, ...]:
    """Return sentences about the classes that cannot be compared.

    Args:
      real: real images.
      generated: generated images.
    """
    if len(real.classes) < 2:
        return ()
    if len(generated.classes) < 2:
        return ("the generated images have no classes: all classes are compared together",)
    notes = []
    for side, own, others in (("real", real, generated), ("generated", generated, real)):
        alone = [name for name in own.classes if name not in others.classes]
        if alone:
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            notes.append(f"classes of the {side} images only, not compared: {', '.join(alone[:5])}{more}")
    return tuple(notes)


def images_by_class(images: ImageSet) -> np.ndarray:
    """Return the images in an order that shows every class in turn, classes by name.

    Args:
      images: set of images.
    """
    rows = [np.flatnonzero(images.labels == images.classes.index(name)) for name in sorted(images.classes)]
    turn = sorted((place, n, row) for n, own in enumerate(rows) for place, row in enumerate(own))
    return images.images[[row for _, _, row in turn]]


def _pixel_size(images: Sequence) -> float:
    """Pixel size of maps in um, 0 where they differ or there is none."""
    sizes = {round(image.pixel_size_um, 6) if isinstance(image, EbsdMap) else 0.0 for image in images}
    return sizes.pop() if len(sizes) == 1 else 0.0


def _group_names(groups: Sequence | np.ndarray, number: int) -> np.ndarray:
    names = np.asarray(groups).astype(str)
    if names.shape != (number,):
        raise UserError("groups", f"shape {names.shape} for {number} real images", "name one group an image")
    return names


def _ipf_image(scan: EbsdMap) -> UInt8[np.ndarray, "H W 3"]:
    """IPF-Z colours of a map, black where no phase of a known Laue group is indexed."""
    image = np.zeros((*scan.phase.shape, 3), np.uint8)
    for phase in scan.phases:
        if phase.laue_group:
            chosen = scan.indexed & (scan.phase == phase.id)
            image[chosen] = ipf_colour(scan.orientations[chosen], "Z", phase.laue_group)
    return image


def _fix_of_type(array: np.ndarray) -> str:
    if array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1:
        return "they lie in [0, 1]: multiply by 255 and convert to uint8"
    if array.dtype.kind == "f" and array.size and array.min() >= -1 and array.max() <= 1:
        return "they lie in [-1, 1]: convert with microgen_jax.images.to_uint8"
    if array.dtype == bool:
        return "multiply by 255 and convert to uint8"
    return "pass uint8 images with levels 0 to 255"
