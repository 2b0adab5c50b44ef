"""Flips and quarter turns that keep an image true.

An image shows a sample in the axes x (to the right), y (down) and the normal z. An element P of the dihedral
group D4 is a motion of the sample: a turn about z, or, for a flip, half a turn about the axis that the
flip leaves alone, which also takes z to -z. The moved image has the colours of the direction P d where
the key shows d; Laue groups hold the inversion, so

    the colours stay true             <=>  P d = ±d                                                   (1)
    P is a symmetry of the process    <=>  the deformation looks the same after P                     (2)

and a class may be augmented by the elements for which both hold. Where an image holds orientations g
(sample -> crystal) in place of colours, these move with the sample, and only (2) is needed:

    g becomes g P^-1                                                                                 (3)

x, y and z are those of the image. A vendor's axes may be others (y up, or TSL's exchanged x and y): d of (1) is taken
over into the image's first. (3) is off by half a turn about z there, which shows in no section: the trace of a plane
and a crystal axis along x or y stay what they are.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Shaped

from microgen_jax.crystal.orientations import conjugate, from_matrix, multiply
from microgen_jax.data.sources.table_names import normal
from microgen_jax.errors import UserError, require_known

Frame = Sequence[Sequence[int]]  # rows of a matrix

# How the sample's x and y move; the image moves with them.
DIHEDRAL: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "identity": ((1, 0), (0, 1)),
    "turn_90": ((0, 1), (-1, 0)),
    "turn_180": ((-1, 0), (0, -1)),
    "turn_270": ((0, -1), (1, 0)),
    "flip_x": ((-1, 0), (0, 1)),
    "flip_y": ((1, 0), (0, -1)),
    "transpose": ((0, 1), (1, 0)),
    "antitranspose": ((0, -1), (-1, 0)),
}

# The elements that each process symmetry allows: tension along an image axis is orthotropic,
# simple shear in the plane is monoclinic.
PROCESS: dict[str, tuple[str, ...]] = {
    "all": tuple(DIHEDRAL),
    "orthotropic": ("identity", "turn_180", "flip_x", "flip_y"),
    "monoclinic": ("identity", "turn_180"),
    "none": ("identity",),
}

IMAGE_AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
DIRECTIONS = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}


def swaps_axes(element: str) -> bool:
    """Return whether the element turns x into ±y, so that height becomes width."""
    return DIHEDRAL[element][0][0] == 0


def apply(
    image: Shaped[np.ndarray, "H W C"], element: str, *, ipf_xyz: bool = False, orientations: bool = False
) -> Shaped[np.ndarray, "h w C"]:
    """Move an image by an element of D4.

    Args:
      image: the image.
      element: name of the element, of `DIHEDRAL`.
      ipf_xyz: whether the channels are IPF-X, IPF-Y and IPF-Z colours, three each: X and Y change places where
        the axes do.
      orientations: whether the first four channels are unit quaternions.

    Returns:
      A view where no channels change; (h, w) is (W, H) where the element swaps the axes.
    """
    (a, b), (c, d) = DIHEDRAL[element]
    if orientations and element != "identity":
        image = _turned(image, element)
    if swaps_axes(element):
        image = image.transpose(1, 0, 2)[:: 1 if c == 1 else -1, :: 1 if b == 1 else -1]
        return image[..., [3, 4, 5, 0, 1, 2, 6, 7, 8]] if ipf_xyz else image
    return image[:: 1 if d == 1 else -1, :: 1 if a == 1 else -1]


def _turned(image: Float32[np.ndarray, "H W C"], element: str) -> Float32[np.ndarray, "H W C"]:
    """Apply equation (3)."""
    out = image.copy()
    out[..., :4] = multiply(image[..., :4].astype(np.float64), conjugate(_motion(element)))
    return out


@cache
def _motion(element: str) -> Float[np.ndarray, "4"]:
    """Return the quaternion of P."""
    matrix = np.eye(3)
    matrix[:2, :2] = DIHEDRAL[element]
    matrix[2, 2] = round(np.linalg.det(matrix[:2, :2]))
    return from_matrix(matrix)


def keeps_colours(element: str, direction: Sequence[float] | Float[np.ndarray, "3"]) -> bool:
    """Return whether equation (1) holds for the sample direction that an IPF key shows."""
    in_plane = np.array(DIHEDRAL[element])
    moved = np.array([*(in_plane @ direction[:2]), round(np.linalg.det(in_plane)) * direction[2]])
    return bool(np.allclose(moved, direction) or np.allclose(moved, -np.asarray(direction)))


def allowed(ipf_direction: str, symmetry: str, frames: Sequence[Frame] = (IMAGE_AXES,)) -> tuple[str, ...]:
    """Return the elements for which equations (1) and (2) hold.

    Args:
      ipf_direction: X | Y | Z, three numbers as in '1,0,1', 'XYZ' for a stack of all three (whose X and
        Y channels are swapped where need be), or '' where the images are no IPF maps.
      symmetry: symmetry of the process: all | orthotropic | monoclinic | none.
      frames: matrices that turn the direction into the images' axes, one for each kind of scan among them.

    Raises:
      UserError: an unknown direction or symmetry.
    """
    require_known("symmetry", symmetry, PROCESS)
    elements = PROCESS[symmetry]
    if ipf_direction in ("", "XYZ"):
        return elements
    directions = [np.array(frame) @ parse_direction(ipf_direction) for frame in frames]
    return tuple(e for e in elements if all(keeps_colours(e, direction) for direction in directions))


def parse_direction(text: str) -> tuple[float, float, float]:
    """Return the direction that a text names: X, Y, Z or three numbers between commas.

    Raises:
      UserError: another text, or the length 0.
    """
    if text.upper() in DIRECTIONS:
        return DIRECTIONS[text.upper()]
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        x = y = z = 0.0
    if not 0 < x * x + y * y + z * z < np.inf:
        raise UserError(
            "ipf_direction", f"{text!r} is no direction", "choose X, Y, Z, XYZ, three numbers ('1,0,1') or ''"
        )
    return x, y, z


def allowed_by_class(
    classes: Sequence[str], ipf_direction: str, symmetry: str, frames: Sequence[Frame] = (IMAGE_AXES,)
) -> tuple[tuple[str, ...], ...]:
    """Return the allowed elements of each class.

    Args:
      classes: names of the classes.
      ipf_direction: direction of the colours, as for `allowed`.
      symmetry: symmetry of the process: one for all classes, or 'Shear=monoclinic,Tension=orthotropic'. A part
        without '=' holds for the classes that are not named; without such a part these are left as they are ('none').
        Names with a comma stand in double quotes, as in '"900 C, 10 %"=none'.
      frames: matrices that turn the direction into the images' axes, as for `allowed`.

    Raises:
      UserError: an unknown direction, symmetry or class.
    """
    named, rest = {}, "none"
    parts = re.findall(r'(?:"[^"]*"|[^,"])+', normal(symmetry))
    for part in (part.strip() for part in parts if part.strip()):
        name, separator, value = (text.strip().strip('"') for text in part.rpartition("="))
        require_known("symmetry", value, PROCESS)
        if not separator:
            rest = value
        else:
            require_known("symmetry", name, classes)
            named[name] = value
    return tuple(allowed(ipf_direction, named.get(name, rest), frames) for name in classes)
