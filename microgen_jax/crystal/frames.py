"""Sample frames: from the axes of one vendor's angles to another's.

With T the matrix that turns a vendor's sample coordinates into the map's (`Frame.to_image`), g_map = g T^-1, so that

  (1) g_b = g_a T_a^-1 T_b.
"""

import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.orientations import conjugate, from_matrix, multiply, normalise
from microgen_jax.crystal.readers.points import Frame


def in_frame(
    orientations: Float[np.ndarray, "*n 4"], frame: Frame, wanted: Frame
) -> Float[np.ndarray, "*n 4"]:
    """Return orientations in another sample frame (eq. 1).

    Args:
      orientations: unit quaternions, sample -> crystal [..., 4].
      frame: frame that they are in.
      wanted: frame to turn them into.
    """
    if frame.to_image == wanted.to_image:
        return orientations
    old, new = (from_matrix(np.array(which.to_image, float)) for which in (frame, wanted))
    return normalise(multiply(orientations, multiply(conjugate(old), new)))
