"""HDF5 from untrusted files: plain data sets inside the file itself, of a size that the file can hold.

Refused are links to other files or elsewhere in this one, data kept in other files (external storage, virtual
data sets), references, variable-length and compound types, and sizes that the stored bytes cannot give.
"""

import functools
import math
import struct
from collections.abc import Callable, Iterator
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
# What h5py raises for a broken file. TypeError is that of a stored type which numpy lacks; every function below
# that is guarded does little but call h5py.
LIBRARY_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)


def _guarded(function: Callable) -> Callable:
    """Return the function with the HDF5 library's errors turned into a UserError."""

    @functools.wraps(function)
    def guarded(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except UserError:
            raise
        except LIBRARY_ERRORS as fault:
            raise UserError("path", f"is no sound HDF5 file ({fault})") from None

    return guarded


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, and close it.

    Args:
      path: the file.

    Raises:
      UserError: it is no HDF5 file.
    """
    with _guarded(h5py.File)(path, "r", locking=False) as file:
        yield file


@_guarded
def names(group: h5py.Group) -> list[str]:
    """Return the names in a group.

    Args:
      group: the group.

    Raises:
      UserError: there are more than any scan has, or one is no text.
    """
    if len(group) > MAX_MEMBERS:
        raise UserError("path", f"has {len(group)} members in {group.name}", "it is not a scan")
    found = list(group)
    if any(isinstance(name, bytes) for name in found):
        raise UserError("path", f"has a name that is no UTF-8 text in {group.name}")
    return found


@_guarded
def has(group: h5py.Group, name: str) -> bool:
    """Return whether a name is in a group; a link is not followed.

    Args:
      group: the group.
      name: name of the member.

    Raises:
      UserError: the file is broken.
    """
    return group.id.links.exists(name.encode())


@_guarded
def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return the group or data set under a name, or None.

    Args:
      group: the group.
      name: name of the member.

    Raises:
      UserError: the name is a link to another place or file.
    """
    if not has(group, name):
        return None
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise UserError(
            "path", f"has a link in place of data at {group.name}/{name}", "links are not followed"
        )
    return group[name]


def subgroup(group: h5py.Group, *path: str) -> h5py.Group | None:
    """Return the group at the end of a path of names, or None.

    Args:
      group: the group to start from.
      *path: names, one within the other.

    Raises:
      UserError: one of them is a link, or the file is broken.
    """
    for name in path:
        found = member(group, name)
        if not isinstance(found, h5py.Group):
            return None
        group = found
    return group


def subgroups(group: h5py.Group) -> list[tuple[str, h5py.Group]]:
    """Return the groups in a group with their names.

    Args:
      group: the outer group.

    Raises:
      UserError: there are too many members, or one is a link.
    """
    found = [(name, subgroup(group, name)) for name in names(group)]
    return [(name, inner) for name, inner in found if inner is not None]


@_guarded
def numbers(group: h5py.Group, *aliases: str, most: int = 0) -> np.ndarray | None:
    """Return the numeric data set under the first of some names that is there, or None.

    Args:
      group: the group.
      *aliases: names by which programs call the data set.
      most: largest count of numbers that is read; 0 = as many as a scan can have.

    Raises:
      UserError: its type or size is refused, or it is kept in another file.
    """
    dataset = _dataset(group, aliases)
    if dataset is None:
        return None
    if most and dataset.size > most:
        raise UserError("path", f"holds {dataset.size} numbers, more than columns do")
    if dataset.dtype.kind not in "iufb" or dataset.dtype.itemsize > 8:
        raise UserError("path", f"has {dataset.name} of type {dataset.dtype}", "plain numbers are needed")
    _check_size(dataset)
    values = dataset[()]
    return np.asarray(values, values.dtype.newbyteorder("="))


def column(group: h5py.Group, *aliases: str) -> Float[np.ndarray, "N"]:
    """Return a data set of one number a point as float64.

    Args:
      group: the group.
      *aliases: names by which programs call the data set.

    Raises:
      UserError: it is not there, or refused.
    """
    values = numbers(group, *aliases)
    if values is None:
        raise UserError("path", f"has no data set {group.name}/{aliases[0]}")
    return values.reshape(-1).astype(np.float64)


def scalar(group: h5py.Group, *aliases: str) -> float:
    """Return the first number of a data set; NaN where there is none.

    Args:
      group: the group.
      *aliases: names by which programs call the data set.

    Raises:
      UserError: the data set is refused.
    """
    values = numbers(group, *aliases)
    return float(values.flat[0]) if values is not None and values.size else float("nan")


@_guarded
def texts(group: h5py.Group, *aliases: str) -> list[str]:
    """Return the strings of a data set, of fixed or variable length; none where it is no short text.

    Args:
      group: the group.
      *aliases: names by which programs call the data set.

    Raises:
      UserError: the data set is refused.
    """
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
    """Return the first string of a data set; '' where there is none.

    Args:
      group: the group.
      *aliases: names by which programs call the data set.

    Raises:
      UserError: the data set is refused.
    """
    return next(iter(texts(group, *aliases)), "")


@_guarded
def attribute(group: h5py.Group, name: str) -> np.ndarray | None:
    """Return an attribute of three plain numbers; None where there is none.

    Args:
      group: the group.
      name: name of the attribute.

    Raises:
      UserError: the file is broken.
    """
    if name not in group.attrs:
        return None
    stored = group.attrs.get_id(name)
    return group.attrs[name] if stored.shape == (3,) and stored.dtype.kind in "iuf" else None


def _dataset(group: h5py.Group, aliases: tuple[str, ...]) -> h5py.Dataset | None:
    for name in aliases:
        found = member(group, name)
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise UserError("path", f"keeps {found.name} in another file", "only the file itself is read")
            return found
    return None


def _check_size(dataset: h5py.Dataset) -> None:
    if not dataset.size:
        raise UserError("path", f"has no values in {dataset.name}")
    if dataset.size > NUMBERS_PER_BYTE * dataset.file.id.get_filesize():
        raise UserError(
            "path", f"declares {dataset.size} numbers in {dataset.name}, more than the file can hold"
        )
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.nbytes > dataset.id.get_storage_size() * (MAX_RATIO if packed else 1):
        raise UserError(
            "path", f"declares {dataset.nbytes} bytes in {dataset.name} but stores too few for them"
        )
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > 16 * dataset.nbytes + 2**20:
        raise UserError("path", f"keeps {dataset.name} in chunks of {chunk} bytes, far above its size")
    limit_points(dataset.size // 3)


def _heap_texts(dataset: h5py.Dataset) -> list[bytes]:
    """Return strings of variable length, read by hand: the library loops for ever in a broken global heap.

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
    """Return one object of a heap collection; b'' where there is none."""
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
