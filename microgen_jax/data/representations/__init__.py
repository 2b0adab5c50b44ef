"""What the channels of a network mean: from a map or image to channels, and back."""

from microgen_jax.data.representations.images import Images
from microgen_jax.data.representations.orientations import Orientations, OrientationStack, PhaseName

__all__ = ["Images", "OrientationStack", "Orientations", "PhaseName", "Representation"]

Representation = Images | Orientations
