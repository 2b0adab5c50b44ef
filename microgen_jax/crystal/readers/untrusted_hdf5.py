"""HDF5 that came from elsewhere: plain data sets inside the file itself, of a size that the file can hold.

Refused are links to other files or elsewhere in this one, data kept in other files (external storage, virtual
data sets), references, variable-length and compound types, and sizes that the stored bytes cannot give.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.readers.points import limit_points
from microgen_jax.errors import UserError

MAX_RATIO = 1100  # deflate gains 1032 at most
MAX_TEXT = 65_536
MAX_TEXTS = 256
MAX_HEAP = 2**22
MAX_MEMBERS = 1000
NUMBERS_PER_BYTE = 4  # of the whole file: a scan of which all is constant but one angle keeps below this
BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError, SystemError)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Opens a file; whatever the HDF5 library then says of a broken file becomes a UserError."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except BROKEN as fault:
        raise UserError(f"is no sound HDF5 file: {fault}") from None


def names(group: h5py.Group) -> list[str]:
    """Returns the names in a group.

    Raises:
      UserError: there are more than any scan has.
    """
    if len(group) > MAX_MEMBERS:
        raise UserError(f"has {len(group)} members in {group.name}: it is not a scan")
    return list(group)


def has(group: h5py.Group, name: str) -> bool:
    """Returns whether a name is in a group; a link is not followed."""
    return group.id.links.exists(name.encode())


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Returns what lies under a name, or None.

    Raises:
      UserError: the name is a link to another place or file.
    """
    if not has(group, name):
        return None
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise UserError(f"has a link in place of data at {group.name}/{name}: links are not followed")
    return group[name]


def subgroup(group: h5py.Group, *path: str) -> h5py.Group | None:
    """Returns the group at the end of a path of names, or None."""
    for name in path:
        found = member(group, name)
        if not isinstance(found, h5py.Group):
            return None
        group = found
    return group


def subgroups(group: h5py.Group) -> list[tuple[str, h5py.Group]]:
    """Returns the groups in a group with their names."""
    found = [(name, subgroup(group, name)) for name in names(group)]
    return [(name, inner) for name, inner in found if inner is not None]


def numbers(group: h5py.Group, *aliases: str) -> np.ndarray | None:
    """Returns the numeric data set under the first of some names that is there, or None.

    Raises:
      UserError: its type or size is refused, or it is kept in another file.
    """
    dataset = _dataset(group, aliases)
    if dataset is None:
        return None
    if dataset.dtype.kind not in "iufb" or dataset.dtype.itemsize > 8:
        raise UserError(f"has {dataset.name} of type {dataset.dtype}: plain numbers are needed")
    _check_size(dataset)
    values = dataset[()]
    return np.asarray(values, values.dtype.newbyteorder("="))


def column(group: h5py.Group, *aliases: str) -> Float[np.ndarray, "N"]:
    """Returns a data set of one number a point as float64.

    Raises:
      UserError: it is not there, or refused.
    """
    values = numbers(group, *aliases)
    if values is None:
        raise UserError(f"has no data set {group.name}/{aliases[0]}")
    return values.reshape(-1).astype(np.float64)


def scalar(group: h5py.Group, *aliases: str) -> float:
    """Returns the first number of a data set; NaN where there is none."""
    values = numbers(group, *aliases)
    return float(values.flat[0]) if values is not None and values.size else float("nan")


def texts(group: h5py.Group, *aliases: str) -> list[str]:
    """Returns the strings of a data set, of fixed or variable length; none where it is no short text."""
    dataset = _dataset(group, aliases)
    if dataset is None:
        return []
    string = h5py.check_string_dtype(dataset.dtype)
    if string is None or not dataset.size or dataset.size > MAX_TEXTS:
        return []
    if string.length is None:
        stored = _heap_texts(dataset)
    elif string.length > MAX_TEXT:
        return []
    else:
        _check_size(dataset)
        stored = np.asarray(dataset[()]).reshape(-1).tolist()
    return [value.decode("utf-8", "replace").strip("\0 ") for value in stored]


def text(group: h5py.Group, *aliases: str) -> str:
    """Returns the first string of a data set; '' where there is none."""
    return next(iter(texts(group, *aliases)), "")


def _dataset(group: h5py.Group, aliases: tuple[str, ...]) -> h5py.Dataset | None:
    for name in aliases:
        found = member(group, name)
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise UserError(f"keeps {found.name} in another file: only the file itself is read")
            return found
    return None


def _check_size(dataset: h5py.Dataset) -> None:
    if not dataset.size:
        raise UserError(f"has no values in {dataset.name}")
    if dataset.size > NUMBERS_PER_BYTE * dataset.file.id.get_filesize():
        raise UserError(f"declares {dataset.size} numbers in {dataset.name}, more than the file can hold")
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.nbytes > dataset.id.get_storage_size() * (MAX_RATIO if packed else 1):
        raise UserError(f"declares {dataset.nbytes} bytes in {dataset.name} but stores too few for them")
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > 16 * dataset.nbytes + 2**20:
        raise UserError(f"keeps {dataset.name} in chunks of {chunk} bytes, far above its size")
    limit_points(dataset.size // 3)


def _heap_texts(dataset: h5py.Dataset) -> list[bytes]:
    """Returns strings of variable length, read by hand: the library loops for ever in a broken global heap.

    HDF5 File Format Specification 3.0, III.E and VIII.C: each element is the length (4 bytes), the address of
    a heap collection (8) and the number of an object in it (4).
    """
    start = dataset.id.get_offset()
    sizes = dataset.file.id.get_create_plist().get_sizes()
    if start is None or sizes != (8, 8) or dataset.file.userblock_size:
        return []
    with Path(dataset.file.filename).open("rb") as file:
        file.seek(start)
        elements = file.read(16 * dataset.size)
        return [
            _heap_text(file, *found) for found in struct.iter_unpack("<IQI", elements[: len(elements) & ~15])
        ]


def _heap_text(file: BinaryIO, length: int, address: int, number: int) -> bytes:
    """Returns one object of a heap collection; b'' where there is none."""
    if length > MAX_TEXT or address > 2**62:
        return b""
    file.seek(address)
    heap = file.read(16)
    if len(heap) < 16 or heap[:4] != b"GCOL":
        return b""
    heap += file.read(min(int.from_bytes(heap[8:], "little"), MAX_HEAP))
    at = 16
    while at + 16 <= len(heap):
        index, size = struct.unpack_from("<H6xQ", heap, at)
        if index == number:
            return heap[at + 16 : at + 16 + min(size, length)]
        if index == 0:
            break
        at += 16 + (size + 7) // 8 * 8
    return b""
