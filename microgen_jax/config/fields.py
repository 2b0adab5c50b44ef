"""Functions over the fields of a configuration: their names and values, and the checks that the schema declares."""

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Any

from microgen_jax.config.options import Option
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError, did_you_mean

MAX_ENTRIES = 10**4  # of a tuple
MAX_LEVELS = 16  # of a network
MAX_VALUES = 2**31  # that a level of the network may make of one image, excluded
_NOUNS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the schema.

    Attributes:
      name: dotted, such as 'train.steps'.
      type: bool, int, float or str, of the value or of each entry of a tuple.
      is_tuple: whether the value is a tuple.
      default: its default.
      option: its range, choices, help and resume rule.
    """

    name: str
    type: type
    is_tuple: bool
    default: Any
    option: Option


def may_change(field: Field, old: Any, new: Any) -> bool:
    """Return whether a resumed run may go on with another value of a field."""
    return field.option.resume == "change" or (field.option.resume == "grow" and new >= old)


@functools.cache
def fields() -> dict[str, Field]:
    """Return all fields by dotted name, in the order of the schema."""
    found = {}
    types = typing.get_type_hints(Config)
    for outer in dataclasses.fields(Config):
        if "option" in outer.metadata:
            found[outer.name] = _field(outer.name, types[outer.name], outer)
            continue
        part = types[outer.name]
        inner_types = typing.get_type_hints(part)
        for inner in dataclasses.fields(part):
            name = f"{outer.name}.{inner.name}"
            found[name] = _field(name, inner_types[inner.name], inner, getattr(part, "RESUME", None))
    return found


def _field(name: str, kind: Any, declared: dataclasses.Field, resume: str | None = None) -> Field:
    is_tuple = typing.get_origin(kind) is tuple
    kind = typing.get_args(kind)[0] if is_tuple else kind
    option = declared.metadata["option"]
    if resume:
        option = dataclasses.replace(option, resume=resume)
    return Field(name, kind, is_tuple, declared.default, option)


def value(config: Any, name: str) -> Any:
    """Return the value of a field.

    Args:
      config: a `Config`, or anything with its attributes.
      name: dotted name, such as 'train.steps'.
    """
    for part in name.split("."):
        config = getattr(config, part)
    return config


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with other values, checked.

    Args:
      config: the configuration to start from.
      values: new values by dotted name.

    Raises:
      UserError: an unknown field, or a value that the schema refuses.
    """
    tree = to_dict(config)
    for name, new in values.items():
        require_field(name)
        part, _, field = name.rpartition(".")
        (tree[part] if part else tree)[field] = new
    return freeze(tree)


def to_dict(config: Config) -> dict[str, Any]:
    """Return a configuration as nested dicts, the inverse of `freeze`."""
    return dataclasses.asdict(config)


def freeze(config: Any) -> Config:
    """Turn nested mappings (a ConfigDict, or JSON) into a checked configuration.

    Args:
      config: every field of the schema and no other; lists become tuples, and whole numbers floats where one belongs.

    Raises:
      UserError: a field that is missing or unknown, or a value that the schema refuses.
    """
    types = typing.get_type_hints(Config)
    values: dict[str, Any] = {part: {} for part in parts()}
    for name in config:
        for inner in config[name] if name in values and _is_group(config[name]) else ():
            require_field(f"{name}.{inner}")
        if name not in values:
            require_field(name)
    for name, field in fields().items():
        part, _, last = name.rpartition(".")
        group = config.get(part, {}) if part else config
        if not _is_group(group):
            raise UserError(part, f"{group!r} must be a group of fields")
        if last not in group:
            raise UserError(name, "is missing", "start from configs/default.py and change fields")
        (values[part] if part else values)[last] = check_value(field, group[last])
    frozen = Config(**{name: types[name](**v) if name in parts() else v for name, v in values.items()})
    _check_together(frozen)
    return frozen


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "items")  # a ConfigDict is no Mapping


def parts() -> tuple[str, ...]:
    """Return the names of the parts, such as 'train'."""
    return tuple(outer.name for outer in dataclasses.fields(Config) if "option" not in outer.metadata)


