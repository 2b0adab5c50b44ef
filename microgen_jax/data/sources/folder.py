"""A folder of class folders, or a flat folder of images that is one class.

    root/<class>/Images/*    root/<class>/*    root/*

A folder that holds images, or whose `Images` does, is a class; what all classes have in common at the
front of their paths is no part of their names, so `copper_strain/` and `copper_strain/Class/` give the
same five classes.
"""

import os
from collections.abc import Sequence
from io import BufferedIOBase, BufferedReader

from microgen_jax.data import decoding
from microgen_jax.data.catalogue import Catalogue, bad_file_error, check_all
from microgen_jax.data.conditions import SIDECAR, read_table, sidecar_columns
from microgen_jax.data.decoding import BadFile, Header
from microgen_jax.data.sources.file_tree import Tree, reason_of
from microgen_jax.errors import UserError

VERIFY_ALL = 2000  # images that are decoded once when opened; of more, only header and end are checked


def open_folder(tree: Tree, *, root: str, on_bad_file: str = "raise") -> Catalogue:
    """List the images of a tree by class, and check every one.

    Args:
      tree: the files.
      root: the root as a person would name it.
      on_bad_file: raise | skip.

    Raises:
      UserError: no images, a class folder without any, images beside class folders, or (with
        `on_bad_file='raise'`) an image that cannot be read.
    """
    names = [name for name in tree.files if decoding.is_image(name)]
    if not names:
        raise UserError("root", f"no PNG, JPEG, TIFF or BMP image under {root}")
    label_of = class_names(names, tree.name)
    refused = list(tree.refused)
    refused += [(name, "a class folder without images") for name in empty_classes(names, tree.folders)]
    labels = [label_of[name] for name in names]
    catalogue = open_names(tree, names, labels, root, "folder", refused, on_bad_file)
    if SIDECAR not in tree.files:
        return catalogue
    rows = read_table(tree, SIDECAR)
    return catalogue._replace(
        columns=sidecar_columns(rows, catalogue.names, [name for name, _ in catalogue.refused])
    )


def open_names(
    tree: Tree,
    names: Sequence[str],
    labels: Sequence[str],
    root: str,
    kind: str,
    refused: Sequence[tuple[str, str]],
    on_bad_file: str,
) -> Catalogue:
    """Return a catalogue of image files, each checked; bad ones are refused, or left out and listed.

    Args:
      tree: the files.
      names: names of the images.
      labels: class name of each image.
      root: the root as a person would name it.
      kind: folder | list.
      refused: (file, reason) of what was left out before.
      on_bad_file: raise | skip.

    Raises:
      UserError: no image can be read, or (with `on_bad_file='raise'`) a bad one.
    """

    def check(name: str) -> Header:
        with _opened(tree, name) as stream:
            header = decoding.read_header(stream)
            if len(names) <= VERIFY_ALL:
                stream.seek(0)
                header = decoding.header_of(decoding.read_image(stream))._replace(more=header.more)
        return header

    headers, bad = check_all(names, check)
    refused = [*refused, *bad]
    if refused and on_bad_file == "raise":
        raise bad_file_error(root, *refused[0], count=len(refused))
    kept = [n for n, header in enumerate(headers) if header is not None]
    if not kept:
        raise UserError("root", f"none of the {len(names)} images under {root} can be read: {bad[0][1]}")
    good = [names[n] for n in kept]

    def read(index: int):
        with _opened(tree, good[index]) as stream:
            _check_unaltered(stream, tree.files[good[index]])
            return decoding.read_image(stream)

    return Catalogue(
        kind=kind,
        root=root,
        names=good,
        labels=[labels[n] for n in kept],
        headers=[headers[n] for n in kept],
        sizes=[tree.files[name] for name in good],
        read=read,
        columns={},
        refused=tuple(refused),
        notes=_pages([good[n] for n, k in enumerate(kept) if headers[k].more]),
    )


def _pages(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"{len(names)} TIFF files hold several pages, of which the first is read, such as {names[0]}",)


def _opened(tree: Tree, name: str):
    try:
        return tree.open(name)
    except OSError as error:
        raise BadFile(reason_of(error)) from error


def _check_unaltered(stream: BufferedIOBase, size: int) -> None:
    """Refuse a file that has changed its length since it was listed; members of a zip file cannot."""
    if isinstance(stream, BufferedReader) and (now := os.fstat(stream.fileno()).st_size) != size:
        raise BadFile(f"was altered since the run started ({size} bytes then, {now} now): restore it")


def _folder_of(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/")[:-1])
    return parts[:-1] if len(parts) > 0 and parts[-1].lower() == "images" else parts


def class_names(names: Sequence[str], root_name: str) -> dict[str, str]:
    """Return the class of every image.

    Args:
      names: names of the images.
      root_name: name of the class of a flat folder.

    Raises:
      UserError: images beside class folders.
    """
    folders = {name: _folder_of(name) for name in names}
    distinct = sorted(set(folders.values()))
    if distinct == [()]:
        return dict.fromkeys(names, root_name)
    if () in distinct:
        loose = next(name for name in names if folders[name] == ())
        problem = f"holds both class folders and images of no class ({loose})"
        raise UserError("root", problem, "move these into a folder")
    shared = common_prefix(distinct)
    return {name: "/".join(folder[shared:]) for name, folder in folders.items()}


def common_prefix(folders: Sequence[tuple[str, ...]]) -> int:
    """Return how many leading parts all paths share, leaving at least the last part of each as its name."""
    shortest = min(len(folder) for folder in folders)
    shared = 0
    while shared < shortest - 1 and len({folder[shared] for folder in folders}) == 1:
        shared += 1
    return shared


def empty_classes(names: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Return folders at the classes' own depth in which there is no image at any depth."""
    used = {_folder_of(name) for name in names}
    if used == {()}:
        return []
    shared = common_prefix(sorted(used))
    prefix = next(iter(used))[:shared]
    filled = {folder[: shared + 1] for folder in used}
    siblings = (tuple(folder.split("/")) for folder in folders)
    return [
        "/".join(path)
        for path in siblings
        if len(path) == shared + 1 and path[:shared] == prefix and path not in filled
    ]
