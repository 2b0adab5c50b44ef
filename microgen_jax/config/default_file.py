"""`configs/default.py`, written from the schema.

python -m microgen_jax.config.default_file > configs/default.py
"""

import textwrap

from microgen_jax.config.fields import Field, fields

WIDTH, INDENT = 110, 4
HEAD = '''"""Every field, its default and what it does. The other configs start from this one and change some.

    python main.py --config=configs/default.py --workdir=runs/default

Any field can be set on the command line: `--config.train.steps=100 --config.data.size='(64,96)'`. This file is written
by `python -m microgen_jax.config.default_file` from microgen_jax/config/schema.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = ConfigDict()
'''


def text() -> str:
    """Return the content of `configs/default.py`."""
    lines, part = [], ""
    for field in fields().values():
        if (own := field.name.rpartition(".")[0]) != part:
            lines += ["", f"config.{own} = {own} = ConfigDict()"]
            part = own
        lines += _lines(field)
    body = "\n".join(f"    {line}" if line else "" for line in [*lines, "return config"])
    return f"{HEAD}{body}\n"


def _lines(field: Field) -> list[str]:
    name = field.name if "." in field.name else f"config.{field.name}"
    assignment, option = f"{name} = {_literal(field.default)}", field.option
    comment = f"{option.help}: {' | '.join(option.choices)}" if option.choices else option.help
    line = f"{assignment}  # {comment}"
    if len(line) + INDENT <= WIDTH:
        return [line]
    return [*(f"# {text}" for text in textwrap.wrap(comment, WIDTH - INDENT - 2)), assignment]


def _literal(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    return repr(value)


if __name__ == "__main__":
    print(text(), end="")
