"""Samplers: a file a family, registered here by name; `scan` runs them, `generate` is their entry point.

A new sampler is one file with a `Sampler` (see `base`), and its line in `SAMPLERS`.
"""

from dataclasses import replace
from functools import partial

from microgen_jax.diffusion.samplers import ancestral, ddim, dpmpp, heun, unipc
from microgen_jax.diffusion.samplers.base import Sampler, StepScalars
from microgen_jax.errors import UserError, require_known

__all__ = ["SAMPLERS", "Sampler", "StepScalars", "make_sampler"]

SAMPLERS: dict[str, Sampler] = {
    **ancestral.SAMPLERS,
    **ddim.SAMPLERS,
    **heun.SAMPLERS,
    **dpmpp.SAMPLERS,
    **unipc.SAMPLERS,
}


def make_sampler(sampler: str, eta: float = 0.0) -> Sampler:
    """Return a sampler by name.

    Args:
      sampler: name in `SAMPLERS`.
      eta: share of fresh noise in [0, 1], of samplers that take one ('ddim').

    Raises:
      UserError: an unknown name, or an eta outside [0, 1] or of a sampler that takes none.
    """
    require_known("sampler", sampler, SAMPLERS)
    found = SAMPLERS[sampler]
    if not 0 <= eta <= 1:
        raise UserError("eta", f"{eta} lies outside [0, 1]", "0 is deterministic, 1 is ancestral")
    if found.takes_eta:
        return replace(found, step=partial(found.step, eta=eta), stochastic=eta > 0)
    if eta != 0:
        takers = ", ".join(name for name, other in SAMPLERS.items() if other.takes_eta)
        raise UserError("eta", f"{eta} is not for sampler {sampler!r}", f"leave it 0, or use {takers}")
    return found
