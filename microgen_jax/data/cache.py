"""Decoded images, written once to a file that is mapped into memory, so that no epoch decodes a PNG again.

    <folder>/<key>/pixels.bin   every image's bytes, one after the other, each starting at a multiple of 64
    <folder>/<key>/index.npz    where each one starts, its shape and dtype, and why a bad one could not be read

The key is three hashes: of the root with the settings that change the pixels, of the sizes and times of
its files, and of the images listed. A stale cache therefore has another key; it is written anew, and caches of
the same root and settings from before its files changed are removed (a process that still reads one keeps it
until it ends). A cache is written in a folder beside its own and renamed when it is whole; of two that are
written at once, one is dropped. What a killed process left half-written is removed after an hour without a write.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microgen_jax.data.catalogue import THREADS, Catalogue, bad_file_error
from microgen_jax.data.decoding import BadFile
from microgen_jax.errors import UserError

FORMAT = 3
ALIGNMENT = 64  # bytes
CHUNK = 256  # images decoded before they are written
ABANDONED_AFTER = 3600  # seconds without a write
DTYPES = ("uint8", "uint16", "float32")


class _Index(NamedTuple):
    start: np.ndarray  # int64 [N], -1 where the image is bad
    shape: np.ndarray  # int64 [N, 3]
    dtype: np.ndarray  # int64 [N], of DTYPES
    reason: np.ndarray  # text [N], of a bad image
    total: np.ndarray  # int64 [], bytes of pixels.bin


def cached(
    catalogue: Catalogue,
    folder: Path,
    *,
    files: Sequence[Path],
    settings: Mapping[str, Any],
    skip: bool,
    write: bool = True,
) -> Catalogue:
    """Return the catalogue with its images read from a cache under `folder`, which is written where it is missing.

    Args:
      catalogue: the images.
      folder: folder of all caches.
      files: files that the images are read from.
      settings: settings that the pixels depend on.
      skip: whether images that cannot be decoded are recorded and left out, instead of refused.
      write: whether a missing cache is written; without one the files are read.

    Raises:
      UserError: `folder` cannot be written, or (without `skip`) an image cannot be decoded.
    """
    origin, stamps, images = _keys(catalogue, files, settings)
    home = folder.expanduser() / f"{origin}-{stamps}-{images}"
    whole = _whole(home, len(catalogue.names))
    if not whole and not write:
        note = f"{folder} holds no cache of these images; --config.data.cache={folder} has one written"
        return catalogue._replace(notes=(*catalogue.notes, note))
    try:
        if not whole:
            _remove_stale(home.parent, origin, stamps)
            _write(catalogue, home, skip)
        index = _read_index(home)
        pixels = _mapped(home / "pixels.bin")
    except OSError as error:
        problem = f"{folder} cannot be used ({error.strerror or error})"
        raise UserError("cache", problem, "name another folder or set it to ''") from error

    def read(number: int) -> np.ndarray:
        start = index.start[number]
        if start < 0:
            raise BadFile(str(index.reason[number]))
        shape, dtype = index.shape[number], np.dtype(DTYPES[index.dtype[number]])
        length = int(shape.prod()) * dtype.itemsize
        return pixels[start : start + length].view(dtype).reshape(shape)

    note = f"decoded images are read from {home} ({int(index.total) / 2**20:.0f} MiB)"
    return catalogue._replace(read=read, notes=(*catalogue.notes, note))


def files_of(root: Path) -> list[Path]:
    """Return every file under a folder; for a file, itself and those beside it that share its stem (.cpr and .crc)."""
    if root.is_dir():
        return [Path(base) / name for base, _, names in os.walk(root) for name in names]
    return [path for path in root.parent.glob("*") if path.stem == root.stem]


def _keys(catalogue: Catalogue, files: Sequence[Path], settings: Mapping[str, Any]) -> list[str]:
    """Return the hashes of the root and its settings, of the state of its files, and of the images listed."""
    stamps = [
        (os.path.abspath(path), found.st_size, found.st_mtime_ns)
        for path in sorted(files)
        if path.is_file()
        for found in [path.stat()]
    ]
    origin = [FORMAT, catalogue.kind, os.path.abspath(catalogue.root), dict(settings)]
    images = [list(catalogue.names), [list(header) for header in catalogue.headers]]
    texts = [json.dumps(contents, sort_keys=True) for contents in (origin, stamps, images)]
    return [hashlib.sha256(text.encode()).hexdigest()[:12] for text in texts]


def _remove_stale(folder: Path, origin: str, stamps: str) -> None:
    """Remove caches of an earlier state of the same files, and what killed processes left half-written."""
    for path in folder.glob(f"{origin}-*"):
        if not path.name.startswith(f"{origin}-{stamps}-"):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{origin}-*"):
        touched = [file.stat().st_mtime for file in (path, *path.glob("*")) if file.exists()]
        if touched and time.time() - max(touched) > ABANDONED_AFTER:
            shutil.rmtree(path, ignore_errors=True)


def _whole(home: Path, count: int) -> bool:
    """Return whether there is an undamaged cache of so many images."""
    try:
        index = _read_index(home)
        return len(index.start) == count and (home / "pixels.bin").stat().st_size == int(index.total)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False


def _read_index(home: Path) -> _Index:
    with (home / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _Index(*(arrays[name] for name in _Index._fields))


def _write(catalogue: Catalogue, home: Path, skip: bool) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    try:
        np.savez(beside / "index.npz", **_write_pixels(catalogue, beside / "pixels.bin", skip)._asdict())
        try:
            beside.rename(home)
        except OSError:
            if not _whole(home, len(catalogue.names)):
                shutil.rmtree(home)
                beside.rename(home)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_pixels(catalogue: Catalogue, path: Path, skip: bool) -> _Index:
    starts, shapes, dtypes, reasons = [], [], [], []
    with path.open("wb") as file:
        for number, (image, reason) in enumerate(_decoded(catalogue)):
            if image is None and not skip:
                raise bad_file_error(catalogue.root, catalogue.names[number], reason)
            reasons.append(reason)
            starts.append(-1 if image is None else file.tell())
            shapes.append((0, 0, 0) if image is None else image.shape)
            dtypes.append(0 if image is None else DTYPES.index(image.dtype.name))
            if image is not None:
                file.write(np.ascontiguousarray(image).data)
                file.write(bytes(-file.tell() % ALIGNMENT))
        total = file.tell()
    return _Index(np.array(starts), np.array(shapes), np.array(dtypes), np.array(reasons), np.array(total))


def _decoded(catalogue: Catalogue) -> Iterator[tuple[np.ndarray | None, str]]:
    def decode(number: int) -> tuple[np.ndarray | None, str]:
        try:
            return catalogue.read(number), ""
        except BadFile as error:
            return None, str(error)

    count = len(catalogue.names)
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, count, CHUNK):
            yield from pool.map(decode, range(first, min(first + CHUNK, count)))


def _mapped(path: Path) -> np.ndarray:
    """Return the file as uint8 [bytes], read-only."""
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, mode="r").view(np.ndarray)
