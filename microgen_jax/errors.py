"""What a person did wrong, and the nearest known name where one was misspelt."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What a person did wrong, in one line that names the thing and the mend; `main` prints it and exits with 2.

    Signs that no terminal prints (a line feed in a file's name) become spaces.
    """

    def __init__(self, line: str) -> None:
        super().__init__("".join(sign if sign.isprintable() else " " for sign in line))


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuses a name that is not known.

    Args:
      kind: what is being named, as the message shall call it.
      name: what was asked for.
      known: what there is.

    Raises:
      UserError: `name` is not known; the message lists those that are and the nearest.
    """
    known = sorted(known)
    if name in known:
        return
    near = get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"unknown {kind} {name!r}; known: {', '.join(known)}.{hint}")
