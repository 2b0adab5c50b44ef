"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017) as a method: a generator and its critic.

  (1) W   = E D(x) - E D(G(z))                              estimate of the Wasserstein-1 distance
  (2) L_D = -W + λ E (|∇D(y)| - 1)²,  y = u x + (1 - u) G(z), u ~ U(0, 1)              their eq. 3
  (3) L_G = -E D(G(z))

The penalty is soft. Between point masses at distance Δ a critic of slope s gains s Δ and pays λ (s - 1)², so the best
one overshoots:

  (4) s = 1 + Δ / 2λ,  W = Δ (1 + Δ / 2λ)

One update is `n_critic` updates of the critic, each on real images and latent vectors of its own (their algorithm
1), then one of the generator. Its batch therefore holds n_critic minibatches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from microgen_jax.methods.descriptors import descriptors, distance
from microgen_jax.networks import Row
from microgen_jax.networks.wgan import Critic, WGANGenerator, summary
from microgen_jax.training import state as states
from microgen_jax.training.state import TrainState
from microgen_jax.types import Batch, Condition, Metrics, Params

EPS = 1e-12  # under the root of the gradient's norm, whose derivative at 0 it keeps finite
COLLAPSED = 0.5  # of the real images' mean distance from each other

Score = Callable[[Float[Array, "B H W C"]], Float[Array, "B"]]


def gradient_penalty(score: Score, y: Float[Array, "B H W C"]) -> Float[Array, "B"]:
    """Return (|∇D(y)| - 1)² of every image, eq. 2, float32 whatever the critic computes in.

    Args:
      score: critic as a plain function; an image's score depends on that image alone.
      y: images, float32.
    """
    gradient = jax.grad(lambda y: score(y).sum())(y).astype(jnp.float32)
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=(1, 2, 3)) + EPS)
    return jnp.square(norm - 1.0)


