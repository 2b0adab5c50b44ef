"""Reader of image stacks in HDF5 files.

Only what is stored in a file itself is read: external links, external storage and virtual datasets lead to other
files and are refused, as are object types.
"""

import io
import math
import os
from functools import lru_cache, partial

import h5py
import numpy as np

from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources.array_layout import StoredArray
from microgen_jax.data.sources.file_tree import BROKEN_HDF5, Tree, reason_of
from microgen_jax.data.sources.hdf5_attributes import read_attributes
from microgen_jax.data.sources.hdf5_filters import check_filters

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
MAX_OBJECTS = 10_000
MAX_RATIO = 1100  # deflate gains 1032 at most


def find_array(tree: Tree, root: str, name: str, key: str) -> StoredArray:
    """Return the dataset of a file that holds the images.

    Args:
      tree: the files.
      root: the root as a person would name it.
      name: name of the file in the tree.
      key: name of the dataset; '' = `images`, or the first in the order of names that has two to four axes.

    Raises:
      BadFile: no HDF5 file, no such dataset, one that is not stored whole in this file, or one that is packed
        with a filter that is not installed.
    """
    try:
        file = _file(root, name, os.getpid(), tree.open)
        found = _datasets(file)
        usable = [] if key else sorted(k for k, d in found.items() if _is_usable(d))
    except BROKEN_HDF5 as error:
        raise BadFile(f"not an HDF5 file, or broken ({reason_of(error)})") from error
    key = key.strip("/")
    if key and key not in found:
        raise BadFile(f"no dataset {key!r} in it; there are {', '.join(sorted(found)) or 'none'}")
    if not key and not usable:
        raise BadFile("no dataset of numbers with two to four axes in it")
    key = key or ("images" if "images" in usable else usable[0])
    dataset = found[key]
    if dataset.external or dataset.is_virtual:
        raise BadFile(f"dataset {key!r} is kept in other files")
    if dataset.shape is None or not 2 <= dataset.ndim <= 4:
        raise BadFile(f"dataset {key!r} has the shape {dataset.shape}, no images")
    _check_stored(dataset, key)
    check_filters(dataset)
    others = tuple(_stored(tree, root, name, found[other]) for other in sorted(found) if other != key)
    stored = _stored(tree, root, name, dataset)
    return stored._replace(others=others, **read_attributes(dataset)._asdict())


def _stored(tree: Tree, root: str, name: str, dataset: h5py.Dataset) -> StoredArray:
    key, text = dataset.name.strip("/"), h5py.check_string_dtype(dataset.dtype) is not None
    load = partial(_load_text if text else _load, root, name, key, tree.open)
    shape = dataset.shape or ()
    return StoredArray(name, key, shape, np.dtype("U") if text else dataset.dtype, load)


def _is_usable(dataset: h5py.Dataset) -> bool:
    return 2 <= dataset.ndim <= 4 and dataset.dtype.kind in "buif"


def _check_stored(dataset: h5py.Dataset, key: str) -> None:
    """Refuse a dataset that promises more than its bytes can give, or whose chunks are far above its size."""
    filtered = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.nbytes > dataset.id.get_storage_size() * (MAX_RATIO if filtered else 1):
        raise BadFile(f"dataset {key!r} promises {dataset.nbytes:,} bytes, and too few are stored")
    if math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize > 16 * dataset.nbytes + 2**20:
        raise BadFile(f"dataset {key!r} has chunks of {dataset.chunks}, far above its size")


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return all datasets by name; links to elsewhere are not followed, and every object is visited once."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found[name] = item
        return True if len(found) >= MAX_OBJECTS else None

    file.visititems(visit)
    return found


def _load(root: str, name: str, key: str, opener) -> h5py.Dataset:
    return _file(root, name, os.getpid(), opener)[key]


def _load_text(root: str, name: str, key: str, opener) -> np.ndarray:
    return np.array(_load(root, name, key, opener).asstr(errors="replace")[()], dtype=str)


@lru_cache(maxsize=64)
def _file(root: str, name: str, process: int, opener) -> h5py.File:
    """Return one handle per process; a file inside a zip is unpacked to memory."""
    stream = opener(name)
    if isinstance(stream, io.BufferedReader):
        with stream:
            return h5py.File(stream.name, "r", locking=False)
    return h5py.File(io.BytesIO(stream.read()), "r")
