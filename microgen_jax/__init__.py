"""microgen-jax: train a generator on microstructures, generate new ones, and measure how close they are to the real.

    from microgen_jax import load
    samples = load("runs/ipf128").sample(16, label="Tension", seed=0)   # samples.images: uint8 [16, 128, 128, 3]

`docs/api.md` lists what can be imported from here; everything else is done by the command `microgen`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgen_jax.commands.inspect import inspect
    from microgen_jax.commands.train import train
    from microgen_jax.crystal.maps import read_map, write_map
    from microgen_jax.errors import UserError
    from microgen_jax.sampling.evaluation_sets import compare
    from microgen_jax.sampling.generator import Generator
    from microgen_jax.sampling.opening import load
    from microgen_jax.sampling.samples import Samples
    from microgen_jax.training.status import training_status

_LOCATIONS = {  # name: module and the name there; imported when first used
    "Generator": ("microgen_jax.sampling.generator", "Generator"),
    "Samples": ("microgen_jax.sampling.samples", "Samples"),
    "UserError": ("microgen_jax.errors", "UserError"),
    "compare": ("microgen_jax.sampling.evaluation_sets", "compare"),
    "inspect": ("microgen_jax.commands.inspect", "inspect"),
    "load": ("microgen_jax.sampling.opening", "load"),
    "read_map": ("microgen_jax.crystal.maps", "read_map"),
    "train": ("microgen_jax.commands.train", "train"),
    "training_status": ("microgen_jax.training.status", "training_status"),
    "write_map": ("microgen_jax.crystal.maps", "write_map"),
}
__all__ = [
    "Generator",
    "Samples",
    "UserError",
    "compare",
    "inspect",
    "load",
    "read_map",
    "train",
    "training_status",
    "write_map",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _LOCATIONS[name]
    return getattr(importlib.import_module(module), there)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
