import numpy as np

from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.orientations import random_uniform, rotate
from microgen_jax.crystal.readers.points import OXFORD, TSL, assumed_frame

MAP = assumed_frame("map")

RIGHT_DOWN_IN = {  # the map's axes in each frame's coordinates
    MAP: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    OXFORD: ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    TSL: ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
}


def test_a_direction_of_the_map_is_the_same_crystal_direction_in_every_frame() -> None:
    g = random_uniform(np.random.default_rng(0), 5)
    for frame, axes in RIGHT_DOWN_IN.items():
        for wanted, same_axes in RIGHT_DOWN_IN.items():
            turned = in_frame(g, frame, wanted)
            for axis, same in zip(axes, same_axes):
                expected = rotate(g, np.array(axis, float))
                np.testing.assert_allclose(rotate(turned, np.array(same, float)), expected, atol=1e-12)
