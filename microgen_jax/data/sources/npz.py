"""Reader of npz files.

An array that lies in the file as it is (`np.savez`) is mapped into memory, and read image by image; a packed
one (`np.savez_compressed`), or one in an npz inside a zip file, is unpacked into memory once a process.
"""

import io
import math
import os
import struct
import tokenize
import zipfile
from functools import lru_cache, partial
from io import BufferedIOBase
from typing import NamedTuple

import numpy as np

from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources.array_layout import StoredArray
from microgen_jax.data.sources.file_tree import BROKEN, Tree, reason_of
from microgen_jax.data.sources.scans import MAP_ARRAYS

SUFFIXES = (".npz",)
MAX_UNPACKED = 2**31  # bytes


class _Entry(NamedTuple):
    """An array of an npz file, by its header."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int  # of the numbers, in bytes from the start of the member


def find_array(tree: Tree, root: str, name: str, key: str) -> StoredArray:
    """Return the array of a file that holds the images.

    Args:
      tree: the files.
      root: the root as a person would name it.
      name: name of the file in the tree.
      key: name of the array; '' = `images`, or the only array with three or four axes.

    Raises:
      BadFile: no npz file, no such array, or one that is not whole.
    """
    try:
        with tree.open(name) as stream:
            entries = _entries(stream)
            wanted = _wanted(entries, key)
            _check(entries[wanted], wanted, _in_place(stream, entries[wanted]))
            if _in_place(stream, entries[wanted]):
                _check_sum(stream, entries[wanted])
    except BROKEN as error:
        raise BadFile(f"not an npz file, or broken ({reason_of(error)})") from error

    def stored(key: str) -> StoredArray:
        load = partial(_load, root, name, os.getpid(), tree.open, key)
        return StoredArray(name, key, entries[key].shape, entries[key].dtype, load)

    return stored(wanted)._replace(others=tuple(stored(key) for key in entries if key != wanted))


def _entries(stream: BufferedIOBase) -> dict[str, _Entry]:
    """Return every array by its header, without unpacking it."""
    entries = {}
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            with archive.open(member) as part:
                version = np.lib.format.read_magic(part)
                read = np.lib.format.read_array_header_1_0
                if version != (1, 0):
                    read = np.lib.format.read_array_header_2_0
                try:
                    shape, fortran, dtype = read(part)
                except (SyntaxError, tokenize.TokenError, TypeError) as error:  # a header that is no Python
                    raise ValueError(reason_of(error)) from error
                entry = _Entry(member, shape, fortran, dtype, part.tell())
                entries[member.filename.removesuffix(".npy")] = entry
    return entries


def _wanted(entries: dict[str, _Entry], key: str) -> str:
    if not key and entries.keys() >= MAP_ARRAYS:
        raise BadFile("is an EBSD map that write_map wrote: set data.source=ebsd")
    wanted = key or ("images" if "images" in entries else "")
    if not wanted:
        stacks = [k for k, entry in entries.items() if 3 <= len(entry.shape) <= 4]
        if len(stacks) != 1:
            raise BadFile(f"no array 'images' in it: set data.key to one of {', '.join(entries) or '(none)'}")
        wanted = stacks[0]
    if wanted not in entries:
        raise BadFile(f"no array {wanted!r} in it; there are {', '.join(entries) or 'none'}")
    return wanted


def _check(entry: _Entry, key: str, in_place: bool) -> None:
    """Refuse what holds no images, fewer bytes than it promises, or more than memory may."""
    if not 2 <= len(entry.shape) <= 4:
        raise BadFile(f"array {key!r} has the shape {entry.shape}, no images")
    there, promised = entry.member.file_size - entry.start, math.prod(entry.shape) * entry.dtype.itemsize
    if there != promised and not entry.dtype.hasobject:
        raise BadFile(f"array {key!r} promises {promised:,} bytes, and {there:,} are there")
    if not in_place and there > MAX_UNPACKED:
        raise BadFile(
            f"array {key!r} unpacks to {there:,} bytes, more than {MAX_UNPACKED:,}: write it with np.savez"
        )


def _in_place(stream: BufferedIOBase, entry: _Entry) -> bool:
    """Return whether the numbers lie in a file on disk as they are."""
    stored = entry.member.compress_type == zipfile.ZIP_STORED
    return stored and isinstance(stream, io.BufferedReader) and not entry.dtype.hasobject


def _check_sum(stream: BufferedIOBase, entry: _Entry) -> None:
    """Read the bytes through once, which a map would never hold against their checksum."""
    with zipfile.ZipFile(stream) as archive, archive.open(entry.member) as part:
        while part.read(2**20):
            pass


@lru_cache(maxsize=16)
def _load(root: str, name: str, process: int, opener, key: str) -> np.ndarray:
    with opener(name) as stream:
        entry = _entries(stream)[key]
        if not _in_place(stream, entry) or 0 in entry.shape:
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return arrays[key]
        stream.seek(entry.member.header_offset + 26)  # the lengths of name and extra field, APPNOTE 4.3.7
        start = entry.member.header_offset + 30 + sum(struct.unpack("<HH", stream.read(4))) + entry.start
        order = "F" if entry.fortran else "C"
        return np.memmap(stream.name, entry.dtype, "r", start, entry.shape, order)
