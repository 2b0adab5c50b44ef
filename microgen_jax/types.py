"""What flows between the rooms: records, batches, conditions; and what a source, a denoiser and a method are."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

Params = Any  # a tree of arrays
Metrics = dict[str, Array]


class Record(NamedTuple):
    """One image as its file has it.

    Attributes:
      image: uint8, uint16 or float32 [H, W, C]; integers span their type, floats lie in [0, 1].
      label: index into the sorted class names.
      condition: float32 [K], in the units of the file names, lists or metadata; NaN where it is not known.
      group: what a split must keep on one side (specimen, series, scan, file).
    """

    image: np.ndarray
    label: int
    condition: np.ndarray
    group: str


class Batch(NamedTuple):
    """What a training step eats.

    Attributes:
      image: float32 [B, H, W, C] in [-1, 1].
      label: int32 [B].
      condition: float32 [B, K], standardised; NaN where it is not known.
    """

    image: Any
    label: Any
    condition: Any


class Condition(NamedTuple):
    """What a denoiser is told about the images it is to make.

    Attributes:
      label: int32 [B]; the number of classes itself stands for "no class".
      value: float32 [B, K], standardised; NaN stands for "not given".
    """

    label: Any
    value: Any


@runtime_checkable
class Source(Protocol):
    """Random access to records; holds an index and no images."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@runtime_checkable
class Denoiser(Protocol):
    """A network as a plain function; whether it gives eps, x0 or v is the caller's to know."""

    def __call__(
        self, xt: Float[Array, "B H W C"], t: Num[Array, "B"], cond: Condition
    ) -> Float[Array, "B H W C"]: ...


@runtime_checkable
class Method(Protocol):
    """Something that can be trained: pure functions of arrays, jitted by the training room.

    `state` is a `training.state.TrainState`, whose `ema_params` are all that `generate` needs; `keys` are typed PRNG
    keys, one an image. `eval_step` gives sums over held-out images and their `count`; `heldout` makes of their
    means the numbers to be logged, `heldout_loss` among them, by which checkpoints are ranked (less is better); and
    `warnings` says what a person should know of these.

    Attributes:
      minibatches: how many minibatches of `train.batch_size` images one `train_step` eats.
      curves: names of metrics, one group a panel of `curves.png`.
    """

    @property
    def minibatches(self) -> int: ...

    @property
    def curves(self) -> tuple[tuple[str, ...], ...]: ...

    def init(self, key: jax.Array) -> Any: ...

    def train_step(self, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]: ...

    def eval_step(
        self, state: Any, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]
    ) -> Metrics: ...

    def heldout(self, means: dict[str, np.ndarray]) -> dict[str, float]: ...

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]: ...

    def generate(self, params: Params, keys: jax.Array, cond: Condition) -> Float[Array, "B H W C"]: ...

    def summary(self) -> list[Any]: ...
