"""A trained model as exports take it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from microgen_jax.config import run_config
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.methods import DDPM
from microgen_jax.types import Params

FACTS = "microgen.json"


@dataclass(frozen=True)
class TrainedModel:
    """A diffusion model with all that its exports write down.

    Attributes:
      config: configuration of the run, its `sample` part as images are to be sampled.
      resolved: what the run's data decided.
      method: method with the network, the schedule and the sampler's settings.
      params: averaged parameters.
      step: number of updates of the parameters.
      metrics: metrics of the run's evaluation by name; empty where there was none.
    """

    config: Config
    resolved: Resolved
    method: DDPM
    params: Params
    step: int
    metrics: dict[str, dict[str, Any]]

    def facts(self) -> dict[str, Any]:
        """Return what the other files have no place for, and `--mode=import` reads."""
        return {
            "classes": list(self.resolved.classes),
            "conditions": list(self.resolved.conditions),
            "checkpoint": self.step,
            "sample": asdict(self.config.sample),
            "versions": run_config.versions(),
        }


def save_arrays(path: Path, arrays: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write arrays as a safetensors file.

    Args:
      path: path of the file.
      arrays: arrays by name.
      metadata: texts for the file's header.
    """
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))
