"""Checks the values that no room checks by itself, before anything else happens."""

import math

from ml_collections import ConfigDict

from microgen_jax.diffusion.names import require_known
from microgen_jax.types import UserError

_CHOICES = {
    "method": ("ddpm", "wgan_gp"),
    "train.lr_schedule": ("cosine", "constant"),
}
_ENTRIES = {
    "model.channels": int,
    "model.attention_levels": bool,
    "model.remat": bool,
    "data.size": int,
    "train.skip": int,
    "sample.stills": int,
    "train.ema_widths": float,
}
_AT_LEAST = {
    "train.steps": 1,
    "train.schedule_steps": 0,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.warmup_steps": 0,
    "train.weight_decay": 0,
    "train.clip_norm": 0,
    "train.log_every": 1,
    "train.sample_every": 0,
    "train.sample_num": 1,
    "train.eval_every": 0,
    "train.eval_num": 0,
    "train.eval_draws": 0,
    "train.checkpoint_every": 1,
    "train.keep": 1,
    "wgan.n_critic": 1,
    "wgan.latent_dim": 1,
    "wgan.width": 1,
    "wgan.gp_weight": 0,
    "sample.num": 1,
    "sample.batch_size": 1,
}
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}
_ABOVE_ZERO = ("data.patience", "train.learning_rate", "wgan.critic_learning_rate")
_BETWEEN = {
    "train.ema_decay": (0.0, 1.0),
    "diffusion.condition_dropout": (0.0, 1.0),
    "data.holdout": (0.0, 0.9),
}


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


def check_types(config: ConfigDict, like: ConfigDict, prefix: str = "") -> None:
    """Refuses fields of another type than the same field of `like`, as a stranger's `config.json` may have.

    Raises:
      UserError: naming the field, its value, and what it must be.
    """
    for name, known in like.items():
        new, kind = config.get(name, known), type(known)
        if type(new) is not kind and not (kind is float and type(new) is int):
            words = _WORDS.get(kind, "a group of fields")
            raise UserError(f"config.json says {prefix}{name}={new!r}, which must be {words}")
        if kind is ConfigDict:
            check_types(new, known, f"{prefix}{name}.")


def check_seed(name: str, seed: int) -> None:
    """Refuses a seed that JAX would wrap round.

    Raises:
      UserError: it is below 0 or needs more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"{name}={seed} must be at least 0 and below 2**32")


def check(config: ConfigDict) -> None:
    """Refuses values that cannot be.

    Raises:
      UserError: naming the field, its value, and what it may be.
    """
    for name in names(config):
        if isinstance(value(config, name), float) and not math.isfinite(value(config, name)):
            raise UserError(f"{name}={value(config, name)} must be a finite number")
    for name, kind in _ENTRIES.items():
        if not all(type(entry) is kind for entry in value(config, name)):
            raise UserError(
                f"{name}={tuple(value(config, name))} must hold values of type {kind.__name__} only"
            )
    check_seed("seed", config.seed)
    check_seed("sample.seed", config.sample.seed)
    for name, choices in _CHOICES.items():
        require_known(name, value(config, name), choices)
    for name, least in _AT_LEAST.items():
        if value(config, name) < least:
            raise UserError(f"{name}={value(config, name)} must be at least {least}")
    for name, (low, high) in _BETWEEN.items():
        if not low <= value(config, name) < high:
            raise UserError(f"{name}={value(config, name)} must be at least {low:g} and below {high:g}")
    for name in _ABOVE_ZERO:
        if value(config, name) <= 0:
            raise UserError(f"{name}={value(config, name)} must be above 0")
    size = config.data.size
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(
            f"data.size={tuple(size)} must be height and width, as in --config.data.size='(64,64)'"
        )
    name = config.sample.name
    if not name or len(name) > 100 or name != name.strip(". ") or set(name) & set('/\\:*?"<>|'):
        raise UserError(f"sample.name={name!r} must be a plain folder name")
