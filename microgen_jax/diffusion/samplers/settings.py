"""The settings of sampling, in one frozen dataclass."""

import dataclasses
import math
from dataclasses import dataclass

from microgen_jax.config.schema import SampleConfig
from microgen_jax.diffusion.guidance import require_guidance
from microgen_jax.diffusion.process import require_prediction
from microgen_jax.diffusion.samplers import SAMPLERS, make_sampler
from microgen_jax.diffusion.samplers.scan import kept_levels
from microgen_jax.diffusion.schedules import Schedule
from microgen_jax.diffusion.spacing import NoiseLevels, make_levels
from microgen_jax.diffusion.thresholding import make_threshold
from microgen_jax.errors import UserError, require_known

ALL_LEVELS = (0.0, math.inf)


@dataclass(frozen=True)
class Sampling:
    """How images are sampled; each field is one of `config.schema.SampleConfig`.

    Attributes:
      sampler: name in `samplers.SAMPLERS`.
      steps: network calls (Heun's method: two a step but the last), from 1 to T.
      eta: share of fresh noise, for 'ddim' alone: 0 is deterministic, 1 is ancestral.
      spacing: 'trailing', 'linspace', 'leading', 'karras' (see `spacing`), or 'auto', the sampler's own.
      clip: whether the predicted x0 is kept in [-1, 1].
      clip_percentile: percentile of |x0|, for dynamic thresholding; 0 is plain clipping.
      guidance: scale of classifier-free guidance; 1 is off.
      guidance_interval: noise levels sigma/alpha, lowest and highest, between which guidance holds.
      guidance_rescale: share of the standard deviation that guidance gives back.
      eps_scale: factor of the predicted noise; 1 leaves it.
    """

    sampler: str = "ddim"
    steps: int = 50
    eta: float = 0.0
    spacing: str = "auto"
    clip: bool = True
    clip_percentile: float = 0.0
    guidance: float = 1.0
    guidance_interval: tuple[float, float] = ALL_LEVELS
    guidance_rescale: float = 0.0
    eps_scale: float = 1.0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the settings, which are fields of the `sample` part of a configuration."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def from_config(cls, config: SampleConfig) -> "Sampling":
        """Return the settings of the `sample` part of a configuration; no interval is all noise levels.

        Args:
          config: the `sample` part.

        Raises:
          UserError: a guidance interval that is not () or two numbers.
        """
        values = {name: getattr(config, name) for name in cls.names()}
        interval = tuple(config.guidance_interval) or ALL_LEVELS
        if len(interval) != 2 or not all(type(level) in (int, float) for level in interval):
            raise UserError(
                "guidance_interval",
                f"{interval} is not two noise levels",
                "give two numbers, as in (0.3,5.0)",
            )
        return cls(**values | {"guidance_interval": tuple(map(float, interval))})

    def levels(self, schedule: Schedule) -> NoiseLevels:
        """Return the noise levels that the sampler visits, the clean end included.

        Args:
          schedule: noise schedule of the chain.

        Raises:
          UserError: an unknown sampler or spacing, or steps outside 1..T.
        """
        require_known("sampler", self.sampler, SAMPLERS)
        spacing = SAMPLERS[self.sampler].spacing if self.spacing == "auto" else self.spacing
        return make_levels(schedule, self.steps, spacing)

    def check(self, schedule: Schedule, prediction: str, trajectory: int | tuple[int, ...] = 0) -> None:
        """Refuse on the host, before anything is compiled, what `sample` cannot do.

        Args:
          schedule: noise schedule that the network was trained with.
          prediction: output of the network: 'eps', 'x0' or 'v'.
          trajectory: frames to keep, see `scan.kept_levels`.

        Raises:
          UserError: unknown names; steps, eta, clip_percentile, guidance, eps_scale or trajectory out of range; at
            zero terminal SNR, eps prediction or a spacing that starts below T-1.
        """
        require_prediction(prediction, schedule)
        make_sampler(self.sampler, self.eta)
        levels = self.levels(schedule)
        make_threshold(self.clip, self.clip_percentile)
        require_guidance(self.guidance, self.guidance_interval, self.guidance_rescale)
        if not 0 < self.eps_scale <= 2:
            raise UserError(
                "eps_scale", f"{self.eps_scale} lies outside (0, 2]", "1 leaves the noise as predicted"
            )
        kept_levels(levels, trajectory)
