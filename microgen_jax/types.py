"""What flows between the packages: records, batches, conditions; and what a source, a denoiser and a method are."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

Params = Any  # a tree of arrays
Metrics = dict[str, Array]


class Record(NamedTuple):
    """One image as its file has it.

    Attributes:
      image: uint8, uint16 or float32 [H, W, C]; of images integers span their type and floats lie in [0, 1]; windows of
        orientation maps are float32 quaternions, phases and grains (`data.representations.orientations`).
      label: index into the sorted class names.
      condition: float32 [K], in the units of the file names, lists or metadata; NaN where it is not known.
      group: what a split must keep on one side (specimen, series, scan, file).
    """

    image: np.ndarray
    label: int
    condition: np.ndarray
    group: str


class Batch(NamedTuple):
    """Input of a training step.

    Attributes:
      image: float32 [B, H, W, C] in [-1, 1].
      label: int32 [B].
      condition: float32 [B, K], standardised; NaN where it is not known.
      given: float32 [B, H, W, G], channels that a later stage is given; None where there is one stage.
    """

    image: Any
    label: Any
    condition: Any
    given: Any = None


class Condition(NamedTuple):
    """Label and conditions of the images that a denoiser makes.

    Attributes:
      label: int32 [B]; the number of classes itself stands for "no class".
      value: float32 [B, K], standardised; NaN stands for "not given".
    """

    label: Any
    value: Any


@runtime_checkable
class Source(Protocol):
    """Random access to records; holds an index and no images."""

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def __getitem__(self, index: int) -> Record:
        """Read one record."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """A network as a plain function; whether it gives eps, x0 or v is the caller's to know."""

    def __call__(
        self, xt: Float[Array, "B H W C"], t: Num[Array, "B"], cond: Condition
    ) -> Float[Array, "B H W C"]:
        """Return the network's output for noisy images at the times t."""
        ...


@runtime_checkable
class Method(Protocol):
    """Something that can be trained: pure functions of arrays, jitted by the training loop.

    `state` is a `training.state.TrainState`, whose `ema_params` are all that sampling needs (`sampling.batching`: what
    lies between two stages is decoded there). `eval_step` gives sums over held-out images and their `count`; `heldout`
    makes of their means the numbers to be logged, `heldout_loss` among them, by which checkpoints are ranked (less is
    better); and `warnings` says what a person should know of these.

    Attributes:
      minibatches: number of minibatches of `train.batch_size` images in one `train_step`.
      curves: names of metrics, one group a panel of `curves.png`.
    """

    @property
    def minibatches(self) -> int:
        """Number of minibatches in one update."""
        ...

    @property
    def curves(self) -> tuple[tuple[str, ...], ...]:
        """Metrics of each panel of `curves.png`."""
        ...

    def init(self, key: jax.Array) -> Any:
        """Return the state before the first update."""
        ...

    def train_step(self, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        """Return the state after one update, and its metrics."""
        ...

    def eval_step(self, state: Any, batch: Batch, mask: Float[Array, "B"], rows: Int[Array, "B"]) -> Metrics:
        """Return sums over a hold-out batch, and their `count`."""
        ...

    def heldout(self, means: dict[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics that the means of `eval_step` give."""
        ...

    def warnings(self, step: int, heldout: dict[str, float]) -> list[str]:
        """Return a sentence for everything that a person should know of the hold-out metrics."""
        ...

    def summary(self) -> list[Any]:
        """Return what each part of the networks costs."""
        ...
