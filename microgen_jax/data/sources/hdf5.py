"""HDF5 files of image stacks. Only what is stored in a file itself is read: external links, external
storage and virtual datasets lead to other files and are refused, as are object types."""

import io
import math
import os
from functools import lru_cache, partial

import h5py

from microgen_jax.data.decoding import BadFile
from microgen_jax.data.records import Listing, place
from microgen_jax.data.sources.array_stacks import Array, list_arrays
from microgen_jax.data.sources.file_tree import BROKEN, Tree, reason_of
from microgen_jax.errors import UserError

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
MAX_OBJECTS = 10_000
MAX_RATIO = 1100  # deflate gains 1032 at most


def open_hdf5(
    tree: Tree,
    *,
    root: str,
    key: str = "",
    layout: str = "auto",
    value_range: str = "auto",
    on_bad_file: str = "raise",
) -> Listing:
    """Lists the images in the HDF5 files of a tree.

    Args:
      key: of the dataset in every file; '' = the first in the order of names that has two to four axes.
      layout: HW | NHW | HWK | HWC | NHWC, or 'auto' (see `layouts.find_layout`).
      value_range: auto | ids | 'low,high' (see `ranges`).

    Raises:
      UserError: no HDF5 file, or what `arrays.list_arrays` refuses.
    """
    files = [name for name in tree.files if name.lower().endswith(SUFFIXES)]
    if not files:
        raise UserError(f"data.root: no HDF5 file ({', '.join(SUFFIXES)}) in {root}")
    arrays, refused = [], list(tree.refused)
    for name in files:
        try:
            arrays.append(_find(tree, root, name, key))
        except BadFile as error:
            refused.append((name, str(error)))
    if not arrays:
        raise UserError(f"{place(root, refused[0][0])}: {refused[0][1]}")
    return list_arrays(
        arrays,
        kind="hdf5",
        root=root,
        root_name=tree.name,
        layout=layout,
        value_range=value_range,
        refused=refused,
        on_bad_file=on_bad_file,
    )


def _find(tree: Tree, root: str, name: str, key: str) -> Array:
    try:
        file = _file(root, name, os.getpid(), tree.open)
        found = _datasets(file)
    except BROKEN as error:
        raise BadFile(f"not an HDF5 file, or broken ({reason_of(error)})") from error
    usable = []
    if key:
        key = key.strip("/")
        if key not in found:
            raise BadFile(f"no dataset {key!r} in it; there are {', '.join(sorted(found)) or 'none'}")
    else:
        usable = sorted(k for k, d in found.items() if 2 <= d.ndim <= 4 and d.dtype.kind in "buif")
        if not usable:
            raise BadFile("no dataset of numbers with two to four axes in it")
        key = usable[0]
    dataset = found[key]
    if dataset.external or dataset.is_virtual:
        raise BadFile(f"dataset {key!r} is kept in other files")
    if dataset.shape is None or not 2 <= dataset.ndim <= 4:
        raise BadFile(f"dataset {key!r} has the shape {dataset.shape}, no images")
    _check_stored(dataset, key)
    return Array(
        name, key, dataset.shape, dataset.dtype, partial(_load, root, name, key, tree.open), None, usable[1:]
    )


def _check_stored(dataset: h5py.Dataset, key: str) -> None:
    """Refuses a dataset that promises more than its bytes can give, or whose chunks are far above its size."""
    filtered = dataset.id.get_create_plist().get_nfilters() > 0
    if dataset.nbytes > dataset.id.get_storage_size() * (MAX_RATIO if filtered else 1):
        raise BadFile(f"dataset {key!r} promises {dataset.nbytes:,} bytes, and too few are stored")
    if math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize > 16 * dataset.nbytes + 2**20:
        raise BadFile(f"dataset {key!r} has chunks of {dataset.chunks}, far above its size")


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """By name; links to elsewhere are not followed, and every object is visited once."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found[name] = item
        return True if len(found) >= MAX_OBJECTS else None

    file.visititems(visit)
    return found


def _load(root: str, name: str, key: str, opener) -> h5py.Dataset:
    return _file(root, name, os.getpid(), opener)[key]


@lru_cache(maxsize=64)
def _file(root: str, name: str, process: int, opener) -> h5py.File:
    """One handle per process; a file inside a zip is unpacked to memory."""
    stream = opener(name)
    if isinstance(stream, io.BufferedReader):
        with stream:
            return h5py.File(stream.name, "r", locking=False)
    return h5py.File(io.BytesIO(stream.read()), "r")
