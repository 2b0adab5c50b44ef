"""Which file a cell of a table means: in one normal form of Unicode, and by the end of a path from another machine."""

import re
import unicodedata
from collections.abc import Iterable

_ABSOLUTE = re.compile(r"([A-Za-z]:)?/")


def normal(name: str) -> str:
    """Return a name in Unicode's composed form (NFC); macOS stores names decomposed."""
    return unicodedata.normalize("NFC", name)


class NameIndex:
    """Files by name, and by the ends of their paths where these are unique."""

    def __init__(self, names: Iterable[str]) -> None:
        """Index the names of files, '/' between their parts."""
        self._exact: dict[str, str] = {}
        self._ends: dict[str, list[str]] = {}
        for name in names:
            self._exact.setdefault(normal(name), name)
            for end in _ends(normal(name)):
                self._ends.setdefault(end, []).append(name)

    def find(self, cell: str, *, base_names: bool = False) -> tuple[list[str], bool]:
        """Return the files that a cell may mean, and whether they were found by the end of a path.

        Args:
          cell: name or path, of Windows too.
          base_names: whether a relative name may leave out its folders.
        """
        wanted = normal(cell.replace("\\", "/")).removeprefix("./")
        if wanted in self._exact:
            return [self._exact[wanted]], False
        if _ABSOLUTE.match(wanted):
            found = (self._ends[end] for end in _ends(wanted) if end in self._ends)
            return next(found, []), True
        return (self._ends.get(wanted, []) if base_names else []), False


def _ends(name: str) -> list[str]:
    """Return what is left of a path without 0, 1, ... of its leading parts."""
    parts = name.split("/")
    return ["/".join(parts[n:]) for n in range(len(parts))]
