"""From file names, columns of lists and `metadata.csv` to continuous conditions and split groups."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from microgen_jax.data.decoding import is_image
from microgen_jax.data.sources.file_tree import BROKEN, Tree, reason_of
from microgen_jax.data.sources.table_names import NameIndex, normal
from microgen_jax.errors import UserError, require_known

SIDECAR = "metadata.csv"
MAX_TABLE_BYTES = 2**28
UNKNOWN = {"", "nan", "na", "n/a", "none", "-"}
INDEX_TITLES = {"", "index", "unnamed: 0"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


def pattern_columns(names: Sequence[str], pattern: str) -> dict[str, list[str]]:
    """Return the named groups of a regular expression in every name; '' where a group is left out.

    Args:
      names: the names that it is searched for in.
      pattern: the expression.

    Raises:
      UserError: no regular expression, no named group in it, or a name in which it is not found.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError("filename_pattern", f"{pattern!r} is no regular expression: {error}") from error
    if not compiled.groupindex:
        raise UserError(
            "filename_pattern", f"{pattern!r} has no named group", "add one, such as (?P<step>[0-9]+)"
        )
    found = [compiled.search(normal(name)) for name in names]
    missing = [name for name, match in zip(names, found) if match is None]
    if missing:
        problem = f"{pattern!r} is not found in {missing[0]!r} ({len(missing)} of {len(names)} names)"
        raise UserError("filename_pattern", problem)
    return {key: [match[key] or "" for match in found] for key in compiled.groupindex}


def read_table(tree: Tree, name: str) -> list[list[str]]:
    """Return the rows of a CSV or TSV file of a tree.

    Raises:
      UserError: a file that cannot be read or is no table.
    """
    if tree.files[name] > MAX_TABLE_BYTES:
        problem = f"has {tree.files[name]:,} bytes, more than {MAX_TABLE_BYTES:,}"
        raise UserError(name, problem, "see whether it is a table")
    try:
        with tree.open(name) as stream:
            content = stream.read()
    except BROKEN as error:
        raise UserError(name, f"cannot be read: {reason_of(error)}") from error
    return parse_table(decode_text(content, name), name)


