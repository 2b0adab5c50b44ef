"""A folder of class folders, or a flat folder of images that is one class.

    root/<class>/Images/*    root/<class>/*    root/*

A folder that holds images, or whose `Images` does, is a class; what all classes have in common at the
front of their paths is no part of their names, so `copper_strain/` and `copper_strain/Class/` give the
same five classes.
"""

import os
from collections.abc import Mapping, Sequence
from io import BufferedIOBase, BufferedReader

import numpy as np

from microgen_jax.data import decoding
from microgen_jax.data.catalogue import Catalogue, bad_file_error, check_all
from microgen_jax.data.conditions import SIDECAR, read_table, sidecar_columns, without_index
from microgen_jax.data.decoding import BadFile, Header, ImageFile
from microgen_jax.data.leftovers import summed
from microgen_jax.data.sources.file_tree import Tree, kinds_of, reason_of
from microgen_jax.data.sources.split_folders import follow_split_folders
from microgen_jax.data.sources.table_names import normal
from microgen_jax.data.sources.value_range import Range, parse_range, ranges_of_files, scaled, stored_as
from microgen_jax.errors import UserError

VERIFY_ALL = 2000  # images that are decoded once when opened; of more, only header and end are checked
ORDINARY = {"uint8": Range(0, 255), "uint16": Range(0, 65535), "float32": Range(0, 1)}


def open_folder(
    tree: Tree,
    *,
    root: str,
    value_range: str = "auto",
    max_pixels: int = decoding.MAX_PIXELS,
    on_bad_file: str = "raise",
) -> Catalogue:
    """List the images of a tree by class, and check every one.

    Args:
      tree: the files.
      root: the root as a person would name it.
      value_range: auto | ids | 'low,high' (see `value_range`).
      max_pixels: number of pixels of an image that are let through.
      on_bad_file: raise | skip.

    Raises:
      UserError: no images, a class folder without any, images beside class folders, or (with
        `on_bad_file='raise'`) an image that cannot be read.
    """
    names = [name for name in tree.files if decoding.is_image(name)]
    if not names:
        problem = f"no PNG, JPEG, TIFF or BMP image under {root}"
        raise UserError("root", problem, "put images there, a folder for each class, or set data.source")
    label_of = class_names(names, tree.name)
    refused = list(tree.refused)
    refused += [(name, "a class folder without images") for name in empty_classes(names, tree.folders)]
    labels = [label_of[name] for name in names]
    catalogue = open_names(
        tree,
        names,
        labels,
        root,
        "folder",
        refused,
        on_bad_file,
        value_range=value_range,
        max_pixels=max_pixels,
    )
    catalogue = catalogue._replace(unused=(*catalogue.unused, *_other_files(tree)))
    catalogue = follow_split_folders(catalogue, tree.name)
    if SIDECAR not in tree.files:
        return catalogue
    rows, notes = without_index(read_table(tree, SIDECAR), SIDECAR)
    columns = sidecar_columns(rows, catalogue.names, [name for name, _ in catalogue.refused])
    return catalogue._replace(columns=columns, notes=(*catalogue.notes, *notes))


def open_names(
    tree: Tree,
    names: Sequence[str],
    labels: Sequence[str],
    root: str,
    kind: str,
    refused: Sequence[tuple[str, str]],
    on_bad_file: str,
    *,
    value_range: str = "auto",
    max_pixels: int = decoding.MAX_PIXELS,
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
      value_range: auto | ids | 'low,high' (see `value_range`).
      max_pixels: number of pixels of an image that are let through.

    Raises:
      UserError: no image can be read, or (with `on_bad_file='raise'`) a bad one.
    """
    given = parse_range(value_range)
    decode = len(names) <= VERIFY_ALL

    def check(name: str, decode: bool = decode) -> ImageFile:
        with _opened(tree, name) as stream:
            return decoding.read_header(stream, max_pixels, decode=decode)

    def measure(name: str) -> tuple[float, float]:
        file = check(name, decode=True)
        return file.low, file.high

    found, bad = check_all(names, check)
    files = {name: file for name, file in zip(names, found) if file is not None}
    ranges, doubtful = ranges_of_files(files, given, measure)
    refused = [*refused, *bad, *doubtful]
    if refused and on_bad_file == "raise":
        raise bad_file_error(root, *refused[0], count=len(refused))
    kept = [n for n, name in enumerate(names) if name in ranges]
    if not kept:
        raise UserError("root", f"none of the {len(names)} images under {root} can be read: {refused[0][1]}")
    good = [names[n] for n in kept]

    def read(index: int):
        with _opened(tree, good[index]) as stream:
            _check_unaltered(stream, tree.files[good[index]])
            return scaled(decoding.read_image(stream, max_pixels), ranges[good[index]])

    return Catalogue(
        kind=kind,
        root=root,
        names=good,
        labels=[labels[n] for n in kept],
        headers=[_header(files[name].header, ranges[name]) for name in good],
        sizes=[tree.files[name] for name in good],
        read=read,
        columns={},
        refused=tuple(refused),
        notes=_notes(good, files, ranges),
        unused=summed([(name, line) for name in good for line in files[name].unused], len(good)),
    )


def _header(header: Header, values: Range) -> Header:
    return header._replace(dtype=stored_as(np.dtype(header.dtype), values))


def _notes(
    names: Sequence[str], files: Mapping[str, ImageFile], ranges: Mapping[str, Range]
) -> tuple[str, ...]:
    """Return notes on what was done to images, and on the range of those that do not fill their type."""
    done = [(name, note) for name in names for note in files[name].notes]
    read = [
        (name, f"{files[name].header.dtype} read as {ranges[name]}")
        for name in names
        if ranges[name] != ORDINARY.get(files[name].header.dtype)
    ]
    return summed([*done, *read], len(names))


def _other_files(tree: Tree) -> tuple[str, ...]:
    """Count files that are not read, by their suffix."""
    others = [name for name in tree.files if not decoding.is_image(name) and name != SIDECAR]
    return (f"files that are no images: {kinds_of(others)}, such as {others[0]}",) if others else ()


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
    return {name: normal("/".join(folder[shared:])) for name, folder in folders.items()}


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
