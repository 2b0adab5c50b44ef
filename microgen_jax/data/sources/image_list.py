"""A CSV or TSV file that names images beside it, and may say more of them in further columns."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from microgen_jax.data.catalogue import Catalogue
from microgen_jax.data.conditions import SIDECAR, read_table, titled, to_number, without_index
from microgen_jax.data.decoding import MAX_PIXELS, is_image
from microgen_jax.data.sources.file_tree import Tree, kinds_of
from microgen_jax.data.sources.folder import class_names, open_names
from microgen_jax.data.sources.split_folders import follow_split_folders
from microgen_jax.data.sources.table_names import NameIndex
from microgen_jax.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt")
LABEL_TITLES = ("label", "class")


def open_list(
    tree: Tree,
    table: str,
    *,
    root: str,
    folder: str,
    value_range: str = "auto",
    max_pixels: int = MAX_PIXELS,
    on_bad_file: str = "raise",
) -> Catalogue:
    """List the images that a table names, in its order.

    The first row is a header where its first cell names no image. Columns without a title are called
    column_2, ... The class is what stands in a column called label or class; in a table without a
    header, in the second column unless it holds numbers; otherwise the image's folder.

    Args:
      tree: the files of the folder in which the table lies; nothing outside it is read.
      table: name of the table in the tree.
      root: path of the table, as a person would name it.
      folder: path of the folder, as a person would name it.
      value_range: auto | ids | 'low,high' (see `value_range`).
      max_pixels: number of pixels of an image that are let through.
      on_bad_file: raise | skip.

    Raises:
      UserError: an empty table, rows of different lengths, an image named twice; with `on_bad_file='raise'`
        also one that is not there or cannot be read.
    """
    rows, notes = without_index(read_table(tree, table), table)
    if not rows:
        raise UserError("root", f"{root} is empty", "name an image in each line")
    has_header = not is_image(rows[0][0])
    titles = rows[0] if has_header else [f"column_{n + 1}" for n in range(len(rows[0]))]
    rows = rows[has_header:]
    if not rows:
        raise UserError("root", f"{root} names no image", "name one in the first cell of each line")
    names, ended = _files(tree, [_relative(row[0], folder) for row in rows])
    if ended:
        notes = (
            *notes,
            f"{table}: {ended} paths of another place are read by their ends, such as {rows[0][0]!r}",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError("root", f"{root} names {twice[0]!r} twice", "remove one of the two rows")
    missing = [(name, _reason(name)) for name in names if name not in tree.files or not is_image(name)]
    gone = {name for name, _ in missing}
    there = [n for n, name in enumerate(names) if name not in gone]
    if not there:
        problem = f"none of the {len(names)} files that {root} names is beside it ({names[0]!r})"
        raise UserError("root", problem, "name them relative to the list")
    titles = titled(titles, table)
    columns = {title: [rows[n][k] for n in there] for k, title in enumerate(titles) if k > 0}
    present = [names[n] for n in there]
    labelling = _labels(columns, has_header)
    serving = tuple(title for title, cells in columns.items() if cells is labelling)
    labels = labelling or list(_folders(present, tree.name))
    catalogue = open_names(
        tree,
        present,
        labels,
        folder,
        "list",
        missing,
        on_bad_file,
        value_range=value_range,
        max_pixels=max_pixels,
    )
    index = {name: n for n, name in enumerate(present)}
    order = [index[name] for name in catalogue.names]
    columns = {title: [cells[n] for n in order] for title, cells in columns.items()}
    catalogue = catalogue._replace(
        columns=columns,
        serving=serving,
        notes=(*catalogue.notes, *notes),
        unused=(*catalogue.unused, *_not_named(tree, {table, *names})),
    )
    return catalogue if labelling else follow_split_folders(catalogue, tree.name)


def find_table(tree: Tree, root: str) -> str:
    """Return the only table of a folder or zip file, `metadata.csv` left out."""
    tables = [n for n in tree.files if n.lower().endswith(SUFFIXES) and n.rpartition("/")[2] != SIDECAR]
    if len(tables) != 1:
        raise UserError("root", f"{len(tables)} tables in {root}", "give the one that lists the images")
    return tables[0]


def _not_named(tree: Tree, known: set[str]) -> tuple[str, ...]:
    others = [name for name in tree.files if name not in known]
    return (f"files that the list does not name: {kinds_of(others)}, such as {others[0]}",) if others else ()


def _relative(cell: str, folder: str) -> str:
    name = cell.replace("\\", "/")
    prefix = PurePath(folder).as_posix().rstrip("/") + "/"
    return name.removeprefix(prefix).removeprefix("./")


def _files(tree: Tree, cells: Sequence[str]) -> tuple[list[str], int]:
    """Return the file that each cell names, as it stands where there is none, and how many go by a path's end."""
    index = NameIndex(tree.files)
    found = [index.find(cell) for cell in cells]
    names = [files[0] if len(files) == 1 else cell for cell, (files, _) in zip(cells, found)]
    return names, sum(by_end and len(files) == 1 for files, by_end in found)


def _reason(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        return "outside the folder of the list: not followed"
    return "named in the list, and no image file beside it"


def _labels(columns: dict[str, list[str]], has_header: bool) -> list[str]:
    for title, cells in columns.items():
        if has_header and title.lower() in LABEL_TITLES:
            return cells
        if not has_header and not all(_is_number(cell) for cell in cells):
            return cells
        if not has_header:
            return []
    return []


def _is_number(cell: str) -> bool:
    try:
        to_number(cell)
    except ValueError:
        return cell == ""
    return True


def _folders(names: Sequence[str], root_name: str) -> list[str]:
    found = class_names(names, root_name)
    return [found[name] for name in names]