def parse_table(text: str, name: str) -> list[list[str]]:
    """Return the rows of a CSV or TSV file, stripped, without empty lines and comments; all of one length.

    A line with '#' in front is a comment before the first row, unless it names an image; further down only where it
    does not have a row's number of cells.

    Args:
      text: contents of the file.
      name: name of the file.

    Raises:
      UserError: no table, or rows of different lengths.
    """
    text = text.removeprefix("\ufeff")
    lines = text.strip().splitlines() or [""]
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), lines[0])
    delimiter = max("\t;,", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as error:
        raise UserError(name, f"cannot be read as a table: {error}") from error
    rows = _without_comments([row for row in rows if any(row)])
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise UserError(name, f"row {number + 1} has {len(row)} columns, the first has {len(rows[0])}")
    return rows


def _without_comments(rows: list[list[str]]) -> list[list[str]]:
    kept: list[list[str]] = []
    for row in rows:
        comment = row[0].startswith("#") and not is_image(row[0])
        if not comment or (kept and len(row) == len(kept[0])):
            kept.append(row)
    return kept


def without_index(rows: list[list[str]], name: str) -> tuple[list[list[str]], tuple[str, ...]]:
    """Leave out a first column that only counts the rows, as pandas writes it; return the rest and what was done.

    Args:
      rows: the rows of the table.
      name: name of the file.
    """
    if len(rows) < 2 or len(rows[0]) < 2 or not all(row[0].isdecimal() for row in rows[1:]):
        return rows, ()
    titled = rows[0][0].lower() in INDEX_TITLES or rows[0][0].isdecimal()
    if not (titled or is_image(rows[1][1])):
        return rows, ()
    return [row[1:] for row in rows], (f"{name}: the first column counts the rows and is left out",)


def decode_text(data: bytes, name: str) -> str:
    """Decode UTF-8 (with or without a mark), UTF-16 with a mark, or Latin-1.

    Args:
      data: contents of the file.
      name: name of the file.

    Raises:
      UserError: binary data.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise UserError(name, "is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def titled(row: Sequence[str], name: str) -> list[str]:
    """Return the titles of a table's columns; one without a title is called column_2, ...

    Args:
      row: the first row.
      name: name of the file.

    Raises:
      UserError: two columns of one title.
    """
    titles = [title or f"column_{n + 1}" for n, title in enumerate(row)]
    for title, count in Counter(titles).items():
        if count > 1:
            raise UserError(name, f"has {count} columns called {title!r}", "rename or remove one")
    return titles


def unknown_values(table: Float[np.ndarray, "N K"], names: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each condition that is not known of some images.

    Args:
      table: the conditions of the images, NaN where one is not known.
      names: names of the conditions.
    """
    counts = np.isnan(table).sum(axis=0).tolist()
    return tuple(
        f"{name}: not known of {count} of {len(table)} images, which are trained as if it were not given"
        for name, count in zip(names, counts)
        if count
    )


def sidecar_columns(
    rows: Sequence[Sequence[str]], names: Sequence[str], left_out: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return columns of `metadata.csv` in the order of `names`; '' where an image has no row.

    The first column names the file, relative to the root or, where that is unique, without its folders;
    the first row names the columns. Rows of files that were left out are passed over.

    Args:
      rows: the rows of the table.
      names: names of the images.
      left_out: names of the files that were left out.

    Raises:
      UserError: no header, a row that names no image, or two rows for one image.
    """
    if len(rows) < 2 or len(rows[0]) < 2:
        raise UserError(SIDECAR, "needs a header row, and a column beside the file names")
    every = [*names, *left_out]
    number = {name: n for n, name in enumerate(every)}
    index = NameIndex(every)
    titles = titled(rows[0], SIDECAR)[1:]
    columns = {title: [""] * len(every) for title in titles}
    seen = set()
    for row in rows[1:]:
        found, _ = index.find(row[0], base_names=True)
        if len(found) != 1:
            problem = f"{row[0]!r} names {'several images' if found else 'no image'} under data.root"
            raise UserError(SIDECAR, problem, "name images by their path relative to the root")
        if found[0] in seen:
            raise UserError(SIDECAR, f"{row[0]!r} has two rows", "remove one")
        seen.add(found[0])
        for title, value in zip(titles, row[1:]):
            columns[title][number[found[0]]] = value
    return {title: cells[: len(names)] for title, cells in columns.items()}


def values(
    columns: Mapping[str, Sequence[str]], names: Sequence[str], count: int
) -> Float[np.ndarray, "N K"]:
    """Return columns as float32 numbers, NaN where a cell holds no value (empty, nan, na, none, -).

    Args:
      columns: the text columns by name.
      names: names of the columns taken, K of them.
      count: number of images, N.

    Raises:
      UserError: a column that does not exist, or a cell that is no number.
    """
    out = np.empty((count, len(names)), np.float32)
    for k, name in enumerate(names):
        for n, cell in enumerate(columns[known_column(name, columns, "conditions")]):
            out[n, k] = _number(cell, name)
    return out


def to_number(cell: str) -> float:
    """Return a cell as a number; '0,25' is 0.25.

    Raises:
      ValueError: it is none.
    """
    return float(cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell)


def decimal_commas(columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each column in which a comma is read as the decimal point.

    Args:
      columns: the text columns by name.
      names: names of the columns that are read as numbers.
    """
    found = [(name, next(filter(_DECIMAL_COMMA.fullmatch, columns[name]), "")) for name in names]
    return tuple(f"{name}: {cell!r} is read as {to_number(cell):g}" for name, cell in found if cell)


def known_column(name: str, columns: Mapping[str, Sequence[str]], field: str) -> str:
    """Return a column's name, checked.

    Args:
      name: name of the column.
      columns: all columns.
      field: the field that names it.

    Raises:
      UserError: there is no such column.
    """
    if not columns:
        fix = f"set data.filename_pattern, or add {SIDECAR}"
        raise UserError(field, f"names the column {name!r}, and there are no columns", fix)
    require_known(field, name, columns)
    return name


def _number(cell: str, name: str) -> float:
    if cell.lower() in UNKNOWN:
        return float("nan")
    try:
        number = to_number(cell)
    except ValueError:
        number = float("inf")
    if not np.isfinite(np.float32(number)):
        raise UserError("conditions", f"{name} is {cell!r} for some image, which is no number")
    return number


def statistics(table: Float[np.ndarray, "N K"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of what is known of each condition; a constant one gets the deviation 1."""
    known = np.isfinite(table)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, table, 0).sum(0, dtype=np.float64) / count
    variance = (np.where(known, table - mean, 0.0) ** 2).sum(0) / count
    std = np.sqrt(variance)
    return tuple(mean.tolist()), tuple(
        np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-6), std, 1.0).tolist()
    )


def class_ranges(
    table: Float[np.ndarray, "N K"], labels: Int[np.ndarray, "N"], num_classes: int
) -> tuple[tuple[tuple[float, float] | None, ...], ...]:
    """Return least and greatest value of each condition in each class; None where no image of the class has it.

    Args:
      table: the conditions of the images, NaN where one is not known.
      labels: class index of each image.
      num_classes: number of classes.
    """
    parts = [table[labels == label] for label in range(num_classes)]
    return tuple(
        tuple(
            pair if known else None
            for pair, known in zip(zip(*ranges(part)), np.isfinite(part).any(axis=0).tolist())
        )
        for part in parts
    )


def ranges(table: Float[np.ndarray, "N K"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return least and greatest value of what is known of each condition; 0 and 0 of one that is never known."""
    known = np.isfinite(table)
    low = np.where(known, table, np.inf).min(0, initial=np.inf)
    high = np.where(known, table, -np.inf).max(0, initial=-np.inf)
    return tuple(np.where(known.any(0), low, 0.0).tolist()), tuple(np.where(known.any(0), high, 0.0).tolist())