@dataclass(frozen=True)
class WGANGP:
    """A `Method`: pure functions of arrays.

    Parameters and optimizer states of its `TrainState` are dicts of `generator` and `critic`; its average is that of
    the generator.

    Attributes:
      generator: network that makes images from latent vectors.
      critic: network that scores images.
      generator_optimizer: optimizer of the generator's parameters.
      critic_optimizer: optimizer of the critic's parameters.
      learning_rate: learning-rate schedule inside `generator_optimizer`, for the log.
      critic_learning_rate: learning-rate schedule inside `critic_optimizer`, by update of the critic, for the log.
      latent_dim: length of a latent vector.
      n_critic: updates of the critic to one of the generator.
      gp_weight: λ, the weight of the gradient penalty.
      ema_decay: decay of the generator's averaged parameters.
      accumulate: micro-batches of an update of either.
      settling: updates after which a lack of diversity is worth a warning.
    """

    generator: WGANGenerator
    critic: Critic
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    critic_learning_rate: optax.Schedule
    latent_dim: int
    n_critic: int
    gp_weight: float
    ema_decay: float
    accumulate: int = 1
    settling: int = 0

    curves: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("critic_loss", "generator_loss"),
        ("penalty",),
        ("wasserstein", "heldout_wasserstein"),
        ("heldout_loss",),
        ("diversity",),
    )

    @property
    def minibatches(self) -> int:
        """Number of minibatches that one `train_step` takes."""
        return self.n_critic

    def init(self, key: Key[Array, ""]) -> TrainState:
        """Return the state before the first update, a pure function of the key."""
        for_generator, for_critic = jax.random.split(key)
        label = jnp.zeros(1, jnp.int32)
        image = jnp.zeros((1, *self.generator.size, self.generator.out_channels))
        params = {
            "generator": self.generator.init(for_generator, jnp.zeros((1, self.latent_dim)), label)["params"],
            "critic": self.critic.init(for_critic, image, label)["params"],
        }
        optimizers = {
            "generator": self.generator_optimizer.init(params["generator"]),
            "critic": self.critic_optimizer.init(params["critic"]),
        }
        average = jax.tree.map(jnp.copy, params["generator"])
        return TrainState(jnp.zeros((), jnp.int32), params, average, optimizers)

    def images(self, params: Params, keys: Key[Array, "B"], label: Int[Array, "B"]) -> Array:
        """Return G(z), float32 [B, H, W, C], with a latent vector from each key.

        Args:
          params: parameters of the generator.
          keys: PRNG key of each image.
          label: class of each image.
        """
        z = jax.vmap(lambda key: jax.random.normal(key, (self.latent_dim,)))(keys)
        return self.generator.apply({"params": params}, z, label)

    def score(self, params: Params, label: Int[Array, "B"]) -> Score:
        """Return D as a plain function of images.

        Args:
          params: parameters of the critic.
          label: class of each image.
        """
        return lambda image: self.critic.apply({"params": params}, image, label)

    def critic_loss(
        self, critic: Params, generator: Params, batch: Batch, rows: Int[Array, "B"], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return (2) of (a part of) a minibatch, and metrics.

        Args:
          critic: parameters of the critic.
          generator: parameters of the generator.
          batch: real images and their labels.
          rows: row of each image in the whole minibatch, which its random numbers depend on.
          key: PRNG key of the whole minibatch.
        """
        latent, mixture = jax.random.split(key)
        x, fake = batch.image, self.images(generator, _fold_rows(latent, rows), batch.label)
        u = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1)))(_fold_rows(mixture, rows))
        score = self.score(critic, batch.label)
        wasserstein = jnp.mean(score(x) - score(fake))
        penalty = jnp.mean(gradient_penalty(score, u * x + (1.0 - u) * fake))
        loss = self.gp_weight * penalty - wasserstein
        return loss, {"critic_loss": loss, "penalty": penalty, "wasserstein": wasserstein}

    def generator_loss(
        self, generator: Params, critic: Params, batch: Batch, rows: Int[Array, "B"], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return (3) with the classes of a minibatch, and metrics.

        Args:
          generator: parameters of the generator.
          critic: parameters of the critic.
          batch: minibatch whose labels are taken.
          rows: row of each image in the whole minibatch, which its random numbers depend on.
          key: PRNG key of the whole minibatch.
        """
        fake = self.images(generator, _fold_rows(key, rows), batch.label)
        loss = -jnp.mean(self.score(critic, batch.label)(fake))
        return loss, {"generator_loss": loss}

    def train_step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        """Return the state after `n_critic` updates of the critic and one of the generator, and metrics.

        The metrics of the critic are means over its updates. Minibatch i takes the rows i, i + n_critic, ... of the
        batch, so that every device keeps its own rows.

        Args:
          state: state before the update.
          batch: `n_critic` minibatches of real images.
          key: PRNG key of this batch.
        """
        generator, opt_state = state.params["generator"], state.opt_state
        parts = jax.tree.map(self._cut, batch)

        def update_critic(carry: tuple, part: tuple) -> tuple[tuple, Metrics]:
            (critic, moments), (minibatch, turn) = carry, part
            metrics, grads = states.accumulated_gradients(
                lambda critic, *args: self.critic_loss(critic, generator, *args),
                critic,
                minibatch,
                jax.random.fold_in(key, turn),
                self.accumulate,
            )
            updates, moments = self.critic_optimizer.update(grads, moments, critic)
            metrics |= {"critic_grad_norm": optax.tree.norm(grads)}
            return (optax.apply_updates(critic, updates), moments), metrics

        start = state.params["critic"], opt_state["critic"]
        (critic, moments), history = jax.lax.scan(update_critic, start, (parts, jnp.arange(self.n_critic)))
        metrics, grads = states.accumulated_gradients(
            lambda generator, *args: self.generator_loss(generator, critic, *args),
            generator,
            jax.tree.map(lambda x: x[-1], parts),
            jax.random.fold_in(key, self.n_critic),
            self.accumulate,
        )
        updates, generator_moments = self.generator_optimizer.update(grads, opt_state["generator"], generator)
        generator = optax.apply_updates(generator, updates)
        metrics |= jax.tree.map(jnp.mean, history)
        metrics |= {
            "grad_norm": optax.tree.norm(grads),
            "finite_layers": jnp.isfinite(jnp.stack([metrics["critic_grad_norm"], optax.tree.norm(grads)])),
            "learning_rate": self.learning_rate(state.step),
            "critic_learning_rate": self.critic_learning_rate(state.step * self.n_critic),
        }
        return (
            TrainState(
                state.step + 1,
                {"generator": generator, "critic": critic},
                states.ema_update(state.ema_params, generator, self.ema_decay, state.step),
                {"generator": generator_moments, "critic": moments},
            ),
            metrics,
        )

    def _cut(self, x: Array) -> Array:
        """Cut [n_critic B, ...] into [n_critic, B, ...]."""
        return jnp.moveaxis(x.reshape(x.shape[0] // self.n_critic, self.n_critic, *x.shape[1:]), 1, 0)

    def eval_step(
        self, state: TrainState, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]
    ) -> Metrics:
        """Return sums over a held-out batch, beside images from latent vectors that depend on the rows only.

        The critic judges the generator that it was trained against; the averaged one's images are described.

        Args:
          state: state whose networks are judged.
          batch: B held-out images with their labels.
          mask: 1 for rows that count, 0 for rows that only fill the batch up.
          rows: index of each image in the held-out set.
        """
        keys, x = _fold_rows(jax.random.key(0), rows), batch.image
        score = self.score(state.params["critic"], batch.label)
        fake = self.images(state.params["generator"], keys, batch.label)
        averaged = self.images(state.ema_params, keys, batch.label)
        of_real, of_generated = descriptors(x), descriptors(averaged)
        values = {
            "heldout_wasserstein": score(x) - score(fake),
            "apart": _distance(x, fake),
            "real_diversity": _distance(x, jnp.roll(x, 1, axis=0)),
            "diversity": _distance(averaged, jnp.roll(averaged, 1, axis=0)),
            "real": of_real,
            "real_square": jnp.square(of_real),
            "generated": of_generated,
            "generated_square": jnp.square(of_generated),
            "count": jnp.ones_like(mask),
        }
        return {name: jnp.tensordot(mask, value, 1) for name, value in values.items()}

    def heldout(self, means: dict[str, np.ndarray]) -> dict[str, float]:
        """Return what is logged, from the means of what `eval_step` sums.

        Args:
          means: means over the held-out images.

        Returns:
          `heldout_loss`, the distance of `descriptors`, by which checkpoints are ranked, since the critic's loss
          is no quality; `heldout_wasserstein`, (1) on held-out images; `apart`, the mean Euclidean distance
          between a real and a generated image; `diversity`, that between two generated ones as a share of
          that between two real ones, of the same latent vectors at every call.
        """
        real = float(means["real_diversity"])
        return {
            "heldout_loss": distance(
                (means["generated"], means["generated_square"]), (means["real"], means["real_square"])
            ),
            "heldout_wasserstein": float(means["heldout_wasserstein"]),
            "apart": float(means["apart"]),
            "diversity": float(means["diversity"]) / real if real else 1.0,
        }

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]:
        """Return warnings about values of `heldout`: lost diversity, a critic that left its bounds.

        No critic of slope 1 puts sets farther apart than their images are; (4) is allowed for.

        Args:
          step: number of updates done.
          heldout: values that `heldout` returned.
        """
        gap, apart, found = heldout["heldout_wasserstein"], heldout["apart"], []
        if step >= self.settling and heldout["diversity"] < COLLAPSED:
            found.append(
                f"generated images differ among themselves by {heldout['diversity']:.0%} of what real ones do: "
                "mode collapse; raise wgan.n_critic or lower train.learning_rate"
            )
        if abs(gap) > apart * (1.0 + apart / (2.0 * max(self.gp_weight, EPS))):
            found.append(
                f"the critic's gap on held-out images is {gap:.3g} where {apart:.3g} is their distance: it "
                "diverges; lower wgan.critic_learning_rate or raise wgan.gp_weight"
            )
        if gap < -0.1 * apart:
            found.append(
                f"the critic ranks generated images above held-out ones (gap {gap:.3g}): it has memorised the "
                "training images; use more of them, or a smaller wgan.width"
            )
        return found

    def generate(self, params: Params, keys: Key[Array, "B"], cond: Condition) -> Float[Array, "B H W C"]:
        """Return images in [-1, 1]; image i is a function of `keys[i]` and its class.

        Args:
          params: parameters of the generator, usually the averaged ones.
          keys: PRNG key of each image.
          cond: label of each image.
        """
        return self.images(params, keys, cond.label)

    def summary(self) -> list[Row]:
        """Return what the networks cost, part by part."""
        return summary(self.generator, self.critic, self.latent_dim)


def _fold_rows(key: Key[Array, ""], rows: Int[Array, "B"]) -> Key[Array, "B"]:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def _distance(a: Array, b: Array) -> Any:
    """Return Euclidean distances of images, float32 [B]."""
    return jnp.sqrt(jnp.sum(jnp.square(a - b), axis=(1, 2, 3)))
