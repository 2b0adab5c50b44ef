"""Choosing by name: an unknown one is answered with the known ones and the nearest."""

from collections.abc import Iterable
from difflib import get_close_matches

from microgen_jax.types import UserError


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
