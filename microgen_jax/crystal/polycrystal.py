"""Built-in polycrystals: labelled IPF-Z maps of cubic grains, each a pure function of (seed, index).

A tile is cut from a torus that is wider by the largest grains (or it is the torus itself, where a periodic
tile is asked for). Image x runs along the columns and is the sample's X, y runs down the rows and is the
sample's Y.

Descriptors that are not given are chosen at random, evenly from these ranges (`size` is the tile's shorter side;
diameters evenly in their logarithm):

  class      mean diameter        sigma of ln D   aspect ratio  texture
  bimodal    size/4 .. size/2.5   0.10..0.25      1             uniform; two populations, diameters 1 : 3
  elongated  size/4 .. size/2.5   0.20..0.40      2.5..5        uniform
  equiaxed   size/4 .. size/2.5   0.10..0.35      1             uniform
  textured   size/4 .. size/2.5   0.10..0.35      1             cube or a fibre, 8..16 degrees
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32, UInt8
from scipy.special import ndtri

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.orientations import conjugate, from_axis_angle, multiply, random_uniform, rotate
from microgen_jax.crystal.tessellation import (
    VORONOI_SIGMA,
    Seeds,
    bimodal_diameters,
    label,
    laguerre_seeds,
    lognormal_diameters,
    measure,
    poisson_seeds,
)
from microgen_jax.errors import UserError, renamed, require_known

CLASSES = ("bimodal", "elongated", "equiaxed", "textured")
TESSELLATIONS = ("laguerre", "voronoi")
FIBRES = {"fibre100": (0, 0, 1), "fibre110": (1, 0, 1), "fibre111": (1, 1, 1)}
TEXTURES = ("cube", *FIBRES, "uniform")
NAMES = {"kind": CLASSES, "tessellation": TESSELLATIONS, "texture": TEXTURES}
RANGES = {
    "seed": (0, 2**64 - 1),
    "index": (0, 2**64 - 1),
    "height": (4, 1 << 14),
    "width": (4, 1 << 14),
    "diameter": (2, 1 << 14),
    "sigma": (0, 1),
    "aspect_ratio": (0.1, 10),
    "sharpness": (0, 180),
    "twins": (0, 1),
}

DIAMETER = (1 / 4, 1 / 2.5)  # of the shorter side
SIGMA = {"bimodal": (0.1, 0.25), "elongated": (0.2, 0.4), "equiaxed": (0.1, 0.35), "textured": (0.1, 0.35)}
ASPECT_RATIO = (2.5, 5.0)  # elongated; the other classes have 1
SHARPNESS = (8.0, 16.0)  # degrees
SIZE_RATIO = 3.0  # of the two mean diameters of the bimodal class

TWIN_AXES = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
Number = float | int


class Polycrystal(NamedTuple):
    """One tile and the grains in it.

    Attributes:
      image: uint8 [H, W, 3], IPF-Z colours of the TSL key, Laue group m-3m.
      grains: int32 [H, W], row of `orientations` of each pixel; every row occurs. The twins of one
        grain are one row, after all the grains.
      orientations: float64 [G, 4], unit quaternions, sample -> crystal.
      descriptors: class, texture (text); as given or random: grain_diameter (mean, px), grain_sigma (std of ln D),
        aspect_ratio (x / y), sharpness (degrees, 0 where uniform), twins; measured over the whole torus, a
        twin being part of its grain: measured_grain_diameter, measured_grain_sigma, measured_aspect_ratio.
    """

    image: UInt8[np.ndarray, "H W 3"]
    grains: Int32[np.ndarray, "H W"]
    orientations: Float[np.ndarray, "G 4"]
    descriptors: dict[str, float | str]


class Descriptors(NamedTuple):
    """The descriptors that a tile is made by, given or chosen at random."""

    kind: str
    diameter: float
    sigma: float
    aspect_ratio: float
    texture: str
    sharpness: float


def polycrystal(
    seed: int,
    index: int,
    size: int | tuple[int, int],
    *,
    kind: str | None = None,
    tessellation: str = "laguerre",
    diameter: Number | None = None,
    sigma: Number | None = None,
    aspect_ratio: Number | None = None,
    texture: str | None = None,
    sharpness: Number | None = None,
    twins: Number = 0.0,
    periodic: bool = False,
) -> Polycrystal:
    """Return one tile of an endless random series.

    Giving one descriptor does not change the random values of the others.

    Args:
      seed: seed of the series, 0 or more.
      index: number of the tile in the series, 0 or more; seed and index key the random stream.
      size: side, or height and width, in px.
      kind: name of a class in CLASSES; None = random.
      tessellation: 'laguerre' (log-normal sizes of the chosen sigma), or 'voronoi' (of random seeds, which
        have a sigma of 0.29, and no bimodal class).
      diameter: mean grain diameter in px, D = sqrt(4 area / pi).
      sigma: standard deviation of ln D, 0 to 1; for bimodal of each population.
      aspect_ratio: width of the grains over their height, 0.1 to 10.
      texture: 'uniform', 'cube' ({001}<100>, crystal axes along the sample's), 'fibre100', 'fibre110' or
        'fibre111' (that crystal direction along the sample's Z, any turn about it).
      sharpness: spread of the texture in degrees: a textured grain is turned away from the ideal by a rotation
        vector with three independent normal components of this standard deviation, so that a fibre axis tilts by
        Rayleigh(sharpness).
      twins: share of the grains with annealing twins: 1 to 3 parallel bands along the trace of a {111} plane,
        turned by 60 degrees about its normal (Sigma 3).
      periodic: whether opposite edges of the tile continue each other.

    Raises:
      UserError: an unknown name or a value out of its range.
    """
    height, width = (size, size) if np.ndim(size) == 0 else size
    numbers = {"diameter": diameter, "sigma": sigma, "aspect_ratio": aspect_ratio, "sharpness": sharpness}
    _check_names(kind=kind, tessellation=tessellation, texture=texture)
    with renamed({"height": "size", "width": "size"}):
        _check_ranges(seed=seed, index=index, height=height, width=width, twins=twins, **numbers)
    if tessellation == "voronoi" and (sigma is not None or kind == "bimodal"):
        raise UserError(
            "tessellation",
            "'voronoi' has no choice of grain sizes",
            "use 'laguerre' for sigma or the bimodal class",
        )

    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))
    kinds = (kind,) if kind else tuple(k for k in CLASSES if tessellation != "voronoi" or k != "bimodal")
    chosen = _random_descriptors(rng.random(8), min(height, width), kinds)
    wanted = chosen._replace(**{name: float(value) for name, value in numbers.items() if value is not None})
    wanted = wanted._replace(texture=texture or chosen.texture)
    if wanted.texture == "uniform":
        wanted = wanted._replace(sharpness=0.0)
    if tessellation == "voronoi":
        wanted = wanted._replace(sigma=VORONOI_SIGMA)

    stretch = np.sqrt(wanted.aspect_ratio)
    margin = 0.0 if periodic else wanted.diameter * (SIZE_RATIO if wanted.kind == "bimodal" else 2.0)
    period = (height + margin / stretch) * stretch, (width + margin * stretch) / stretch
    seeds = _seeds(rng, wanted, tessellation, period)
    y, x = (np.arange(height) + 0.5) * stretch, (np.arange(width) + 0.5) / stretch
    grains = label(y, x, seeds)
    orientations = _orientations(rng, len(seeds.points), wanted.texture, np.radians(wanted.sharpness))
    if twins > 0:
        grains, orientations = _twinned(rng, grains, orientations, seeds, stretch, twins)
    grains, orientations = _occurring(grains, orientations)
    image = ipf_colour(orientations, "Z", "m-3m")[grains]
    return Polycrystal(image, grains, orientations, _descriptors(wanted, float(twins), seeds, stretch))


def _random_descriptors(u: np.ndarray, side: int, kinds: tuple[str, ...]) -> Descriptors:
    kind = kinds[int(u[0] * len(kinds))]
    low, high = DIAMETER
    textured = ("cube", *FIBRES)[int(u[4] * (1 + len(FIBRES)))]
    return Descriptors(
        kind,
        side * low * (high / low) ** float(u[1]),
        _between(SIGMA[kind], u[2]),
        _between(ASPECT_RATIO, u[3]) if kind == "elongated" else 1.0,
        textured if kind == "textured" else "uniform",
        _between(SHARPNESS, u[5]),
    )


def _between(limits: tuple[float, float], u: float) -> float:
    return limits[0] + float(u) * (limits[1] - limits[0])


def _seeds(
    rng: np.random.Generator, wanted: Descriptors, tessellation: str, period: tuple[float, float]
) -> Seeds:
    if tessellation == "voronoi":
        return poisson_seeds(rng, period, wanted.diameter)
    area = period[0] * period[1]
    if wanted.kind == "bimodal":
        diameters = bimodal_diameters(rng, area, wanted.diameter, wanted.sigma, SIZE_RATIO)
    else:
        diameters = lognormal_diameters(rng, area, wanted.diameter, wanted.sigma)
    return laguerre_seeds(rng, period, diameters)


def _orientations(rng: np.random.Generator, count: int, texture: str, sharpness: float) -> np.ndarray:
    if texture == "uniform":
        return random_uniform(rng, count)
    spread = sharpness * ndtri(rng.random((count, 3)))
    angle = np.linalg.norm(spread, axis=-1)
    away = from_axis_angle(np.where(angle[:, None] > 0, spread, 1.0), angle)
    if texture == "cube":
        return away
    z = np.array([0.0, 0.0, 1.0])
    spin = from_axis_angle(z, 2 * np.pi * rng.random(count))
    fibre = np.array(FIBRES[texture]) / np.linalg.norm(FIBRES[texture])
    halfway = z + fibre  # half a turn about the bisector takes Z to the fibre's axis
    return multiply(multiply(away, from_axis_angle(halfway, np.pi)), spin)


def _twinned(
    rng: np.random.Generator,
    grains: np.ndarray,
    orientations: np.ndarray,
    seeds: Seeds,
    stretch: float,
    share: Number,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut bands into a share of the grains; the twin of grain i is row N + i."""
    number = len(orientations)
    chance, variant, phase = rng.random((3, number))
    axes = TWIN_AXES[(variant * len(TWIN_AXES)).astype(int)]
    normals = rotate(conjugate(orientations), axes)[:, :2]
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    diameter = np.sqrt(4 / np.pi * measure(seeds).area)
    spacing = np.maximum(diameter * (0.45 + 0.4 * rng.random(number)), 4.0)
    width = np.maximum(spacing * (0.25 + 0.25 * rng.random(number)), 2.0)

    rows, columns = np.indices(grains.shape)
    span_y, span_x = seeds.period[0] / stretch, seeds.period[1] * stretch
    y = rows + 0.5 - (seeds.points[:, 0] / stretch)[grains]
    x = columns + 0.5 - (seeds.points[:, 1] * stretch)[grains]
    y, x = y - span_y * np.rint(y / span_y), x - span_x * np.rint(x / span_x)
    across = x * normals[grains, 0] + y * normals[grains, 1]
    inside = (across / spacing[grains] + phase[grains]) % 1 * spacing[grains] < width[grains]
    twin = inside & (chance < share)[grains]
    turned = multiply(from_axis_angle(axes, np.pi / 3), orientations)
    return np.where(twin, grains + number, grains), np.concatenate([orientations, turned])


def _occurring(grains: np.ndarray, orientations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the map and its orientations without the rows that no pixel has."""
    occurs = np.bincount(grains.ravel(), minlength=len(orientations)) > 0
    return (np.cumsum(occurs, dtype=np.int32) - 1).astype(np.int32)[grains], orientations[occurs]


def _descriptors(wanted: Descriptors, twins: float, seeds: Seeds, stretch: float) -> dict[str, float | str]:
    cells = measure(seeds)
    grown = cells.area > 0
    diameter = np.sqrt(4 / np.pi * cells.area[grown])
    spread_y, spread_x = np.mean(cells.moments[grown] / cells.area[grown, None], axis=0)
    return {
        "class": wanted.kind,
        "texture": wanted.texture,
        "grain_diameter": float(wanted.diameter),
        "grain_sigma": float(wanted.sigma),
        "aspect_ratio": float(wanted.aspect_ratio),
        "sharpness": float(wanted.sharpness),
        "twins": float(twins),
        "measured_grain_diameter": float(diameter.mean()),
        "measured_grain_sigma": float(np.log(diameter).std()),
        "measured_aspect_ratio": float(stretch**2 * np.sqrt(spread_x / spread_y)),
    }


def _check_names(**given: str | None) -> None:
    for name, value in given.items():
        if value is not None:
            require_known(name, value, NAMES[name])


def _check_ranges(**given: Number | None) -> None:
    for name, value in given.items():
        low, high = RANGES[name]
        if value is not None and not low <= value <= high:
            raise UserError(name, f"{value} is out of range", f"give {low} to {high}")
