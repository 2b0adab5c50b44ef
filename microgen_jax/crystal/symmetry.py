"""The eleven Laue groups: their proper rotations, their names in EBSD files, and misorientation angles.

A Laue group is its proper rotations times the inversion. Its rotations are generated here from two axes
at most, closed under multiplication; the axes are those of `orientations` (z along c, x along a), with
the twofold axis of 2/m along z.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.arguments import require_unit
from microgen_jax.crystal.orientations import conjugate, from_axis_angle, multiply, normalise
from microgen_jax.errors import UserError, did_you_mean

DEFAULT_LAUE_GROUP = "m-3m"  # of IPF colours for which nothing else is known
LAUE_GROUPS = ("-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m")

_GENERATORS = {  # (axis, order of the turn)
    "-1": (),
    "2/m": (((0, 0, 1), 2),),
    "mmm": (((0, 0, 1), 2), ((1, 0, 0), 2)),
    "4/m": (((0, 0, 1), 4),),
    "4/mmm": (((0, 0, 1), 4), ((1, 0, 0), 2)),
    "-3": (((0, 0, 1), 3),),
    "-3m": (((0, 0, 1), 3), ((1, 0, 0), 2)),
    "6/m": (((0, 0, 1), 6),),
    "6/mmm": (((0, 0, 1), 6), ((1, 0, 0), 2)),
    "m-3": (((0, 0, 1), 2), ((1, 1, 1), 3)),
    "m-3m": (((0, 0, 1), 4), ((1, 1, 1), 3)),
}

_POINT_GROUPS = {
    "-1": ("1", "-1"),
    "2/m": ("2", "m", "2/m", "121", "1m1", "12/m1", "112", "11m", "112/m"),
    "mmm": ("222", "mm2", "2mm", "m2m", "mmm"),
    "4/m": ("4", "-4", "4/m"),
    "4/mmm": ("422", "4mm", "-42m", "-4m2", "4/mmm"),
    "-3": ("3", "-3"),
    "-3m": ("32", "321", "312", "3m", "3m1", "31m", "-3m", "-3m1", "-31m"),
    "6/m": ("6", "-6", "6/m"),
    "6/mmm": ("622", "6mm", "-6m2", "-62m", "6/mmm"),
    "m-3": ("23", "m3", "m-3"),
    "m-3m": ("432", "-43m", "m3m", "m-3m"),
}
# Trigonal groups whose twofold axes lie along a* (Hahn 2005, International Tables A, 2.2.4: the third place of
# -31m), not along a as those of `rotations`.
_TWOFOLD_ALONG_A_STAR = (("312", "31m", "-31m"), (149, 151, 153, 157, 159, 162, 163))
_LAUE_OF_POINT_GROUP = {alias: group for group, aliases in _POINT_GROUPS.items() for alias in aliases}

# "Symmetry" of TSL's .ang and H5 headers: the rotation group, shortened (62 for 622); 2, 20 and 21 are
# monoclinic with the twofold axis along c, b and a, here always along z.
_LAUE_OF_TSL = {
    "1": "-1",
    "2": "2/m",
    "20": "2/m",
    "21": "2/m",
    "22": "mmm",
    "222": "mmm",
    "4": "4/m",
    "42": "4/mmm",
    "422": "4/mmm",
    "3": "-3",
    "32": "-3m",
    "6": "6/m",
    "62": "6/mmm",
    "622": "6/mmm",
    "23": "m-3",
    "43": "m-3m",
    "432": "m-3m",
}


def laue_group(name: str) -> str:
    """Return the Laue group of a Laue or point group's name.

    Args:
      name: name such as 'm-3m', 'm3m', '432', '6/mmm' or '-43m'.

    Raises:
      UserError: no such group.
    """
    compact = name.strip().replace(" ", "")
    if compact not in _LAUE_OF_POINT_GROUP:
        raise UserError(
            "laue_group",
            f"unknown Laue group {name!r}",
            f"{did_you_mean(compact, _LAUE_OF_POINT_GROUP)}known: {', '.join(LAUE_GROUPS)}",
        )
    return _LAUE_OF_POINT_GROUP[compact]


def laue_group_of_tsl(symmetry: str | int) -> str:
    """Return the Laue group of `Symmetry` in TSL's .ang and H5 headers (43 -> 'm-3m', 62 -> '6/mmm').

    Args:
      symmetry: the number as the header has it, or the name that other programs write in its place ('m-3m').

    Raises:
      UserError: no such number or name.
    """
    text = str(symmetry).strip()
    known = _LAUE_OF_POINT_GROUP | _LAUE_OF_TSL
    if text.replace(" ", "") not in known:
        fix = f"known: {', '.join(_LAUE_OF_TSL)}, or a point group's name"
        raise UserError("symmetry", f"unknown TSL symmetry {text!r}", fix)
    return known[text.replace(" ", "")]


def laue_group_of_channel(number: int) -> str:
    """Return the Laue group of the number 1..11 in HKL's .ctf and .cpr files (11 -> 'm-3m', 9 -> '6/mmm').

    Args:
      number: number of the Laue group.

    Raises:
      UserError: no such number.
    """
    if not 1 <= int(number) <= 11:
        raise UserError(
            "number", f"unknown Laue group number {number}", ".ctf and .cpr files use 1 (-1) to 11 (m-3m)"
        )
    return LAUE_GROUPS[int(number) - 1]


def laue_group_of_space_group(number: int) -> str:
    """Return the Laue group of an international space-group number 1..230 (225 -> 'm-3m').

    Args:
      number: number of the space group.

    Raises:
      UserError: no such number.
    """
    last = (2, 15, 74, 88, 142, 148, 167, 176, 194, 206, 230)
    if not 1 <= int(number) <= 230:
        raise UserError("number", f"unknown space group {number}", "numbers run from 1 to 230")
    return LAUE_GROUPS[int(np.searchsorted(last, int(number)))]


def twofold_axis(point_group: str = "", space_group: int = 0) -> str:
    """Return 'a*' of trigonal groups in the setting -31m, whose twofold axes lie there; '' of all others.

    Args:
      point_group: a point or Laue group's name, or ''.
      space_group: number 1 to 230 of the space group, or 0.
    """
    names, numbers = _TWOFOLD_ALONG_A_STAR
    return "a*" if point_group.strip().replace(" ", "") in names or space_group in numbers else ""


@cache
def rotations(group: str) -> Float[np.ndarray, "n 4"]:
    """Return the proper rotations of a Laue group: unit quaternions [n, 4], the identity first, read-only.

    Args:
      group: any name that `laue_group` knows.

    Raises:
      UserError: no such group.
    """
    found = np.array([[1.0, 0.0, 0.0, 0.0]])
    generators = [
        from_axis_angle(np.array(a, float), 2 * np.pi / n) for a, n in _GENERATORS[laue_group(group)]
    ]
    size = 0
    while size < len(found):
        size = len(found)
        for generator in generators:
            found = _distinct(np.concatenate([found, multiply(generator, found)]))
    found.flags.writeable = False
    return found


def _distinct(quaternions: np.ndarray) -> np.ndarray:
    same = np.abs(quaternions @ quaternions.T) > 1 - 1e-9
    first = np.argmax(same, axis=1) == np.arange(len(quaternions))
    return normalise(quaternions[first])


def misorientation_angle(
    a: Float[np.ndarray, "*#n 4"], b: Float[np.ndarray, "*#n 4"], group: str
) -> Float[np.ndarray, "*n"]:
    """Return the misorientation angle in radians [...]: the least over all symmetrical equivalents.

    The equivalents of b a* are S b a* T; an angle is not changed by conjugation, so that TS alone matters and
    the least angle is that of the largest |w| among S b a*. Equal orientations give 0 to about 3e-8.

    Args:
      a: orientations of one phase, unit quaternions [..., 4].
      b: orientations of the same phase [..., 4]; the leading axes broadcast.
      group: any name that `laue_group` knows.

    Raises:
      UserError: another shape or type, quaternions of another length, or an unknown group.
    """
    require_unit("a", a, 4)
    require_unit("b", b, 4)
    w = np.abs(multiply(b, conjugate(a)) @ conjugate(rotations(group)).T).max(axis=-1)
    return np.asarray(2 * np.arccos(np.minimum(w, 1.0)))


def reduce(quaternions: Float[np.ndarray, "*n 4"], group: str) -> Float[np.ndarray, "*n 4"]:
    """Return the equivalent S g of each orientation with the least angle of rotation, w >= 0 [..., 4].

    Args:
      quaternions: orientations, unit quaternions [..., 4].
      group: any name that `laue_group` knows.

    Raises:
      UserError: another shape or type, quaternions of another length, or an unknown group.
    """
    require_unit("quaternions", quaternions, 4)
    symmetries = rotations(group)
    best = np.argmax(np.abs(quaternions @ conjugate(symmetries).T), axis=-1)
    return normalise(multiply(symmetries[best], quaternions))
