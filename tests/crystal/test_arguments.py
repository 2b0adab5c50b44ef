"""Arrays of another shape, type or range are refused under the argument's own name."""

import jaxtyping
import numpy as np
import pytest

from microgen_jax.crystal import ipf, orientations, segmentation, symmetry
from microgen_jax.errors import UserError

Q = np.tile([1.0, 0.0, 0.0, 0.0], (3, 4, 1))
V = np.tile([0.0, 0.0, 1.0], (3, 4, 1))
IMAGE = np.full((3, 4, 3), 255, np.uint8)
HOLE = Q.copy()
HOLE[1, 2] = np.nan
CASES = {
    "colours from 0 to 1": (segmentation.grains_from_colour, (IMAGE / 255.0,), "image"),
    "a single channel left out": (segmentation.grains_from_colour, (IMAGE[..., 0],), "image"),
    "a list": (segmentation.grains_from_colour, (IMAGE.tolist(),), "image"),
    "16 bits": (segmentation.flat_share, (IMAGE.astype(np.uint16),), "image"),
    "a tolerance of 256": (segmentation.flat_share, (IMAGE, 256), "tolerance"),
    "a tolerance of -1": (segmentation.grains_from_colour, (IMAGE, -1), "tolerance"),
    "a volume": (segmentation.grains_from_orientations, (Q[None], "m-3m"), "orientations"),
    "Euler angles for quaternions": (segmentation.grains_from_orientations, (V, "m-3m"), "orientations"),
    "a hole": (segmentation.grains_from_orientations, (HOLE, "m-3m"), "orientations"),
    "phases of another shape": (
        segmentation.grains_from_orientations,
        (Q, "m-3m", np.zeros((4, 3), int)),
        "phase",
    ),
    "an unknown group": (segmentation.grains_from_orientations, (Q, "m9m"), "laue_group"),
    "radians for degrees": (segmentation.grains_from_orientations, (Q, "m-3m", None, 181.0), "tolerance"),
    "quaternions of length 2": (ipf.ipf_colour, (2 * Q, "Z", "m-3m"), "orientations"),
    "whole numbers": (ipf.ipf_colour, (Q.astype(int), "Z", "m-3m"), "orientations"),
    "directions of length 2": (ipf.direction_colour, (2 * V, "m-3m"), "directions"),
    "float colours": (ipf.colour_direction, (IMAGE / 255.0, "m-3m"), "colours"),
    "colours with alpha": (ipf.colour_direction, (IMAGE[..., [0, 1, 2, 0]], "m-3m"), "colours"),
    "a float map": (ipf.off_key_share, (IMAGE / 255.0,), "image"),
    "quaternions to fold": (ipf.fold, (Q, "m-3m"), "directions"),
    "two shapes": (orientations.multiply, (Q, V), "b"),
    "a scalar": (orientations.conjugate, (np.float64(1),), "quaternions"),
    "swapped arguments": (orientations.rotate, (V, Q), "quaternions"),
    "a zero quaternion": (orientations.normalise, (0 * Q,), "quaternions"),
    "a zero axis": (orientations.from_axis_angle, (0 * V, 1.0), "axis"),
    "degrees for radians": (orientations.from_euler, (np.array([270.0, 45.0, 10.0]),), "euler"),
    "NaN angles": (orientations.from_euler, (np.full(3, np.nan),), "euler"),
    "long quaternions to angles": (orientations.to_euler, (3 * Q,), "quaternions"),
    "long quaternions to matrices": (orientations.to_matrix, (3 * Q,), "quaternions"),
    "a mirror": (orientations.from_matrix, (-np.eye(3),), "matrices"),
    "a shear": (orientations.from_matrix, (np.eye(3) + np.eye(3, k=1),), "matrices"),
    "a misorientation of a hole": (symmetry.misorientation_angle, (Q, HOLE, "m-3m"), "b"),
    "a long quaternion to reduce": (symmetry.reduce, (2 * Q, "m-3m"), "quaternions"),
}


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Tests check annotations at every call, which would come first; a notebook has no such checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("name", CASES)
def test_wrong_arrays_are_refused_under_the_arguments_name(name):
    function, arguments, where = CASES[name]
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert error.value.where == where


def test_holes_of_an_unnamed_phase_are_no_fault():
    phase = np.where(np.isnan(HOLE[..., 0]), -1, 0)
    assert (segmentation.grains_from_orientations(HOLE, "m-3m", phase) == phase).all()
