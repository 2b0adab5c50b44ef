"""Inverse pole figure (IPF) colours, and the way back from a colour to a crystal direction.

A sample direction d is seen in the crystal as v = g d and folded by the Laue group into one sector of the
sphere. Two formulas turn the folded v into a colour; maps of one must not be read with the other.

`tsl`: orix's `IPFColorKeyTSL`, after MTEX (Nolze and Hielscher 2016, doi:10.1107/S1600576716012942, section
2.4). With c the middle of the sector, theta the angle from c to v, phi the angle at which the great circle
from c through v leaves the sector, u its tangent at c, and w its azimuth about c, counted from the sector's
[001]:

  (1) saturation s = theta / phi, with cot phi = max over the sector's planes n of -(n . u) / (n . c)
  (2) hue h = F(w), F a table of 1000 entries: the running sum of phi, scaled so that each side of a triangle
      holds a third
  (3) colour = 1 - s (1 - pure(h)), so that the largest channel is 255 everywhere and the middle is white

`edax`: EDAX's own, as EbsdLib (`LaueOps::computeIPFColor`) has it; chi is the polar angle, eta the azimuth:

  (4) x = chi / chi_max, y = |eta - eta_min| / (eta_max - eta_min),
      r, g, b = sqrt(1 - x), sqrt(x (1 - y)), sqrt(x y)
  (5) colour = (r, g, b) / max(r, g, b), cut off (not rounded) to 8 bits

EbsdLib has the twofold axis of 2/m along y, and colours -1 by |eta|, so that eta's sign is lost: `edax` keeps
both.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from microgen_jax.crystal.arguments import require_floats, require_uint8_image, require_unit
from microgen_jax.crystal.orientations import rotate
from microgen_jax.crystal.symmetry import laue_group as laue_group_named
from microgen_jax.errors import UserError, require_known

KEYS = ("edax", "tsl")
DIRECTIONS = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
CHUNK = 1 << 15  # directions coloured at once: the work arrays stay in the cache

TURN = 2 * np.pi
TABLE = 1000  # entries of eq. 2, as in MTEX and orix

# Sectors about [001]: (period, mirrored) in degrees of azimuth. Where mirror planes bound the sector, the
# second half of the period is folded onto the first. The period starts at 0, or where _START says.
_PERIOD = {
    "4/m": (90, False),
    "4/mmm": (90, True),
    "-3": (120, False),
    "-3m": (120, True),
    "6/m": (60, False),
    "6/mmm": (60, True),
}
_START = {("tsl", "-3m"): -30, ("edax", "-3"): -120, ("edax", "-3m"): -90}

# Range of eta in degrees, eq. 4; chi_max is 90 degrees, or the angle to the edge z = x of the cubic groups.
_ETA = {
    "-1": (0, 180),
    "2/m": (0, 180),
    "mmm": (0, 90),
    "4/m": (0, 90),
    "4/mmm": (0, 45),
    "-3": (-120, 0),
    "-3m": (-90, -30),
    "6/m": (0, 60),
    "6/mmm": (0, 30),
    "m-3": (0, 90),
    "m-3m": (0, 45),
}


class Sector(NamedTuple):
    """The sector of a Laue group, as eq. 1 and 2 need it.

    Attributes:
      frame: float64 [3, 3], rows: the azimuth's zero, its quarter turn, the middle c.
      edges: float64 [planes, 2], -(n . frame[0]) / (n . c) and -(n . frame[1]) / (n . c) of each plane.
      hue: float64 [TABLE], hue in [0, 1] over equal steps of azimuth.
    """

    frame: np.ndarray
    edges: np.ndarray
    hue: np.ndarray


def ipf_colour(
    orientations: Float[np.ndarray, "*n 4"],
    direction: str | tuple[float, float, float] | Float[np.ndarray, "3"],
    laue_group: str,
    key: str = "tsl",
) -> UInt8[np.ndarray, "*n 3"]:
    """Return the IPF colours of orientations, uint8 [..., 3].

    Args:
      orientations: unit quaternions, sample -> crystal [..., 4].
      direction: sample direction, 'X', 'Y', 'Z' or a vector [3], in the sample frame of the orientations.
      laue_group: any name that `symmetry.laue_group` knows.
      key: 'tsl' or 'edax'.

    Raises:
      UserError: an unknown direction, group or key, or orientations that are no unit quaternions.
    """
    require_unit("orientations", orientations, 4)
    return _ipf_colour(orientations, direction, laue_group, key)


def _ipf_colour(orientations: np.ndarray, direction, laue_group: str, key: str = "tsl") -> np.ndarray:
    vector = np.asarray(sample_direction(direction))
    group = laue_group_named(laue_group)
    require_known("key", key, KEYS)
    flat = orientations.reshape(-1, 4)
    colours = np.empty((len(flat), 3), np.uint8)
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        colours[part] = _direction_colour(rotate(flat[part], vector), group, key)
    return colours.reshape(*orientations.shape[:-1], 3)


def sample_direction(direction: str | tuple[float, float, float] | np.ndarray) -> Float[np.ndarray, "3"]:
    """Return the unit vector of a sample direction.

    Args:
      direction: 'X', 'Y', 'Z' or any vector but zero.

    Raises:
      UserError: neither a known name nor a direction.
    """
    if isinstance(direction, str) and direction.upper() not in DIRECTIONS:
        raise UserError("direction", f"unknown IPF direction {direction!r}", "known: X, Y, Z")
    vector = np.array(DIRECTIONS[direction.upper()] if isinstance(direction, str) else direction, np.float64)
    if vector.shape != (3,) or not np.linalg.norm(vector) > 0:
        raise UserError(
            "direction", f"{direction} is no direction", "give X, Y, Z or three numbers, not all zero"
        )
    return vector / np.linalg.norm(vector)


def direction_colour(
    directions: Float[np.ndarray, "*n 3"], laue_group: str, key: str = "tsl"
) -> UInt8[np.ndarray, "*n 3"]:
    """Return the colours of crystal directions, uint8 [..., 3].

    Args:
      directions: unit vectors in crystal coordinates [..., 3].
      laue_group: any name that `symmetry.laue_group` knows.
      key: 'tsl' or 'edax'.

    Raises:
      UserError: an unknown group or key, or directions that are no unit vectors.
    """
    require_unit("directions", directions, 3)
    require_known("key", key, KEYS)
    return _direction_colour(directions, laue_group_named(laue_group), key)


def _direction_colour(directions: np.ndarray, group: str, key: str) -> np.ndarray:
    folded = fold(directions, group, key)
    if key == "tsl":
        return np.rint(_tsl(folded, group) * 255).astype(np.uint8)
    return (_edax(folded, group) * 255).astype(np.uint8)


def colour_direction(
    colours: UInt8[np.ndarray, "*n 3"], laue_group: str, key: str = "tsl"
) -> Float[np.ndarray, "*n 3"]:
    """Return the unit crystal direction [..., 3], in the group's sector, of each colour; NaN for black (unindexed).

    Colours off the key are first divided by their largest channel. 8 bits leave about 0.3 degrees (tsl).

    Args:
      colours: colours of an IPF map, uint8 [..., 3].
      laue_group: any name that `symmetry.laue_group` knows.
      key: 'tsl' or 'edax', the one that the map was made with.

    Raises:
      UserError: an unknown group or key, or colours of another shape or type.
    """
    require_uint8_image("colours", colours, (3,))
    require_known("key", key, KEYS)
    group = laue_group_named(laue_group)
    largest = colours.max(axis=-1, keepdims=True).astype(np.float64)
    rgb = colours / np.where(largest > 0, largest, np.nan)
    return _tsl_inverse(rgb, group) if key == "tsl" else _edax_inverse(rgb, group)


def off_key_share(image: Shaped[np.ndarray, "*n 3"]) -> float:
    """Return the share of an 8-bit image's pixels whose largest channel is not 255, black ones left out.

    An IPF map of either key has none: resampling, compression and blur make them. An image all black gives 0.

    Args:
      image: colours [..., 3], uint8.

    Raises:
      UserError: another shape or type.
    """
    require_uint8_image("image", image, (3,))
    largest = image.max(axis=-1)
    indexed = largest > 0
    return float(np.count_nonzero(indexed & (largest < 255)) / max(np.count_nonzero(indexed), 1))


def fold(
    directions: Float[np.ndarray, "*n 3"], laue_group: str, key: str = "tsl"
) -> Float[np.ndarray, "*n 3"]:
    """Return the equivalents of crystal directions in the key's sector of a Laue group.

    The sectors: m-3m z >= x >= y >= 0; m-3 x, y >= 0 and z >= x, y; mmm the first octant; 2/m y, z >= 0;
    -1 z >= 0; else z >= 0 and a range of azimuth (6/mmm 0..30 degrees).

    Args:
      directions: directions in crystal coordinates [..., 3].
      laue_group: one of `symmetry.LAUE_GROUPS`.
      key: 'tsl' or 'edax'.

    Raises:
      UserError: another shape or type.
    """
    require_floats("directions", directions, (3,))
    x, y, z = np.moveaxis(directions, -1, 0)
    if laue_group == "m-3m":
        return np.sort(np.abs(directions), axis=-1)[..., [1, 0, 2]]
    if laue_group == "m-3":
        magnitude = np.abs(directions)
        last = np.argmax(magnitude, axis=-1)[..., None]
        return np.take_along_axis(magnitude, (last + np.array([1, 2, 3])) % 3, axis=-1)
    if laue_group == "mmm":
        return np.abs(directions)
    if laue_group == "2/m" and key == "tsl":
        side = np.where(y < 0, -1.0, 1.0)
        return np.stack([side * x, np.abs(y), np.abs(z)], axis=-1)
    side = np.where(z < 0, -1.0, 1.0)
    if laue_group == "2/m":
        return np.stack([side * x, np.abs(y), np.abs(z)], axis=-1)
    if laue_group == "-1":
        return side[..., None] * directions
    period, mirrored = np.radians(_PERIOD[laue_group][0]), _PERIOD[laue_group][1]
    start = np.radians(_START.get((key, laue_group), 0))
    azimuth = (np.arctan2(side * y, side * x) - start) % period
    if mirrored:
        azimuth = np.minimum(azimuth, period - azimuth)
    radius = np.hypot(x, y)
    return np.stack([radius * np.cos(start + azimuth), radius * np.sin(start + azimuth), np.abs(z)], axis=-1)


@cache
def _sector(group: str) -> Sector:
    """Return the sector of a Laue group, built from its planes, corners and middle."""
    normals, corners, middle = _polygon(group)
    c = middle / np.linalg.norm(middle)
    pole = np.array([1.0, 0.0, 0.0]) if group == "-1" else np.array([0.0, 0.0, 1.0])
    zero = pole - (pole @ c) * c
    zero /= np.linalg.norm(zero)
    frame = np.stack([zero, np.cross(c, zero), c])
    edges = -(normals @ frame[:2].T) / (normals @ c)[:, None]
    return Sector(frame, edges, _hue_table(frame, edges, corners))


def _polygon(group: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return planes n (n . v >= 0 inside), the corners of a triangle (none else) and the middle."""
    x, y, z = np.eye(3)
    if group == "-1":
        return z[None], np.zeros((0, 3)), z
    if group == "2/m":
        return np.stack([y, z]), np.zeros((0, 3)), y + z
    if group == "m-3":  # the middle is MTEX's
        normals = np.stack([x, y, z, z - y, z - x])
        return normals, np.zeros((0, 3)), np.array([0.349928, 0.348069, 0.869711])
    if group == "m-3m":
        corners = np.array([z, (x + z) / np.sqrt(2), (x + y + z) / np.sqrt(3)])
        return np.stack([y, x - y, z - x]), corners, corners.mean(axis=0)
    period, mirrored = (90, False) if group == "mmm" else _PERIOD[group]
    start = np.radians(_START.get(("tsl", group), 0))
    end = start + np.radians(period / 2 if mirrored else period)
    corners = np.array([z, [np.cos(start), np.sin(start), 0], [np.cos(end), np.sin(end), 0]])
    normals = np.array([z, [-np.sin(start), np.cos(start), 0], [np.sin(end), -np.cos(end), 0]])
    return normals, corners, corners.mean(axis=0)