def require_field(name: str) -> None:
    """Refuse a name that is no field of the schema.

    Args:
      name: dotted name, such as 'train.steps'.

    Raises:
      UserError: a part, or a name that does not exist; the line has the nearest that does.
    """
    if name in parts():
        raise UserError(name, "is a group of fields", f"set one of them, as in --config.{_first(name)}")
    if name not in fields():
        raise UserError(name, "there is no such field", did_you_mean(name, fields()).strip())


def _first(part: str) -> str:
    field = next(field for name, field in fields().items() if name.startswith(f"{part}."))
    return f"{field.name}={field.default!r}"


def check_value(field: Field, given: Any) -> Any:
    """Return the value as the schema types it.

    Args:
      field: the field that it is for.
      given: the value, from a config file, a command line, JSON or Python.

    Raises:
      UserError: another type, a choice that does not exist, or a number out of range.
    """
    if not field.is_tuple:
        return _check_entry(field, given)
    if not isinstance(given, (tuple, list)):
        raise UserError(field.name, f"{given!r} must {kind_of(field)}")
    if len(given) > MAX_ENTRIES:
        raise UserError(field.name, f"has {len(given)} entries", f"{MAX_ENTRIES} are the most")
    return tuple(_check_entry(field, entry) for entry in given)


def kind_of(field: Field) -> str:
    """Return what a field's value must be, such as "be a whole number" or "be a list of numbers"."""
    noun = _NOUNS[field.type]
    many = noun if field.type is bool else f"{noun.removeprefix('a ')}s"
    return f"be a list of {many}" if field.is_tuple else f"be {noun}"


def _check_entry(field: Field, given: Any) -> Any:
    kind, rule = field.type, field.option
    right = isinstance(given, kind) or (kind is float and isinstance(given, int))
    if not right or (isinstance(given, bool) and kind is not bool):
        raise UserError(field.name, f"{given!r} must {kind_of(field)}")
    if rule.choices and given not in rule.choices:
        fix = f"{did_you_mean(given, rule.choices)}choose {', '.join(rule.choices)}"
        raise UserError(field.name, f"{given!r} is not known", fix)
    if kind is float:
        try:
            given = float(given)
        except OverflowError as error:
            raise UserError(field.name, f"{given} is too large") from error
    if kind in (int, float) and not isinstance(given, bool):
        _check_range(field.name, given, rule)
    return given


def _check_range(name: str, given: int | float, rule: Option) -> None:
    if not math.isfinite(given):
        raise UserError(name, f"{given} must be finite")
    if rule.low is not None and given < rule.low:
        raise UserError(name, f"{given} must be at least {rule.low}")
    if rule.high is not None and given > rule.high:
        raise UserError(name, f"{given} must be at most {rule.high}")
    if rule.above is not None and given <= rule.above:
        raise UserError(name, f"{given} must be above {rule.above:g}")
    if rule.below is not None and given >= rule.below:
        raise UserError(name, f"{given} must be below {rule.below:g}")


def _check_together(config: Config) -> None:
    """Check the rules that concern several fields."""
    size = config.data.size
    if len(size) != 2:
        raise UserError("data.size", f"{size} must be height and width", "write (64,64), say")
    levels = config.model.channels if config.method == "ddpm" else ()
    if len(levels) > MAX_LEVELS:
        raise UserError("model.channels", f"has {len(levels)} levels", f"{MAX_LEVELS} are the most")
    layers = [("data.channels", 0, config.data.channels)]
    layers += [("model.channels", level, channels) for level, channels in enumerate(levels)]
    for name, level, channels in layers:
        if (size[0] >> level) * (size[1] >> level) * channels >= MAX_VALUES:
            raise UserError(
                "data.size",
                f"{size} makes 2**31 values or more of one image with {channels} of {name}",
                "lower one of them",
            )
    name = config.sample.name
    if not name or len(name) > 100 or name != name.strip(". ") or set(name) & set('/\\:*?"<>|'):
        raise UserError(
            "sample.name",
            f"{name!r} must be a plain folder name",
            'leave out / \\ : * ? " < > |, as in first',
        )
