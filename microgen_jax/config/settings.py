"""Checks the values that no room checks by itself, before anything else happens."""

import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from microgen_jax.errors import UserError, require_known

_CHOICES = {
    "method": ("ddpm", "wgan_gp"),
    "train.lr_schedule": ("cosine", "constant"),
}
_MANY = 10**9  # updates, images: below what 32 bits count
_WIDE = 2**14  # px of a side, channels
_ANY = (-math.inf, math.inf)
# Every field by its type. Of whole numbers the least and the most, of others the least and what they stay below; what
# is narrower than here is checked by the room that reads it.
_WHOLE = {
    "seed": (0, 2**32 - 1),
    "data.channels": (1, 1024),
    "data.count": (1, 10**8),
    "data.workers": (0, 1024),
    "model.blocks_per_level": (1, 64),
    "model.head_dim": (1, _WIDE),
    "model.norm_groups": (1, _WIDE),
    "diffusion.timesteps": (1, 10**6),
    "wgan.n_critic": (1, 1000),
    "wgan.latent_dim": (1, _WIDE),
    "wgan.width": (1, _WIDE),
    "train.steps": (1, _MANY),
    "train.schedule_steps": (0, _MANY),
    "train.batch_size": (1, 2**20),
    "train.warmup_steps": (0, _MANY),
    "train.accumulate": (1, 2**20),
    "train.log_every": (1, _MANY),
    "train.sample_every": (0, _MANY),
    "train.sample_num": (1, 10**6),
    "train.eval_every": (0, _MANY),
    "train.eval_num": (0, _MANY),
    "train.eval_samples": (0, 10**6),
    "train.checkpoint_every": (1, _MANY),
    "train.keep": (1, _MANY),
    "sample.steps": (1, 10**6),
    "sample.num": (1, 10**7),
    "sample.frames": (0, 10**4),
    "sample.batch_size": (1, _WIDE),
    "sample.seed": (0, 2**32 - 1),
    "evaluate.num": (1, 10**7),
    "evaluate.copy_search_num": (0, _MANY),
    "evaluate.seed": (0, 2**32 - 1),
    "plan.channels": (1, 1024),
    "plan.classes": (0, 10**6),
    "plan.conditions": (0, 1000),
    "mesh.data": (-1, 2**20),
    "mesh.fsdp": (1, 2**20),
}
_REAL = {
    "data.tile_overlap": (0.0, 1.0),
    "data.min_indexed": _ANY,
    "data.holdout": (0.0, 0.9),
    "data.read_timeout": _ANY,
    "model.dropout": (0.0, 1.0),
    "diffusion.beta_start": _ANY,
    "diffusion.beta_end": _ANY,
    "diffusion.condition_dropout": (0.0, 1.0),
    "wgan.gp_weight": (0.0, math.inf),
    "wgan.critic_learning_rate": _ANY,
    "train.learning_rate": _ANY,
    "train.weight_decay": (0.0, math.inf),
    "train.clip_norm": (0.0, math.inf),
    "train.ema_decay": (0.0, 1.0),
    "sample.eta": _ANY,
    "sample.clip_percentile": _ANY,
    "sample.guidance": _ANY,
    "sample.guidance_rescale": _ANY,
    "sample.eps_scale": _ANY,
    "sample.ema": _ANY,
    "evaluate.pixel_size_um": _ANY,
    "plan.utilisation": _ANY,
}
_ABOVE_ZERO = ("data.read_timeout", "train.learning_rate", "wgan.critic_learning_rate")
_LISTS = {  # type of an entry, its least and its most
    "data.size": (int, 1, _WIDE),
    "data.conditions": (str, None, None),
    "model.channels": (int, 1, _WIDE),
    "model.attention_levels": (bool, None, None),
    "model.remat": (bool, None, None),
    "train.ema_widths": (float, *_ANY),
    "train.skip_batches": (int, 0, _MANY),
    "sample.guidance_interval": (float, *_ANY),
    "sample.trajectory_times": (int, 0, 10**6),
    "evaluate.metrics": (str, None, None),
    "plan.devices": (int, 1, 2**20),
}
_ENTRIES = 10**4  # of a list, at most
_LEVELS = 16  # of a network
_NUMBERS = 2**31  # that a level of the network makes of one image: fewer
_SWITCHES = (
    "data.to_grey",
    "data.augment",
    "model.mid_attention",
    "diffusion.zero_terminal_snr",
    "wgan.conditional",
    "sample.clip",
)
_TEXTS = {
    "data": "source root name key layout value_range resample pad symmetry ipf_direction ebsd colour_key laue_group "
    "window fill_unindexed filename_pattern label_by split_by on_bad_file cache",
    "model": "dtype",
    "diffusion": "schedule prediction loss weighting time_sampling",
    "train": "lr_schedule",
    "sample": "sampler spacing autoguidance label condition checkpoint name",
    "evaluate": "real generated inception_weights inception_preprocessing laue_group",
    "plan": "chip",
    "export": "format folder",
}
TYPES = {
    **dict.fromkeys(_WHOLE, int),
    **dict.fromkeys(_REAL, float),
    **dict.fromkeys(_LISTS, tuple),
    **dict.fromkeys(_SWITCHES, bool),
    "method": str,
    **{f"{group}.{name}": str for group, texts in _TEXTS.items() for name in texts.split()},
}
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}


