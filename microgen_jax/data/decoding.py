"""Image files: what their header says, and their pixels as height, width, channels.

Alpha is dropped and a palette is looked up; 16-bit grey stays 16-bit (Pillow reads 16-bit colour as
8-bit). Of a TIFF with several pages the first is read. Float images must lie in [0, 1].
"""

import re
import warnings
from io import BufferedIOBase
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MAX_PIXELS = 2**27  # 11,000 x 11,000; a header that promises more is taken for a decompression bomb
TAIL = 65536  # bytes in which the mark of the end is looked for

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
      dtype: uint8, uint16 or float32.
      copies: whether its three channels are copies of each other; False also where it was not decoded.
      more: whether the file holds further images, which are not read (pages of a TIFF).
    """

    height: int
    width: int
    channels: int
    dtype: str
    copies: bool = False
    more: bool = False


def header_of(pixels: Shaped[np.ndarray, "H W C"]) -> Header:
    """Return the header of a decoded image."""
    copies = pixels.shape[-1] == 3 and bool((pixels == pixels[..., :1]).all())
    return Header(*pixels.shape, pixels.dtype.name, copies)


def is_image(name: str) -> bool:
    """Return whether a name is that of an image file; hidden files are none."""
    base = name.rpartition("/")[2]
    return base.lower().endswith(SUFFIXES) and not base.startswith(".")


def check_pixels(height: int, width: int) -> None:
    """Refuse an image that memory may not hold.

    Args:
      height: height in px.
      width: width in px.

    Raises:
      BadFile: it has more than `MAX_PIXELS`.
    """
    if height * width > MAX_PIXELS:
        raise BadFile(f"{height}x{width} px, more than {MAX_PIXELS:,}: taken for a decompression bomb")


def read_header(stream: BufferedIOBase) -> Header:
    """Check a file without decoding it: a known format, a size that memory can hold, a complete end.

    Raises:
      BadFile: it fails one of these.
    """
    with _opened(stream) as image:
        check_pixels(image.height, image.width)
        _check_end(stream, image)
        more = image.format == "TIFF" and bool(image.tag_v2.next)
        return Header(image.height, image.width, *_layout(image.mode), more=more)


def read_image(stream: BufferedIOBase) -> Shaped[np.ndarray, "H W C"]:
    """Decode an image into uint8, uint16 or float32, with one channel or three.

    Raises:
      BadFile: it cannot be decoded, is too large, or its numbers have no meaning as levels.
    """
    with _opened(stream) as image:
        check_pixels(image.height, image.width)
        with _pillow_errors():
            image.load()
        pixels = _pixels(image)
        return pixels[..., None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])


class _pillow_errors:
    """Turn errors of Pillow, which raises nearly anything on bad bytes, into BadFile; no code of ours runs inside."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, BadFile) or not isinstance(error, Exception):
            return
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            raise BadFile(f"more than {MAX_PIXELS:,} pixels: taken for a decompression bomb") from error
        if isinstance(error, Image.UnidentifiedImageError):
            raise BadFile("not a PNG, JPEG, TIFF or BMP image, or cut off in its header") from error
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise BadFile(error.strerror.lower()) from error
        reason = re.sub(r"\s+", " ", str(error)).strip()[:120]
        raise BadFile(f"cannot be decoded ({reason or type(error).__name__})") from error


def _opened(stream: BufferedIOBase) -> Image.Image:
    with _pillow_errors():
        return Image.open(stream, formats=FORMATS)


def _check_end(stream: BufferedIOBase, image: Image.Image) -> None:
    """Refuse a file that is cut off: PNG and JPEG end with a mark, a TIFF lists its strips, a BMP its length."""
    stream.seek(0, 2)
    length = stream.tell()
    stream.seek(max(0, length - TAIL))
    tail = stream.read()
    whole = True
    if image.format == "PNG":
        whole = b"IEND" in tail
    elif image.format in ("JPEG", "MPO"):
        whole = b"\xff\xd9" in tail
    elif image.format == "TIFF":
        for offsets, counts in ((273, 279), (324, 325)):
            with _pillow_errors():  # tags are decoded here, and may be of any type
                starts, sizes = image.tag_v2.get(offsets, ()), image.tag_v2.get(counts, ())
                whole &= all(start + size <= length for start, size in zip(starts, sizes))
    elif image.format == "BMP":
        whole = length >= image.width * image.height // 8
    if not whole:
        raise BadFile("cut off before its end")


def _layout(mode: str) -> tuple[int, str]:
    if mode.startswith("I"):
        return 1, "uint16"
    if mode == "F":
        return 1, "float32"
    return (1 if mode in ("1", "L", "LA", "La") else 3), "uint8"


def _pixels(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode in ("1", "LA", "La"):
        return np.asarray(image.convert("L" if mode == "1" else "LA").getchannel(0))
    if mode in ("L", "RGB", "RGBA", "RGBX"):
        return np.asarray(image)
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise BadFile(f"32-bit integers from {values.min()} to {values.max()}; save it with 16 bits")
        return values.astype(np.uint16)
    if mode == "F":
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise BadFile(f"float values from {values.min():g} to {values.max():g}; scale them to [0, 1]")
        return values
    if mode == "P" and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
