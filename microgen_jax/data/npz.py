"""npz files: `images`, and `labels` where there are classes; unpacked into memory once a process."""

import os
import zipfile
from functools import lru_cache, partial

import numpy as np

from microgen_jax.data.arrays import Array, list_arrays
from microgen_jax.data.images import BadFile
from microgen_jax.data.listing import Listing
from microgen_jax.data.tree import Tree
from microgen_jax.types import UserError

MAX_BYTES = 2**33


def open_npz(
    tree: Tree,
    *,
    root: str,
    key: str = "",
    layout: str = "auto",
    value_range: str = "auto",
    on_bad_file: str = "raise",
) -> Listing:
    """Lists the pictures in the npz files of a tree.

    Args:
      key: of the pictures; '' = `images`, or the only array with three or four axes. Class numbers or
        names stand in `labels`, the classes' names in `names` where `labels` are numbers.
      layout: NHW | NHWC | HW | HWK | HWC; 'auto' takes the first axis to count pictures.
      value_range: auto | ids | 'low,high' (see `ranges`).

    Raises:
      UserError: no npz file, or what `arrays.list_arrays` refuses.
    """
    files = [name for name in tree.files if name.lower().endswith(".npz")]
    if not files:
        raise UserError(f"data.root: no npz file in {root}")
    arrays, refused = [], list(tree.refused)
    for name in files:
        try:
            arrays.append(_find(tree, root, name, key))
        except BadFile as error:
            refused.append((name, str(error)))
    if not arrays:
        raise UserError(f"{root}/{refused[0][0]}: {refused[0][1]}")
    return list_arrays(
        arrays,
        kind="npz",
        root=root,
        root_name=tree.name,
        layout=layout,
        value_range=value_range,
        refused=refused,
        on_bad_file=on_bad_file,
    )


def _find(tree: Tree, root: str, name: str, key: str) -> Array:
    headers = _headers(tree, name)
    wanted = key or ("images" if "images" in headers else "")
    if not wanted:
        stacks = [k for k, (shape, _) in headers.items() if 3 <= len(shape) <= 4]
        if len(stacks) != 1:
            raise BadFile(f"no array 'images' in it: set data.key to one of {', '.join(headers) or '(none)'}")
        wanted = stacks[0]
    if wanted not in headers:
        raise BadFile(f"no array {wanted!r} in it; there are {', '.join(headers) or 'none'}")
    shape, dtype = headers[wanted]
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_BYTES:
        raise BadFile(f"array {wanted!r} of shape {shape} is larger than {MAX_BYTES:,} bytes")
    if not 2 <= len(shape) <= 4:
        raise BadFile(f"array {wanted!r} has the shape {shape}, no pictures")
    load = partial(_load, root, name, os.getpid(), tree.open, wanted)
    labels = _labels(tree, root, name, headers, shape[0]) if "labels" in headers else None
    return Array(name, wanted, shape, dtype, load, labels)


def _headers(tree: Tree, name: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of every array, without unpacking it."""
    headers = {}
    try:
        with tree.open(name) as stream, zipfile.ZipFile(stream) as archive:
            for member in archive.namelist():
                with archive.open(member) as part:
                    version = np.lib.format.read_magic(part)
                    read = np.lib.format.read_array_header_1_0
                    if version != (1, 0):
                        read = np.lib.format.read_array_header_2_0
                    shape, _, dtype = read(part)
                    headers[member.removesuffix(".npy")] = (shape, dtype)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadFile(f"not an npz file, or broken ({' '.join(str(error).split())[:120]})") from error
    return headers


def _labels(tree: Tree, root: str, name: str, headers: dict, count: int) -> list[str]:
    shape, dtype = headers["labels"]
    if shape != (count,) or dtype.kind not in "biuUS":
        raise BadFile(f"'labels' is {dtype} of shape {shape}; {count} numbers or names are needed")
    try:
        labels = _load(root, name, os.getpid(), tree.open, "labels")
    except (OSError, ValueError) as error:
        raise BadFile(f"'labels' cannot be read ({' '.join(str(error).split())[:120]})") from error
    if labels.dtype.kind not in "biu":
        return [str(label) for label in labels.astype(str)]
    numbers = labels.astype(int)
    if "names" in headers:
        names = _load(root, name, os.getpid(), tree.open, "names")
        if names.dtype.kind == "U" and names.ndim == 1 and numbers.min() >= 0 and numbers.max() < len(names):
            return [str(names[number]) for number in numbers]
    width = len(str(numbers.max()))
    return [f"{number:0{width}d}" for number in numbers]


@lru_cache(maxsize=16)
def _load(root: str, name: str, process: int, opener, key: str) -> np.ndarray:
    try:
        with opener(name) as stream, np.load(stream, allow_pickle=False) as arrays:
            return arrays[key]
    except (zipfile.BadZipFile, zipfile.error, EOFError, zipfile.LargeZipFile) as error:
        raise ValueError(str(error)) from error