def value(config: ConfigDict, name: str):
    """The value of a dotted field."""
    for part in name.split("."):
        config = config[part]
    return config


def put(config: ConfigDict, name: str, new) -> None:
    """Sets a dotted field; groups that are not there are made."""
    *parts, last = name.split(".")
    for part in parts:
        if part not in config:
            config[part] = ConfigDict()
        config = config[part]
    config[last] = new


def names(config: ConfigDict, prefix: str = "") -> list[str]:
    """All fields, dotted."""
    found = []
    for name, inner in config.items():
        found += names(inner, f"{prefix}{name}.") if isinstance(inner, ConfigDict) else [prefix + name]
    return found


def check_types(config: ConfigDict, where: str = "") -> None:
    """Refuses fields of another type than they have, as a stranger's `config.json` may have; not those that lack.

    Args:
      config: as it came.
      where: begins the message.

    Raises:
      UserError: naming the field, its value, and what it must be.
    """
    for group in dict.fromkeys(name.partition(".")[0] for name in TYPES if "." in name):
        if not isinstance(config.get(group, ConfigDict()), ConfigDict):
            raise UserError(f"{where}{group}={config[group]!r}, which must be a group of fields")
    for name, kind in TYPES.items():
        group, _, field = name.rpartition(".")
        there = config.get(group, {}) if group else config
        if field in there and not _is(kind, new := there[field]):
            raise UserError(f"{where}{name}={new!r}, which must be {_WORDS[kind]}")


def make_floats(config: ConfigDict) -> None:
    """Makes numbers of the fields that take any, where JSON has kept them as whole ones.

    Raises:
      OverflowError: a number has no float.
    """
    for name in _REAL:
        group, _, field = name.partition(".")
        if field in config.get(group, {}):
            number = float(config[group][field])
            with config.unlocked(), config.ignore_type():
                config[group][field] = number


def _is(kind: type, new: Any) -> bool:
    """Whether a value has the type; whole numbers do where any will do."""
    if isinstance(new, bool):
        return kind is bool
    return isinstance(new, kind) or (kind is float and isinstance(new, int))


def check_seed(name: str, seed: int) -> None:
    """Refuses a seed that JAX would wrap round.

    Raises:
      UserError: it is below 0 or needs more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"{name}={seed} must be at least 0 and below 2**32")


def check(config: ConfigDict) -> None:
    """Refuses values that cannot be; parts that an older run's `config.json` lacks are passed over.

    Raises:
      UserError: naming the field, its value, and what it may be.
    """
    check_types(config)
    there = {name: value(config, name) for name in names(config)}
    for name, given in there.items():
        for number in given if isinstance(given, tuple) else (given,):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{name}={given} must be finite")
    size = config.data.size
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(
            f"data.size={tuple(size)} must be height and width, as in --config.data.size='(64,64)'"
        )
    for name in _LISTS:
        if name in there:
            _check_list(name, there[name])
    if len(config.model.channels) > _LEVELS:
        raise UserError(f"model.channels has {len(config.model.channels)} levels; {_LEVELS} are the most")
    for name, choices in _CHOICES.items():
        require_known(name, there[name], choices)
    for name, (least, most) in _WHOLE.items():
        if name in there:
            _check_range(name, there[name], least, most)
    for name, (low, high) in _REAL.items():
        if name in there and not low <= there[name] < high:
            raise UserError(f"{name}={there[name]} must be {_between(low, high)}")
    for name in _ABOVE_ZERO:
        if there[name] <= 0:
            raise UserError(f"{name}={there[name]} must be above 0")
    _check_layers(config)
    name = config.sample.name
    if not name or len(name) > 100 or name != name.strip(". ") or set(name) & set('/\\:*?"<>|'):
        raise UserError(f"sample.name={name!r} must be a plain folder name")


def _check_layers(config: ConfigDict) -> None:
    height, width = config.data.size
    levels = config.model.channels if config.method == "ddpm" else ()
    layers = [("data.channels", 0, config.data.channels)]
    layers += [("model.channels", i, channels) for i, channels in enumerate(levels)]
    for name, level, channels in layers:
        if (height >> level) * (width >> level) * channels >= _NUMBERS:
            raise UserError(
                f"data.size={(height, width)} makes 2**31 numbers or more of one image with {channels} of {name}; "
                "lower one of them"
            )


def _check_list(name: str, entries: Sequence[Any]) -> None:
    kind, least, most = _LISTS[name]
    if len(entries) > _ENTRIES:
        raise UserError(f"{name} has {len(entries)} entries; {_ENTRIES} are the most")
    if not all(_is(kind, entry) for entry in entries):
        raise UserError(f"{name}={tuple(entries)} must hold values of type {kind.__name__} only")
    for entry in entries if kind in (int, float) else ():
        _check_range(name, entry, least, most)


def _check_range(name: str, number: int | float, least: int | float, most: int | float) -> None:
    if number < least:
        raise UserError(f"{name}={number} must be at least {least}")
    if number > most:
        raise UserError(f"{name}={number} must be at most {most}")


def _between(low: float, high: float) -> str:
    return f"at least {low:g}" + (f" and below {high:g}" if high < math.inf else "")
