"""One scan that runs every sampler, whole or in pieces.

  xT ~ N(0, I);  for k = 0..n-1:  x, x0 = step(predict, x, the two x0 before, scalars[k], noise[k + 1])

The noise of image i at step k is a function of its own key and of k alone, so an image is the same
whichever batch it is sampled in, as long as the batches have one shape.

Images may start from given ones at the first level's time t (SDEdit: Meng et al. 2022, eq. 1 and section 3), and
known pixels, with their mask m, are replaced by noisy versions of their values y at every level s (Song et al. 2021b,
appendix I.2; Lugmayr et al. 2022, eq. 8, which prints the noise of the level t that a step starts from in the place of
that of s):

  (1) xt = alpha x0 + sigma z
  (2) xs = m (alpha_s y + sigma_s z) + (1 - m) xs

z of (2) is new at every level of a stochastic sampler. A deterministic one keeps the z that its images start from: a
pixel whose x0 is known follows alpha_s y + sigma_s z with one z along its whole way. At the clean end (2) gives y
itself. Replacement samples the conditional distribution exactly where pixels are independent. Where they are not, it is
an approximation that uses less of their correlation than there is (Trippe et al. 2023).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from microgen_jax.diffusion.samplers.base import Images, Predict, PreviousX0, Sampler, StepScalars
from microgen_jax.diffusion.spacing import NoiseLevels
from microgen_jax.errors import UserError


class Known(NamedTuple):
    """Known pixels.

    Attributes:
      value: float32 [B, H, W, C], clean images; anything where the mask is False.
      mask: bool [B, H, W, 1], True where the value is known.
    """

    value: Any
    mask: Any


class Chain(NamedTuple):
    """A sampler and all that it needs for one batch of images.

    Attributes:
      sampler: the sampler.
      predict: the network's prediction, thresholded.
      levels: noise levels; the last one need not be clean.
      noise: noise of number k, [B, H, W, C]: 0 is what the images start from, k + 1 belongs to step k.
      start: x0 that the images start from, or None: pure noise.
      known: known pixels, or None.
    """

    sampler: Sampler
    predict: Predict
    levels: NoiseLevels
    noise: Callable[[Array], Array]
    start: Any = None
    known: Known | None = None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.levels.t.size - 1


class SampleState(NamedTuple):
    """Where a chain is between two pieces.

    Attributes:
      k: int32, number of steps taken.
      x: float32 [B, H, W, C], the images at level k; after the last step the result.
      x0: float32 [B, H, W, C], the clean images predicted in the last step.
      previous_x0: float32 [B, H, W, C], those predicted in the step before it.
    """

    k: Any
    x: Any
    x0: Any
    previous_x0: Any


def start_state(chain: Chain) -> SampleState:
    """Return the state before the first step."""
    x = chain.noise(jnp.int32(0))
    alpha, sigma = (jnp.asarray(table[0], x.dtype) for table in chain.levels[1:])
    if chain.start is not None:
        x = alpha * chain.start + sigma * x  # (1)
    x = _with_known(chain, x, jnp.int32(0), alpha, sigma)
    return SampleState(jnp.int32(0), x, jnp.zeros_like(x), jnp.zeros_like(x))


def run_piece(chain: Chain, state: SampleState, until: Array) -> SampleState:
    """Return the state after step `until`.

    One compiled program serves pieces of every length, so the bits do not depend on how a chain is cut.

    Args:
      chain: the chain that the state belongs to.
      state: state of the chain.
      until: int32, number of steps to have taken, `chain.steps` at most.
    """
    scalars = _on_device(chain.sampler.prepare(chain.levels), state.x.dtype)

    def body(state: SampleState) -> SampleState:
        now = jax.tree.map(
            lambda table: jax.lax.dynamic_index_in_dim(table, state.k, keepdims=False), scalars
        )
        x, x0 = _step(chain, state.x, (state.x0, state.previous_x0), now, state.k)
        return SampleState(state.k + 1, x, x0, state.x0)

    return jax.lax.while_loop(lambda state: state.k < until, body, state)


def run_scan(
    chain: Chain, trajectory: int | tuple[int, ...] = 0
) -> tuple[Float[Array, "B H W C"], Float[Array, "K B H W C"]]:
    """Run a chain from its start to its end.

    Args:
      chain: the chain.
      trajectory: frames to keep, see `kept_levels`.

    Returns:
      The images at the last level, and the frames.

    Raises:
      UserError: a trajectory out of range.
    """
    first = start_state(chain)
    kept, of_frame = np.unique(kept_levels(chain.levels, trajectory), return_inverse=True)
    slots = np.full(chain.steps + 1, kept.size, np.int32)  # the last row takes what is not kept
    slots[kept] = np.arange(kept.size)
    frames = jnp.zeros((kept.size + 1, *first.x.shape), first.x.dtype).at[slots[0]].set(first.x)
    scalars = _on_device(chain.sampler.prepare(chain.levels), first.x.dtype)

    def body(carry: tuple, scanned: tuple[Array, StepScalars, Array]) -> tuple[tuple, None]:
        xt, previous_x0, frames = carry
        k, now, slot = scanned
        xs, x0 = _step(chain, xt, previous_x0, now, k)
        return (xs, (x0, previous_x0[0]), frames.at[slot].set(xs)), None

    start = (first.x, (first.x0, first.previous_x0), frames)
    numbers = jnp.asarray(np.arange(chain.steps, dtype=np.int32))
    (x, _, frames), _ = jax.lax.scan(body, start, (numbers, scalars, jnp.asarray(slots[1:])))
    return x, frames[of_frame]


def kept_levels(levels: NoiseLevels, trajectory: int | tuple[int, ...]) -> np.ndarray:
    """Return the indices of the levels that a trajectory keeps.

    Args:
      levels: noise levels that the sampler visits, the clean end the last of them.
      trajectory: how many, evenly spaced from the first level to the image; or times from the first one to 0, for
        each of which the nearest level is kept, 0 being the image.

    Raises:
      UserError: more frames than there are levels, or a time outside of the chain.
    """
    count = levels.t.size
    if isinstance(trajectory, int):
        if not 0 <= trajectory <= count:
            raise UserError(
                "trajectory", f"{trajectory} lies outside 0..{count}", f"there are {count} noise levels"
            )
        return np.round(np.linspace(count - 1, 0, trajectory)).astype(int)[::-1]
    for time in trajectory:
        if not 0 <= time <= levels.t[0]:
            raise UserError(
                "trajectory", f"time {time} lies outside 0..{levels.t[0]:g}", "0 is the finished image"
            )
    nearest = [np.abs(levels.t[::-1] - time).argmin() for time in trajectory]
    return count - 1 - np.array(nearest, int)


def _step(
    chain: Chain, xt: Images, previous_x0: PreviousX0, scalars: StepScalars, k: Array
) -> tuple[Images, Images]:
    xs, x0 = chain.sampler.step(chain.predict, xt, previous_x0, scalars, lambda: chain.noise(k + 1))
    number = k + 1 if chain.sampler.stochastic else jnp.int32(0)
    return _with_known(chain, xs, number, scalars.alpha_s, scalars.sigma_s), x0


def _with_known(chain: Chain, x: Images, number: Array, alpha: Array, sigma: Array) -> Images:
    """Replace the known pixels (2), with the noise of a number."""
    if chain.known is None:
        return x
    return jnp.where(chain.known.mask, alpha * chain.known.value + sigma * chain.noise(number), x)


def _on_device(scalars: StepScalars, dtype: jnp.dtype) -> StepScalars:
    """Return the tables in the dtype of the images; whole numbers stay int32."""
    return jax.tree.map(lambda table: jnp.asarray(table, None if table.dtype == np.int32 else dtype), scalars)
