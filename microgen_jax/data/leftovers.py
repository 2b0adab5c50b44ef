"""What an image file holds beside the pixels that are read, and that changes what they mean or is an image itself.

Descriptive entries (operator, date, instrument, resolution) are passed over.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

ALPHA = "an alpha channel"
# Tags of a TIFF (6.0, and its supplements) that the decoder uses.
USED = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339,
        347, 529, 530, 531, 532}  # fmt: skip
# Those that describe, of microscopes' makers (FEI, Zeiss, JEOL, Hitachi, Olympus, ImageJ, Micro-Manager) too.
DESCRIPTIVE = {254, 255, 263, 264, 265, 269, 270, 271, 272, 280, 282, 283, 285, 286, 287, 296, 297, 305, 306, 315, 316,
               318, 319, 532, 700, 32932, 33432, 33550, 33560, 33628, 33629, 33630, 33723, 34118, 34361, 34377, 34665,
               34675, 34680, 34682, 34853, 37724, 50838, 50839, 51123, 65006, 65009, 65010, 65015, 65026}  # fmt: skip
MEANINGS = {281: "MaxSampleValue", 290: "GrayResponseUnit", 291: "GrayResponseCurve", 301: "TransferFunction",
            330: "SubIFDs, further images", 340: "SMinSampleValue", 341: "SMaxSampleValue", 42112: "GDAL_METADATA",
            42113: "GDAL_NODATA", 50714: "BlackLevel", 50717: "WhiteLevel"}  # fmt: skip
STANDARD_GAMMA = 0.45455  # of sRGB
SRGB = (b"sRGB", "sRGB".encode("utf-16-be"))  # in the description of a profile


def unused_in(
    image: Image.Image, tags: Mapping[int, Any], *, transparent: bool, white: float
) -> tuple[str, ...]:
    """Return a phrase for each thing in a file that is not used.

    Args:
      image: the image, opened and not yet decoded.
      tags: tags of a TIFF, of which the palette has its value.
      transparent: whether it has an alpha channel or a transparent colour.
      white: value of white that was taken from the file, 0 = none.
    """
    found = []
    if image.format == "TIFF":
        found += [*(["further pages"] if image.tag_v2.next else []), *_tags(tags, white)]
    elif (frames := getattr(image, "n_frames", 1)) > 1:
        found.append(f"{frames - 1} further frames")
    if transparent:
        found.append(ALPHA)
    if image.mode[0] not in "IF" and image.tile and ";16" in str(image.tile[0].args):
        found.append("the lower 8 of 16 bits of colours")
    if image.mode == "CMYK":
        found.append("inks (CMYK), turned into RGB without a colour profile")
    profile = image.info.get("icc_profile", SRGB[0])
    if not (isinstance(profile, bytes) and any(name in profile for name in SRGB)):
        found.append("an ICC colour profile")
    gamma = image.info.get("gamma", STANDARD_GAMMA)
    if abs(gamma - STANDARD_GAMMA) > 0.001:
        found.append(f"a gamma of {gamma:g}")
    chunks = {chunk[0].decode("latin-1") for chunk in getattr(image, "private_chunks", ())}
    return (*found, *(f"the chunk {name!r}" for name in sorted(chunks)))


def _tags(tags: Mapping[int, Any], white: float) -> list[str]:
    found = []
    if any(entry % 256 and entry % 257 for entry in integers(tags.get(320))):
        found.append("the lower 8 of 16 bits of a palette")
    known = USED | DESCRIPTIVE | ({281} if white else set())
    return found + [f"the tag {tag} ({MEANINGS.get(tag, 'unknown')})" for tag in sorted(set(tags) - known)]


def integers(value: Any) -> list[int]:
    """Return the integers of a tag, which may hold anything."""
    return [entry for entry in (value if isinstance(value, tuple) else [value]) if isinstance(entry, int)]


def summed(found: Sequence[tuple[str, str]], count: int) -> tuple[str, ...]:
    """Return a line for each phrase, with how many of the files it is true of.

    Args:
      found: (file, phrase).
      count: number of all files.
    """
    first = {phrase: file for file, phrase in reversed(found)}
    times = Counter(phrase for _, phrase in found)
    return tuple(
        f"{phrase}: {times[phrase]} of {count}, such as {file}" for phrase, file in sorted(first.items())
    )
