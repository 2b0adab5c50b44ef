"""The configuration: its fields, the command line, and a run's `config.json`.

`schema` declares every field, `fields` checks and freezes, `command_line` turns flags into a `Request`, `run_config`
reads and writes `config.json`, and `default_file` writes configs/default.py.
"""

from microgen_jax.config.fields import freeze, replace, to_dict
from microgen_jax.config.schema import Config

__all__ = ["Config", "freeze", "replace", "to_dict"]
