"""From images on disk, or built-in polycrystals, to batches: sources, splits, augmentation, the pipeline.

`open_dataset` turns the `data` part of a configuration into a `Dataset` of lazy sources; `batches` and
`evaluation_batches` read them on threads and end in a `ReadTimeout` where a disk hangs.
"""

from microgen_jax.data.dataset import Dataset, open_dataset
from microgen_jax.data.pipeline import Preparation, batches, evaluation_batches, names, shown_windows
from microgen_jax.data.read_timeout import ReadTimeout

__all__ = [
    "Dataset",
    "Preparation",
    "ReadTimeout",
    "batches",
    "evaluation_batches",
    "names",
    "open_dataset",
    "shown_windows",
]
