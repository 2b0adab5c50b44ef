"""microgen-jax: train a generator on your microstructures, and draw new ones that can be trusted.

    import microgen_jax
    images = microgen_jax.load("runs/ipf128").sample(16, label="Tension", seed=0)   # uint8 [16, 128, 128, 3]

Everything else is done by `main.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microgen_jax.sampling.generator import Generator

__all__ = ["load"]


def load(workdir: str | Path, **sample: object) -> "Generator":
    """Opens a trained run; see `commands.generator.Generator`.

    Args:
      workdir: the run's folder, or its gs:// or s3:// address.
      **sample: fields of `config.sample` to change, such as `sampler="ddim", steps=50`.

    Raises:
      UserError: no run, no checkpoint, or a field that does not exist.
    """
    from microgen_jax.sampling import generator

    return generator.load(workdir, **sample)
