"""Denoising diffusion (Ho et al. 2020) as a method: network, process, optimizer and sampler joined."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

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


@dataclass(frozen=True, eq=False)
class DDPM:
    """A `Method`: pure functions of arrays; equal to itself alone, and so a static argument of `jax.jit`.

    `TrainState.extra` holds, where they are asked for, `square_losses`, float32 [T], the running mean of loss^2 at
    every time; and `averages`, a tree of parameters for each of `ema_widths`.

    Attributes:
      unet: network.
      schedule: noise schedule.
      optimizer: optimizer of the parameters.
      learning_rate: learning-rate schedule inside `optimizer`, for the log.
      shape: (H, W, C) of an image.
      num_conditions: K, the number of continuous conditions.
      prediction: output of the network: eps, x0 or v.
      loss: name of a loss in `diffusion.losses`.
      weighting: name of a weighting in `diffusion.weighting`.
      time_sampling: 'uniform', 'stratified' or 'importance'.
      condition_dropout: share of the labels, and of each condition, hidden in training.
      ema_decay: decay of the averaged parameters.
      accumulate: micro-batches of an update.
      ema_widths: widths of further averages, with power-function profiles (see `training.ema`).
      sampling: sampler and its settings.
      given_noise: largest standard deviation, in training, of the noise on the channels that the network is given from
        an earlier stage (conditioning augmentation, Ho et al. 2021, arXiv 2106.15282, section 4).
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
    given_noise: float = 0.0

    minibatches: ClassVar[int] = 1
    curves: ClassVar[tuple[tuple[str, ...], ...]] = (("loss", "heldout_loss"),)

    def init(self, key: Key[Array, ""]) -> TrainState:
        """Return the state before the first update, a pure function of the key."""
        cond = Condition(jnp.zeros(1, jnp.int32), jnp.zeros((1, self.num_conditions)))
        height, width, channels = self.shape
        image, t = jnp.zeros((1, height, width, channels + self.unet.given_channels)), jnp.zeros(1, jnp.int32)
        return self.start(self.unet.init(key, image, t, *cond)["params"])

    def start(self, params: Params) -> TrainState:
        """Return the state before the first update, with parameters that came from elsewhere."""
        extra: dict[str, Any] = {}
        if self.time_sampling == "importance":
            extra["square_losses"] = jnp.zeros(self.schedule.timesteps)
        if self.ema_widths:
            extra["averages"] = tuple(jax.tree.map(jnp.copy, params) for _ in self.ema_widths)
        return states.create(params, self.optimizer, extra)

    def denoiser(
        self,
        params: Params,
        dropout_key: Key[Array, ""] | None = None,
        given: Float[Array, "B H W G"] | None = None,
    ) -> Denoiser:
        """Return the network as a plain function.

        Args:
          params: parameters.
          dropout_key: PRNG key of the units dropped, as in training; None drops none.
          given: channels of an earlier stage; a batch in which every image stands k times in a row takes them so.
        """
        train = dropout_key is not None
        rngs = {"dropout": dropout_key} if train else None

        def denoise(xt: Array, t: Array, cond: Condition) -> Array:
            if given is not None:
                beside = jnp.repeat(given, xt.shape[0] // given.shape[0], axis=0)
                xt = jnp.concatenate([xt, beside], axis=-1)
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
        """Return the training loss of (a part of) a batch, and metrics.

        The random numbers of an image depend on its row in the whole batch.

        Args:
          params: parameters.
          batch: images, labels and conditions.
          rows: row of each image in the whole batch.
          key: PRNG key of the whole batch.
          probabilities: probability of every time, for importance sampling; the metrics then hold `squares` as well,
            the sums that `update_square_losses` takes.
        """
        hide, noise, drop = jax.random.split(key, 3)
        cond = Condition(batch.label, batch.condition)
        cond = hide_conditions(hide, cond, self.unet.num_classes, self.condition_dropout, rows)
        given = None if batch.given is None else self._noised(batch.given, jax.random.fold_in(key, 3), rows)
        value, parts = diffusion_loss(
            self.denoiser(params, jax.random.fold_in(drop, rows[0]), given),
            self.schedule,
            batch.image,
            cond,
            noise,
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
        """Return the state after one update, and metrics.

        Args:
          state: state before the update.
          batch: images, labels and conditions.
          key: PRNG key of this batch.

        Returns:
          The state, and the loss, the gradient's norm before clipping, the learning rate and `finite_layers`.
        """
        extra = dict(state.extra)
        probabilities = importance(extra["square_losses"]) if "square_losses" in extra else None

        def loss_of(*args: Any) -> tuple[Array, Metrics]:
            return self.loss_of(*args, probabilities)

        metrics, grads = states.accumulated_gradients(loss_of, state.params, batch, key, self.accumulate)
        metrics |= {
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": self.learning_rate(state.step),
            "finite_layers": states.finite_layers(grads),
        }
        state = states.apply_gradients(state, grads, self.optimizer, self.ema_decay)
        if "square_losses" in extra:
            extra["square_losses"] = update_square_losses(extra["square_losses"], metrics.pop("squares"))
        if "averages" in extra:
            extra["averages"] = tuple(
                ema.update(average, state.params, width, state.step)
                for average, width in zip(extra["averages"], self.ema_widths)
            )
        return state.replace(extra=extra), metrics

    def eval_step(
        self, state: TrainState, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]
    ) -> Metrics:
        """Return sums over a held-out batch, with noise and times that depend on the images' rows only.

        Args:
          state: state whose averaged parameters are judged.
          batch: B held-out images with their labels and conditions.
          mask: 1 for rows that count, 0 for rows that only fill the batch up.
          rows: index of each image in the held-out set.

        Returns:
          `heldout_loss` (the sum of the losses) and `count`.
        """
        _, parts = diffusion_loss(
            self.denoiser(state.ema_params, given=batch.given),
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
        """Return the mean loss of the held-out images.

        Args:
          means: means of what `eval_step` sums.
        """
        return {name: float(value) for name, value in means.items()}

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]:
        """Return no warning: a held-out loss needs none."""
        return []

    def generate(
        self,
        params: Params,
        keys: Key[Array, "B"],
        cond: Condition,
        weak: Params | None = None,
        given: Float[Array, "B H W G"] | None = None,
    ) -> Float[Array, "B H W C"]:
        """Return images in [-1, 1]; image i is a function of `keys[i]` and its condition.

        Args:
          params: parameters, usually the averaged ones.
          keys: PRNG key of each image.
          cond: label and conditions of each image.
          weak: parameters of an earlier checkpoint; `guidance` is then away from it (autoguidance).
          given: channels of an earlier stage.
        """
        return run_scan(self.chain(params, keys, cond, weak, given))[0]

    def chain(
        self,
        params: Params,
        keys: Key[Array, "B"],
        cond: Condition,
        weak: Params | None = None,
        given: Float[Array, "B H W G"] | None = None,
        **edit: Any,
    ) -> Chain:
        """Return the chain of `generate`, for `diffusion.start_state` and `diffusion.run_piece`.

        Args:
          params: parameters, usually the averaged ones.
          keys: one PRNG key for each image.
          cond: label and conditions of each image.
          weak: parameters of an earlier checkpoint, for autoguidance.
          given: channels of an earlier stage.
          **edit: `start`, `start_time` and `known` of `diffusion.sample`.
        """
        denoise, sampling = self._denoise_x(params, given), self.sampling
        if weak is not None:
            denoise = autoguide(denoise, self._denoise_x(weak, given), scale=sampling.guidance)
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
        """Return what the network costs, level by level."""
        return summary(self.unet, self.shape[:2])

    def _denoise_x(self, params: Params, given: Array | None) -> Denoiser:
        """Return the network in terms of `prediction`, logits made x0, its weights converted before the scan."""
        denoise = self.denoiser(in_compute_type(params, self.unet.dtype), given=given)
        return from_logits(denoise) if self.loss == "bce" else denoise

    def _noised(self, given: Array, key: Key[Array, ""], rows: Int[Array, "B"]) -> Array:
        """Return the given channels with noise whose size is random, evenly up to `given_noise`."""

        def noise(row: Array) -> Array:
            size, each = jax.random.split(jax.random.fold_in(key, row))
            return self.given_noise * jax.random.uniform(size) * jax.random.normal(each, given.shape[1:])

        return given + jax.vmap(noise)(rows)
