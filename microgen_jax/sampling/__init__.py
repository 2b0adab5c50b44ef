"""Trained models that generate samples: `load` a run, call `sample` of its `Generator`, get `Samples`."""

from microgen_jax.sampling.generator import Generator
from microgen_jax.sampling.opening import load, open_run
from microgen_jax.sampling.requests import choose_conditions, choose_labels, standardise
from microgen_jax.sampling.samples import Samples

__all__ = [
    "Generator",
    "Samples",
    "choose_conditions",
    "choose_labels",
    "load",
    "open_run",
    "standardise",
]
