"""What a field of the configuration declares beside its name, type and default."""

from dataclasses import dataclass, field
from typing import Any, Literal

Resume = Literal["fixed", "grow", "change"]


@dataclass(frozen=True)
class Option:
    """What a field declares beside its name, type and default.

    Attributes:
      help: noun phrase for `configs/default.py`, which adds the choices.
      choices: values that a text may have; () = any.
      low: least value of a number, or of each entry of a tuple.
      high: greatest value.
      above: bound that every value exceeds.
      below: bound that every value stays under.
      resume: whether a resumed run keeps the value ('fixed'), may raise it ('grow') or may change it ('change');
        a part's `RESUME` holds for each of its fields.
    """

    help: str
    choices: tuple[str, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None
    resume: Resume = "fixed"


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declare a field with its default and an `Option` in its metadata."""
    return field(default=default, metadata={"option": Option(help, **rules)})
