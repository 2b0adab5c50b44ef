"""`UserError`: what a user did wrong; and the nearest known name for one that is misspelt."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """An error of the user, in one line: the argument, what is wrong with it, and how to fix it.

    Library code names its own argument; `argument_of` and `renamed` turn that into a field of the configuration on the
    way up, and the command line prints it and exits with `exit_status`. Characters that no terminal prints become
    spaces.

    Attributes:
      where: the argument, field or file that is wrong, such as 'steps', 'sample.steps' or 'maps/a.png'.
      problem: what is wrong, with the value given.
      fix: what to do about it; '' if the problem makes that clear.
      exit_status: status with which the program ends: 2, or 75 for temporary errors.
    """

    exit_status = 2

    def __init__(self, where: str, problem: str, fix: str = "") -> None:
        self.where, self.problem, self.fix = map(_printable, (where, problem, fix))
        text = ": ".join(part for part in (self.where, self.problem) if part)
        super().__init__(f"{text}; {self.fix}" if self.fix else text)

    def at(self, where: str) -> "UserError":
        """Return the same error of another argument, field or file."""
        return type(self)(where, self.problem, self.fix)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)


@contextmanager
def argument_of(part: str) -> Iterator[None]:
    """Name errors within after a part of the configuration: an argument `steps` becomes `sample.steps`.

    Args:
      part: name of the part, such as 'sample'.

    Raises:
      UserError: the one that was raised within, its `where` prefixed where it is a plain argument's name.
    """
    try:
        yield
    except UserError as error:
        if error.where.isidentifier():
            raise error.at(f"{part}.{error.where}") from error
        raise


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Name errors within after other arguments, fields or files.

    Args:
      names: new names by old ones.

    Raises:
      UserError: the one that was raised within, under its new name.
    """
    try:
        yield
    except UserError as error:
        if error.where in names:
            raise error.at(names[error.where]) from error
        raise


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? " with the nearest known name, or '' where none is near."""
    near = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def require_known(where: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known.

    Args:
      where: the argument that names it.
      name: the name.
      known: all names that exist.

    Raises:
      UserError: `name` is not known; the line lists the known names and the nearest.
    """
    known = sorted(known)
    if name not in known:
        raise UserError(
            where, f"unknown name {name!r}", f"{did_you_mean(name, known)}known: {', '.join(known)}"
        )