def _hue_table(frame: np.ndarray, edges: np.ndarray, corners: np.ndarray) -> np.ndarray:
    azimuth = np.linspace(0, TURN, TABLE)
    if len(edges) == 1:
        return azimuth / TURN
    step = azimuth[:-1]
    reach = _reach(np.cos(step), np.sin(step), edges)
    if len(corners):
        bend = np.arctan2(corners @ frame[1], corners @ frame[0]) % TURN
        first, second = sorted(np.rint(TABLE * bend / TURN).astype(int) % TABLE)[1:]
        for side in (slice(first), slice(first, second), slice(second, None)):
            reach[side] /= reach[side].sum()
    return np.append(0, np.cumsum(reach / reach.sum()))


def _reach(a: np.ndarray, b: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return phi of eq. 1 for tangents along (a, b), of any length, in the frame of a sector."""
    cotangent = edges[0, 0] * a + edges[0, 1] * b
    for p, q in edges[1:]:
        np.maximum(cotangent, p * a + q * b, out=cotangent)
    return np.arctan2(np.hypot(a, b), cotangent)


def _tsl(folded: np.ndarray, group: str) -> np.ndarray:
    frame, edges, hue = _sector(group)
    a, b, c = np.moveaxis(folded @ frame.T, -1, 0)
    reach = _reach(a, b, edges)
    saturation = np.minimum(np.arctan2(np.hypot(a, b), c) / np.where(reach > 0, reach, 1.0), 1.0)
    place = (np.arctan2(b, a) / TURN % 1.0) * (TABLE - 1)
    before = np.minimum(place.astype(np.intp), TABLE - 2)
    h = hue[before] + (place - before) * (hue[before + 1] - hue[before])
    return 1 - saturation[..., None] * (1 - _pure(h))


def _pure(hue: np.ndarray) -> np.ndarray:
    """Return the RGB of full saturation and value: hue 0 red, 1/3 green, 2/3 blue."""
    six = 6 * hue
    channels = [np.abs(six - 3) - 1, 2 - np.abs(six - 2), 2 - np.abs(six - 4)]
    return np.clip(np.stack(channels, axis=-1), 0, 1)


def _tsl_inverse(rgb: np.ndarray, group: str) -> np.ndarray:
    frame, edges, hue = _sector(group)
    saturation = 1 - rgb.min(axis=-1)
    w = np.interp(_hue_of(rgb, saturation), hue, np.linspace(0, TURN, TABLE))
    a, b = np.cos(w), np.sin(w)
    theta = saturation * _reach(a, b, edges)
    sine = np.sin(theta)
    return np.stack([sine * a, sine * b, np.cos(theta)], axis=-1) @ frame


def _hue_of(rgb: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """Return the hue in [0, 1) of colours whose largest channel is 1; 0 for white."""
    r, g, b = np.moveaxis(rgb, -1, 0)
    chroma = np.where(saturation > 0, saturation, 1.0)
    sixth = np.where(
        r == 1, (g - b) / chroma % 6, np.where(g == 1, (b - r) / chroma + 2, (r - g) / chroma + 4)
    )
    return sixth / 6


def _chi_max(tangent: np.ndarray) -> np.ndarray:
    """Return the polar angle of the edge z = x of the cubic sectors where y / x = tangent <= 1."""
    return np.arccos(np.sqrt(1 / (2 + tangent * tangent)))


def _edax(folded: np.ndarray, group: str) -> np.ndarray:
    x, y, z = np.moveaxis(folded, -1, 0)
    low, high = np.radians(_ETA[group])
    chi_max = np.pi / 2
    if group in ("m-3", "m-3m"):
        largest = np.maximum(x, y)
        chi_max = _chi_max(np.minimum(x, y) / np.where(largest > 0, largest, 1.0))
    share = np.clip(np.arctan2(np.hypot(x, y), z) / chi_max, 0, 1)
    side = np.clip(np.abs(np.arctan2(y, x) - low) / (high - low), 0, 1)
    roots = np.sqrt(np.stack([1 - share, share * (1 - side), share * side], axis=-1))
    return roots / roots.max(axis=-1, keepdims=True)


def _edax_inverse(rgb: np.ndarray, group: str) -> np.ndarray:
    r, g, b = np.moveaxis(rgb * rgb, -1, 0)
    low, high = np.radians(_ETA[group])
    share = (g + b) / (r + g + b)
    eta = low + (high - low) * b / np.where(g + b > 0, g + b, 1.0)
    chi_max = np.pi / 2
    if group in ("m-3", "m-3m"):
        chi_max = _chi_max(np.tan(np.minimum(eta, np.pi / 2 - eta)))
    sine = np.sin(share * chi_max)
    return np.stack([sine * np.cos(eta), sine * np.sin(eta), np.cos(share * chi_max)], axis=-1)
