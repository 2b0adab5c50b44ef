"""What kind of source a root is: found from the names of its files, never by guessing at their contents."""

from pathlib import Path

import h5py

from microgen_jax.data.catalogue import bad_file_error
from microgen_jax.data.decoding import is_image
from microgen_jax.data.sources.file_tree import BROKEN_HDF5, Tree, kinds_of, no_such_root, open_tree
from microgen_jax.data.sources.scans import SCANS_ALONE, holds_map, is_preview
from microgen_jax.errors import UserError

LISTS = (".csv", ".tsv", ".txt")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
MAX_OPENED = 16  # HDF5 or .npz files of a folder that are opened to find out whether they are scans
# What lies at the top of orix' and DREAM.3D's files; of EDAX's and Oxford's, EBSD lies one step below.
SCANS = {"crystal_map", "DataContainers", "DataStructure"}


def detect_source(source: str, root: str, name: str) -> str:
    """Return the kind of source of a root.

    Args:
      source: the kind, or 'auto' to find it.
      root: folder or file, '' for the built-in polycrystals.
      name: name of a tfds data set; under 'auto' a root that is a file takes precedence.

    Raises:
      UserError: no such root, or one that holds nothing that can be read.
    """
    kind = _find(root, name) if source == "auto" else source
    if kind not in ("polycrystal", "tfds") and not (root and Path(root).exists()):
        raise no_such_root(root)
    return kind


def _find(root: str, name: str) -> str:
    if name and not Path(root).is_file():
        return "tfds"
    if not root:
        return "polycrystal"
    path = Path(root)
    if not path.exists():
        raise no_such_root(root)
    if path.is_dir() or path.suffix.lower() == ".zip":
        return _find_in(open_tree(path), root)
    suffix = path.suffix.lower()
    if suffix in LISTS:
        return "list"
    if suffix in HDF5:
        return "ebsd" if _holds_scan(open_tree(path), path.name) else "hdf5"
    if suffix == ".npz":
        return "ebsd" if holds_map(open_tree(path), path.name) else "npz"
    if suffix in SCANS_ALONE:
        return "ebsd"
    if is_image(path.name):
        raise UserError("root", f"{root} is a single image", "give the folder that it is in")
    kinds = ", ".join((".zip", ".npz", *LISTS, *HDF5, *SCANS_ALONE))
    raise UserError("root", f"{root} is of no known kind", f"give a folder or one of {kinds}")


def _find_in(tree: Tree, root: str) -> str:
    """Return the kind of a folder: images first, unless all are previews of scans, then whichever other kind."""
    images = [name for name in tree.files if is_image(name)]
    scans = [name for name in tree.files if _is_scan(tree, name)] if images else []
    if images and not (scans and all(is_preview(name, scans) for name in images)):
        return "folder"
    suffixes = {Path(name).suffix.lower() for name in tree.files}
    if suffixes & set(SCANS_ALONE):
        return "ebsd"
    if stacks := [name for name in tree.files if Path(name).suffix.lower() in HDF5]:
        return "ebsd" if any(_holds_scan(tree, name) for name in stacks[:MAX_OPENED]) else "hdf5"
    if stacks := [name for name in tree.files if name.lower().endswith(".npz")]:
        return "ebsd" if any(holds_map(tree, name) for name in stacks[:MAX_OPENED]) else "npz"
    if any(name.rpartition("/")[2] == "dataset_info.json" for name in tree.files):
        raise UserError("root", f"{root} holds a prepared tfds data set", "name it with data.name")
    if not tree.files and tree.refused:
        raise bad_file_error(root, *tree.refused[0], count=len(tree.refused))
    if not tree.files:
        raise UserError("root", f"{root} is empty", "put images there, or name another folder")
    raise UserError(
        "root", f"{root} holds nothing that can be read, but {kinds_of(tree.files)}", "see docs/data.md"
    )


def _is_scan(tree: Tree, name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in SCANS_ALONE or (suffix in HDF5 and _holds_scan(tree, name)) or holds_map(tree, name)


def _holds_scan(tree: Tree, name: str) -> bool:
    try:
        with tree.open(name) as stream, h5py.File(stream, "r") as file:
            return any(key in SCANS or "EBSD" in _children(file, key) for key in file)
    except BROKEN_HDF5:
        return False


def _children(file: h5py.File, key: str) -> list[str]:
    link = file.get(key, getlink=True)
    if isinstance(link, h5py.HardLink) and file.get(key, getclass=True) is h5py.Group:
        return list(file[key])
    return []
