"""Text scans: a header of short lines, then a table of numbers."""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float

from microgen_jax.errors import UserError

MAX_LINE = 65_536
MAX_HEADER_LINES = 20_000


def open_text(path: Path) -> TextIO:
    """Open a text in UTF-8, with or without a byte-order mark; bytes that are not UTF-8 become U+FFFD.

    Args:
      path: the file.

    Raises:
      UserError: the text is UTF-16.
    """
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError("path", "is UTF-16 text", "save it as UTF-8")
    return path.open(encoding="utf-8-sig", errors="replace")


def read_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Args:
      file: the opened text.

    Raises:
      UserError: a line is longer than any scan's.
    """
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise UserError("path", f"has a line of more than {MAX_LINE} characters", "it is not a text scan")
        yield line


def take_header(lines: Iterator[str], is_header: Callable[[str], bool]) -> tuple[list[str], str]:
    """Return the leading lines for which `is_header(line)` holds, no blank ones, and the first after them.

    Args:
      lines: lines of the file.
      is_header: whether a line belongs to the header.

    Raises:
      UserError: nothing comes after the header, or it does not end.
    """
    header = []
    for line in lines:
        if line.strip() and not is_header(line):
            return header, line
        if line.strip():
            header.append(line.strip())
        if len(header) > MAX_HEADER_LINES:
            raise UserError(
                "path", f"has more than {MAX_HEADER_LINES} lines of header", "it is not a text scan"
            )
    raise UserError("path", "holds a header but no points" if header else "is empty")


def read_table(
    file: TextIO,
    first: str,
    needed: list[int],
    further: list[int] | None = None,
    delimiter: str | None = None,
) -> dict[int, Float[np.ndarray, "N"]]:
    """Return columns of a table by number, from 0, of which the first line was already read.

    Decimal commas are understood where the first line has a comma that is not the delimiter. Lines that start
    with '#' are left out.

    Args:
      file: the opened text, behind that line.
      first: first line of the table.
      needed: numbers of the columns that must be there.
      further: numbers of columns that are left out, all of them, where one is short or holds no numbers.
      delimiter: sign between columns; None for white space.

    Raises:
      UserError: a line is short of needed columns or holds something that is no number.
    """
    start = file.tell()
    if further:
        try:
            return _load(file, first, [*needed, *further], delimiter)
        except (ValueError, OverflowError):
            file.seek(start)
    try:
        return _load(file, first, needed, delimiter)
    except UserError:  # of the lines themselves
        raise
    except (ValueError, OverflowError) as fault:
        raise UserError("path", f"has a broken table: {_plain(str(fault))}") from None


def _load(
    file: TextIO, first: str, columns: list[int], delimiter: str | None
) -> dict[int, Float[np.ndarray, "N"]]:
    rows = chain([first], read_lines(file))
    comma = delimiter != "," and "," in first
    text = (row.replace(",", ".") for row in rows) if comma else rows
    table = np.loadtxt(text, usecols=columns, ndmin=2, delimiter=delimiter)
    return dict(zip(columns, np.ascontiguousarray(table.T)))


def _plain(fault: str) -> str:
    short = re.match(r"invalid column index (-?\d+) at row (\d+) with (\d+) columns?", fault)
    if short:
        return f"row {short[2]} has {short[3]} columns where {int(short[1]) + 1} are needed"
    return fault.split(";")[0]


def number(text: str) -> float:
    """Return the first number of a header's value, decimal comma or point; NaN where there is none.

    Args:
      text: the value.
    """
    found = re.match(r"\s*([-+]?\d+(?:[.,]\d*)?(?:[eE][-+]?\d{1,3})?|[-+]?[.,]\d+)", text)
    return float(found[1].replace(",", ".")) if found else float("nan")


def count(text: str) -> int:
    """Return a header's count; 0 where it is none or absurd.

    Args:
      text: the value.
    """
    value = number(text)
    return int(value) if 0 < value < 1e9 else 0


def length(text: str) -> float:
    """Return a header's step; 0 where it is none or absurd.

    Args:
      text: the value.
    """
    value = number(text)
    return value if 0 < value < 1e9 else 0.0
