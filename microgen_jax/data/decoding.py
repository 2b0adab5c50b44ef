"""Image files: what their header says, and their pixels as height, width, channels.

Pixels come as the file has them, turned as its orientation tag says; what the numbers stand for is
`sources/value_range.py`'s part, and what a file holds beside them `leftovers.py`'s. A palette is looked up, of
several pages or frames the first is read, alpha is dropped.
"""

import contextlib
import math
import re
import warnings
from collections.abc import Callable, Mapping
from io import BufferedIOBase
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from microgen_jax.data.leftovers import ALPHA, integers, unused_in

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MAX_PIXELS = 2**27  # 11,000 x 11,000; a header that promises more is taken for a decompression bomb
BOMB = "taken for a decompression bomb; raise data.max_pixels for a stitched micrograph"
TAIL = 65536  # bytes in which the mark of the end is looked for
TURNED_BY = frozenset(
    ("exif", "xmp", "XML:com.adobe.xmp")
)  # what Pillow finds an orientation in, of a TIFF beside it
TURNED = "turned as the orientation tag says"
BITS, PHOTOMETRIC, ORIENTATION, MAX_SAMPLE, PALETTE = 258, 262, 274, 281, 320  # tags, TIFF 6.0
# What turns an image upright, by its orientation tag; 1 = as it is.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray] | None] = {
    1: None,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    8: np.rot90,
}

# Pillow warns of a bomb and then decodes it, and tells of odd metadata that do not concern the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class BadFile(Exception):
    """An image that cannot be used; the text is the reason, without the file's name."""


class Header(NamedTuple):
    """What is known of an image without its pixels.

    Attributes:
      height, width: size in px.
      channels: number of channels.
      dtype: uint8, uint16 or float32; of a file as stored also int32.
      copies: whether its three channels are copies of each other; False also where it was not decoded.
    """

    height: int
    width: int
    channels: int
    dtype: str
    copies: bool = False


class ImageFile(NamedTuple):
    """What an image file holds.

    Attributes:
      header: its header.
      low, high: smallest and largest value; NaN where it was not decoded.
      white: value of white where the file names it, else 0.
      inverted: whether its smallest value is white, and the pixels are not yet inverted.
      notes: remarks on what was done to the image.
      unused: entries of the file that were not used.
    """

    header: Header
    low: float = math.nan
    high: float = math.nan
    white: float = 0.0
    inverted: bool = False
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def header_of(pixels: Shaped[np.ndarray, "H W C"]) -> Header:
    """Return the header of a decoded image."""
    copies = pixels.shape[-1] == 3 and bool((pixels == pixels[..., :1]).all())
    return Header(*pixels.shape, pixels.dtype.name, copies)


def is_image(name: str) -> bool:
    """Return whether a name is that of an image file; hidden files are none."""
    base = name.rpartition("/")[2]
    return base.lower().endswith(SUFFIXES) and not base.startswith(".")


