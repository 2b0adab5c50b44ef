"""Several stages generated one after the other, each given the one before: cascaded diffusion (Ho et al. 2021).

The channels of an image are those of all stages, in their order. Stage s is a diffusion model p(x_s | x_<s, cond): its
network denoises its own channels and is given all earlier ones, clean but for a little noise in training (conditioning
augmentation, arXiv 2106.15282, section 4). All stages are trained on the same batch, in one update; what they have is
kept by the stage's name in `TrainState`: params, ema_params, opt_state and extra are {stage: tree}.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from microgen_jax.diffusion import Schedule
from microgen_jax.methods.ddpm import DDPM
from microgen_jax.networks import Row
from microgen_jax.training.state import TrainState
from microgen_jax.types import Batch, Metrics


@dataclass(frozen=True)
class Cascade:
    """A `Method` of several stages.

    Attributes:
      stages: name and model of each stage, in the order of generation.
    """

    stages: tuple[tuple[str, DDPM], ...]

    minibatches: ClassVar[int] = 1

    @property
    def curves(self) -> tuple[tuple[str, ...], ...]:
        """Metrics of each panel of `curves.png`."""
        return tuple((f"loss/{name}", f"heldout_loss/{name}") for name, _ in self.stages)

    @property
    def schedule(self) -> Schedule:
        """Noise schedule, the same in all stages."""
        return self.stages[0][1].schedule

    def init(self, key: Key[Array, ""]) -> TrainState:
        """Return the state before the first update, a pure function of the key."""
        keys = jax.random.split(key, len(self.stages))
        return _joined({name: stage.init(k) for k, (name, stage) in zip(keys, self.stages)})

    def train_step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        """Return the state after one update of every stage, and metrics.

        Args:
          state: state before the update.
          batch: images with the channels of all stages, labels and conditions.
          key: PRNG key of this batch.

        Returns:
          The state; `loss`, the sum over the stages, and each stage's own as `loss/NAME`; the rest as in `DDPM`.
        """
        keys = jax.random.split(key, len(self.stages))
        states, metrics = {}, {}
        for index, (name, stage) in enumerate(self.stages):
            states[name], metrics[name] = stage.train_step(
                _part(state, name), self.batch_of(index, batch), keys[index]
            )
        total = {f"loss/{name}": found["loss"] for name, found in metrics.items()}
        squares = sum(found["grad_norm"] ** 2 for found in metrics.values())
        return _joined(states), total | {
            "loss": sum(total.values()),
            "grad_norm": jnp.sqrt(squares),
            "learning_rate": metrics[self.stages[0][0]]["learning_rate"],
            "finite_layers": jnp.stack(
                [found["finite_layers"].all() for _, found in sorted(metrics.items())]
            ),
        }

    def eval_step(
        self, state: TrainState, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]
    ) -> Metrics:
        """Return sums over a hold-out batch: `heldout_loss`, each stage's as `heldout_loss/NAME`, and `count`.

        Args:
          state: state whose averaged parameters are judged.
          batch: hold-out images with the channels of all stages, labels and conditions.
          mask: 1 for rows that count, 0 for rows that only fill the batch up.
          rows: index of each image in the hold-out.
        """
        losses = {
            f"heldout_loss/{name}": stage.eval_step(
                _part(state, name), self.batch_of(index, batch), mask, rows
            )["heldout_loss"]
            for index, (name, stage) in enumerate(self.stages)
        }
        return losses | {"heldout_loss": sum(losses.values()), "count": jnp.sum(mask)}

    def heldout(self, means: dict[str, np.ndarray]) -> dict[str, float]:
        """Return the mean losses of the hold-out images.

        Args:
          means: means of what `eval_step` sums.
        """
        return {name: float(value) for name, value in means.items()}

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]:
        """Return no warning: a hold-out loss needs none."""
        return []

    def batch_of(self, index: int, batch: Batch) -> Batch:
        """Return the batch of one stage: its own channels, and all earlier ones as given.

        Args:
          index: number of the stage.
          batch: images with the channels of all stages, labels and conditions.
        """
        start = self.stages[index][1].unet.given_channels
        stop = start + self.stages[index][1].shape[-1]
        given = batch.image[..., :start] if start else None
        return Batch(batch.image[..., start:stop], batch.label, batch.condition, given)

    def summary(self) -> list[Row]:
        """Return what the networks cost, level by level."""
        return [
            row._replace(name=f"{name}: {row.name}") for name, stage in self.stages for row in stage.summary()
        ]


def _part(state: TrainState, name: str) -> TrainState:
    return TrainState(
        state.step, state.params[name], state.ema_params[name], state.opt_state[name], state.extra[name]
    )


def _joined(states: dict[str, TrainState]) -> TrainState:
    first = next(iter(states.values()))
    return TrainState(
        first.step,
        *(
            {name: getattr(state, field) for name, state in states.items()}
            for field in ("params", "ema_params", "opt_state", "extra")
        ),
    )
