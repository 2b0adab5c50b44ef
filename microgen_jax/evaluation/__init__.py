"""Generated images compared with real ones: statistics, features, copies, and a report.

Every distance is given with its baseline, the same distance between halves of the real images. Functions take arrays;
folders and runs are opened by `microgen_jax.sampling.evaluation_sets`.
"""

from microgen_jax.evaluation.baseline import MIN_REAL_TILES
from microgen_jax.evaluation.compare import Comparison, check, compare
from microgen_jax.evaluation.copy_search import TrainingImages
from microgen_jax.evaluation.image_kind import ImageKind, classify_images
from microgen_jax.evaluation.image_set import ImageSet, as_image_set
from microgen_jax.evaluation.quality import quality
from microgen_jax.evaluation.statistics import measure

__all__ = [
    "MIN_REAL_TILES",
    "Comparison",
    "ImageKind",
    "ImageSet",
    "TrainingImages",
    "as_image_set",
    "check",
    "classify_images",
    "compare",
    "measure",
    "quality",
]