def check_pixels(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image that memory may not hold.

    Args:
      height: height in px.
      width: width in px.
      max_pixels: number of pixels that are let through.

    Raises:
      BadFile: it has more.
    """
    if height * width > max_pixels:
        raise BadFile(f"{height}x{width} px, more than data.max_pixels={max_pixels}: {BOMB}")


def read_header(stream: BufferedIOBase, max_pixels: int = MAX_PIXELS, *, decode: bool = False) -> ImageFile:
    """Check a file: a known format, a size that memory can hold, a complete end.

    Args:
      stream: the file.
      max_pixels: number of pixels that are let through.
      decode: whether it is decoded; else that is done only where its end does not look complete.

    Raises:
      BadFile: it fails one of these, or cannot be decoded.
    """
    with _opened(stream, max_pixels) as image:
        tail = _tail(stream)
        complete = _looks_complete(stream, image, tail)
        turn = _orientation(image)
        exchanged = turn >= 5 and image.format != "TIFF"  # of which Pillow knows already
        height, width = (image.width, image.height) if exchanged else (image.height, image.width)
        file = _described(image, Header(height, width, *_layout(image.mode)), turn)
        if image.format == "PNG" and b"eXIf" in tail and "exif" not in image.info:
            decode = True  # the orientation lies behind the pixels
        if not decode and complete:
            return file
        try:
            pixels = _decoded(image)
        except BadFile as error:
            raise error if complete else BadFile("cut off before its end") from error
        notes = (TURNED,) if _orientation(image) > 1 else file.notes
        unused = tuple(line for line in file.unused if line != ALPHA or not _is_opaque(image))
        return file._replace(
            header=header_of(pixels),
            low=float(pixels.min()),
            high=float(pixels.max()),
            notes=notes,
            unused=unused,
        )


def read_image(stream: BufferedIOBase, max_pixels: int = MAX_PIXELS) -> Shaped[np.ndarray, "H W C"]:
    """Decode an image into uint8, uint16, int32 or float32, with one channel or three.

    Args:
      stream: the file.
      max_pixels: number of pixels that are let through.

    Raises:
      BadFile: it cannot be decoded, is too large, or holds values that are no numbers.
    """
    with _opened(stream, max_pixels) as image:
        return _decoded(image)


class _pillow_errors:
    """Turn errors of Pillow, which raises nearly anything on bad bytes, into BadFile; no code of ours runs inside."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, BadFile) or not isinstance(error, Exception):
            return
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            raise BadFile(f"far more pixels than data.max_pixels: {BOMB}") from error
        if isinstance(error, Image.UnidentifiedImageError):
            raise BadFile("not a PNG, JPEG, TIFF or BMP image, or cut off in its header") from error
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise BadFile(error.strerror.lower()) from error
        reason = re.sub(r"\s+", " ", str(error)).strip()[:120]
        raise BadFile(f"cannot be decoded ({reason or type(error).__name__})") from error


def _opened(stream: BufferedIOBase, max_pixels: int) -> Image.Image:
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own bound, which is one of the process
    with _pillow_errors():
        image = Image.open(stream, formats=FORMATS)
    check_pixels(image.height, image.width, max_pixels)
    return image


def _tail(stream: BufferedIOBase) -> bytes:
    stream.seek(max(0, stream.seek(0, 2) - TAIL))
    return stream.read()


def _looks_complete(stream: BufferedIOBase, image: Image.Image, tail: bytes) -> bool:
    """Whether a file is not cut off: PNG and JPEG end with a mark, a TIFF lists its strips, a BMP has its length."""
    length = stream.tell()
    if image.format == "PNG":
        return b"IEND" in tail
    if image.format in ("JPEG", "MPO"):
        return b"\xff\xd9" in tail
    if image.format == "BMP":
        return length >= image.width * image.height // 8
    complete = True
    for offsets, counts in ((273, 279), (324, 325)):
        with _pillow_errors():  # tags are decoded here, and may be of any type
            starts, sizes = image.tag_v2.get(offsets, ()), image.tag_v2.get(counts, ())
            complete &= all(start + size <= length for start, size in zip(starts, sizes))
    return complete


def _described(image: Image.Image, header: Header, turn: int) -> ImageFile:
    """Return what is known of an image that is not yet decoded."""
    tags: dict[int, Any] = {}
    with _pillow_errors():
        if image.format == "TIFF":
            tags = {
                tag: image.tag_v2[tag] if tag in (BITS, MAX_SAMPLE, PALETTE) else 0 for tag in image.tag_v2
            }
            tags[PHOTOMETRIC] = image.tag_v2.get(PHOTOMETRIC)
        transparent = image.has_transparency_data
    white = _white(tags) if tags else 0.0
    inverted = tags.get(PHOTOMETRIC) == 0 and image.mode[0] in "IF"  # 8 bits and less Pillow inverts
    unused = unused_in(image, tags, transparent=transparent, white=white)
    notes = (TURNED,) if turn > 1 else ()
    return ImageFile(header, white=white, inverted=inverted, notes=notes, unused=unused)


def _white(tags: Mapping[int, Any]) -> float:
    """Return the value of white of a TIFF that names one of 9 to 16 bits, else 0."""
    bits, stated = (integers(tags.get(tag)) for tag in (BITS, MAX_SAMPLE))
    if bits and 8 < max(bits) < 16:
        return 2.0 ** max(bits) - 1
    return float(max(stated)) if stated and max(stated) in [2**n - 1 for n in range(9, 17)] else 0.0


def _orientation(image: Image.Image) -> int:
    """Return the orientation tag of an image, 1 where there is none that can be read (EXIF 2.32, 4.6.4)."""
    if image.format != "TIFF" and TURNED_BY.isdisjoint(image.info):
        return 1
    found = 1
    with contextlib.suppress(Exception):  # of metadata alone, which Pillow raises nearly anything on
        found = (image.tag_v2 if image.format == "TIFF" else image.getexif()).get(ORIENTATION, 1)
    return int(found) if found in TURNS else 1


def _decoded(image: Image.Image) -> Shaped[np.ndarray, "H W C"]:
    with _pillow_errors():
        image.load()
    pixels = _pixels(image)
    turn = TURNS[_orientation(image)]  # Pillow applies and removes the tag of a TIFF
    if turn is not None:
        pixels = turn(pixels)
    return pixels[..., None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])


def _is_opaque(image: Image.Image) -> bool:
    return image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema()[0] == 255


def _layout(mode: str) -> tuple[int, str]:
    if mode.startswith(("I", "F")):
        return 1, {"I": "int32", "F": "float32"}.get(mode, "uint16")
    return (1 if mode in ("1", "L", "LA", "La") else 3), "uint8"


def _pixels(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode in ("1", "LA", "La"):
        return np.asarray(image.convert("L" if mode == "1" else "LA").getchannel(0))
    if mode in ("L", "RGB", "RGBA", "RGBX", "I"):
        return np.asarray(image)
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "F":
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all():
            raise BadFile("holds values that are no numbers (NaN or infinite)")
        return values
    if mode == "P" and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
