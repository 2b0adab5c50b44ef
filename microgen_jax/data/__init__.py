"""From images on disk, or drawn on demand, to batches: sources, splits, augmentation, the pipeline."""

from microgen_jax.data.dataset import Dataset, open_dataset
from microgen_jax.data.pipeline import Preparation, batches, evaluation_batches, names

__all__ = [
    "Dataset",
    "Preparation",
    "batches",
    "evaluation_batches",
    "names",
    "open_dataset",
]
