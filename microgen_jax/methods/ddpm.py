"""Denoising diffusion (Ho et al. 2020) as a method: network, process, optimizer and sampler joined."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from microgen_jax.diffusion import (
    Chain,
    Sampling,
    Schedule,
    autoguide,
    diffusion_loss,
    from_logits,
    hide_conditions,
    importance,
    make_chain,
    run_scan,
    update_square_losses,
)
from microgen_jax.networks import Row, UNet, in_compute_type, summary
from microgen_jax.training import ema
from microgen_jax.training import state as states
from microgen_jax.training.state import TrainState
from microgen_jax.types import Batch, Condition, Denoiser, Metrics, Params


class Kept(NamedTuple):
    """In the place of the optimizer's state, where importance sampling or further averages ask for more than that.

    Attributes:
      optimizer: its state.
      square_losses: float32 [T], running mean of loss^2 at every time.
      averages: of the parameters, one for each of `ema_widths`.
    """

    optimizer: Any
    square_losses: Any
    averages: Any


@dataclass(frozen=True)
class DDPM:
    """A `Method`: pure functions of arrays.

    Attributes:
      unet: the network.
      schedule: of the noise.
      optimizer: of the parameters.
      learning_rate: the schedule inside `optimizer`, for the log.
      shape: (H, W, C) of an image.
      num_conditions: K.
      prediction: what the network gives: eps, x0 or v.
      loss: name in `diffusion.losses`.
      weighting: name in `diffusion.weighting`.
      time_sampling: 'uniform', 'stratified' or 'importance'.
      condition_dropout: share of the labels, and of each condition, hidden in training.
      ema_decay: of the averaged parameters.
      ema_widths: of further averages, with power-function profiles.
      accumulate: micro-batches to an update.
      sampling: the sampler and its settings.
    """

    unet: UNet
    schedule: Schedule
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    shape: tuple[int, int, int]
    num_conditions: int
    prediction: str
    loss: str
    weighting: str
    time_sampling: str
    condition_dropout: float
    ema_decay: float
    accumulate: int
    ema_widths: tuple[float, ...] = ()
    sampling: Sampling = Sampling()  # noqa: RUF009

    minibatches: ClassVar[int] = 1
    curves: ClassVar[tuple[tuple[str, ...], ...]] = (("loss", "heldout_loss"),)

    def init(self, key: Key[Array, ""]) -> TrainState:
        """The state before the first update, a pure function of the key."""
        cond = Condition(jnp.zeros(1, jnp.int32), jnp.zeros((1, self.num_conditions)))
        image, t = jnp.zeros((1, *self.shape)), jnp.zeros(1, jnp.int32)
        return self.start(self.unet.init(key, image, t, *cond)["params"])

    def start(self, params: Params) -> TrainState:
        """The state before the first update, of parameters that came from elsewhere."""
        state = states.create(params, self.optimizer)
        if self._plain:
            return state
        square_losses = jnp.zeros(self.schedule.timesteps)
        copies = tuple(jax.tree.map(jnp.copy, params) for _ in self.ema_widths)
        return state.replace(opt_state=Kept(state.opt_state, square_losses, copies))

    @property
    def _plain(self) -> bool:
        return self.time_sampling != "importance" and not self.ema_widths

    def denoiser(self, params: Params, dropout_key: Key[Array, ""] | None = None) -> Denoiser:
        """The network as a plain function; with a key it drops units as in training."""
        train = dropout_key is not None
        rngs = {"dropout": dropout_key} if train else None

        def denoise(xt: Array, t: Array, cond: Condition) -> Array:
            return self.unet.apply({"params": params}, xt, t, cond.label, cond.value, train, rngs=rngs)

        return denoise

    def loss_of(
        self,
        params: Params,
        batch: Batch,
        rows: Int[Array, "B"],
        key: Key[Array, ""],
        probabilities: Float[Array, "T"] | None = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The training loss of (a part of) a batch; each image's draws depend on its row in the whole batch.

        With probabilities of the times, the metrics hold the sums that `update_square_losses` takes as well.
        """
        hide, draw, drop = jax.random.split(key, 3)
        cond = Condition(batch.label, batch.condition)
        cond = hide_conditions(hide, cond, self.unet.num_classes, self.condition_dropout, rows)
        value, parts = diffusion_loss(
            self.denoiser(params, jax.random.fold_in(drop, rows[0])),
            self.schedule,
            batch.image,
            cond,
            draw,
            prediction=self.prediction,
            loss=self.loss,
            weighting=self.weighting,
            time_sampling=self.time_sampling,
            probabilities=probabilities,
            rows=rows,
            total=batch.image.shape[0] * self.accumulate,
        )
        if probabilities is None:
            return value, {"loss": value}
        return value, {"loss": value, "squares": parts.squares(self.schedule.timesteps)}

    def train_step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        """One update. The metrics are the loss, the gradient's norm before clipping, and the learning rate."""
        if self._plain:
            return self._update(state, batch, key, self.loss_of)
        kept, loss_of = state.opt_state, self.loss_of
        if self.time_sampling == "importance":
            loss_of = partial(loss_of, probabilities=importance(kept.square_losses))
        state, metrics = self._update(state.replace(opt_state=kept.optimizer), batch, key, loss_of)
        square_losses = kept.square_losses
        if self.time_sampling == "importance":
            square_losses = update_square_losses(square_losses, metrics.pop("squares"))
        means = tuple(
            ema.update(average, state.params, width, state.step)
            for average, width in zip(kept.averages, self.ema_widths)
        )
        return state.replace(opt_state=Kept(state.opt_state, square_losses, means)), metrics

    def _update(
        self, state: TrainState, batch: Batch, key: Key[Array, ""], loss_of: Callable[..., Any]
    ) -> tuple[TrainState, Metrics]:
        metrics, grads = states.accumulated_gradients(loss_of, state.params, batch, key, self.accumulate)
        metrics |= {
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": self.learning_rate(state.step),
            "finite_layers": states.finite_layers(grads),
        }
        return states.apply_gradients(state, grads, self.optimizer, self.ema_decay), metrics

    def eval_step(
        self, state: TrainState, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]
    ) -> Metrics:
        """Sums over a held-out batch, with noise and times that depend on the images' rows only.

        Args:
          state: whose averaged parameters are judged.
          batch: B held-out images.
          mask: 1 for rows that count, 0 for rows that only fill the batch up.
          rows: index of each image in the held-out set.

        Returns:
          `heldout_loss` (the sum of the losses) and `count`.
        """
        _, parts = diffusion_loss(
            self.denoiser(state.ema_params),
            self.schedule,
            batch.image,
            Condition(batch.label, batch.condition),
            jax.random.key(0),
            prediction=self.prediction,
            loss=self.loss,
            weighting=self.weighting,
            time_sampling="fixed",
            rows=rows,
        )
        return {"heldout_loss": jnp.sum(parts.per_example * mask), "count": jnp.sum(mask)}

    def heldout(self, means: dict[str, np.ndarray]) -> dict[str, float]:
        """The mean loss of the held-out images."""
        return {name: float(value) for name, value in means.items()}

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]:
        """Nothing: a held-out loss speaks for itself."""
        return []

    def generate(
        self,
        params: Params,
        keys: Key[Array, "B"],
        cond: Condition,
        weak: Params | None = None,
    ) -> Float[Array, "B H W C"]:
        """Images in [-1, 1]; image i is a function of `keys[i]` and its condition.

        Args:
          params: usually the averaged ones.
          keys: one for each image.
          cond: what is asked of each image.
          weak: of an earlier checkpoint; `guidance` is then away from it (autoguidance).
        """
        return run_scan(self.chain(params, keys, cond, weak))[0]

    def frames(
        self,
        params: Params,
        keys: Key[Array, "B"],
        cond: Condition,
        weak: Params | None = None,
        *,
        which: int | tuple[int, ...],
    ) -> Float[Array, "K B H W C"]:
        """Stills on the way of `generate`, from pure noise to the images: so many, or at these times."""
        return run_scan(self.chain(params, keys, cond, weak), which)[1]

    def chain(
        self,
        params: Params,
        keys: Key[Array, "B"],
        cond: Condition,
        weak: Params | None = None,
        **edit: Any,
    ) -> Chain:
        """Return the chain of `generate`, for `diffusion.start_state` and `diffusion.run_piece`.

        Args:
          params: usually the averaged ones.
          keys: one PRNG key for each image.
          cond: label and conditions of each image.
          weak: parameters of an earlier checkpoint, for autoguidance.
          **edit: `start`, `start_time` and `known` of `diffusion.sample`.
        """
        denoise, sampling = self._denoise_x(params), self.sampling
        if weak is not None:
            denoise = autoguide(denoise, self._denoise_x(weak), scale=sampling.guidance)
            sampling = replace(sampling, guidance=1.0)
        return make_chain(
            denoise,
            self.schedule,
            keys,
            cond,
            shape=self.shape,
            prediction=self.prediction,
            null_label=self.unet.num_classes,
            sampling=sampling,
            **edit,
        )

    def summary(self) -> list[Row]:
        """What the network costs, level by level."""
        return summary(self.unet, self.shape[:2])

    def _denoise_x(self, params: Params) -> Denoiser:
        """The network in terms of `prediction`, its logits made x0, its weights converted before the scan."""
        denoise = self.denoiser(in_compute_type(params, self.unet.dtype))
        return from_logits(denoise) if self.loss == "bce" else denoise
