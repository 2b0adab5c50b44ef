"""The microstructure statistics of a set of tiles, by name, ready to be pooled and compared (`baseline`).

What is measured depends on what the images show, which the real ones decide:

  colour  three channels or more that differ: grains are joined neighbours of like colour (`crystal.segment`)
  lines   two grey levels, the rarer one under LINE_SHARE of the pixels: drawn boundaries, and grains between them
  phases  two grey levels otherwise: the rarer one is the phase
  grey    anything else with one channel (or three copies)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from microgen_jax.crystal.segmentation import COLOUR_TOLERANCE, grains_from_colour
from microgen_jax.evaluation import baseline, correlation, grains, ipf_density
from microgen_jax.evaluation.baseline import Statistic

BLOCK = 256  # tiles measured at once
TWO_VALUED = 0.98  # of the pixels within a tenth of black or white: two levels
LINE_SHARE = 0.35
IPF_SHARE = 0.9  # of the real indexed pixels on the key: the images are IPF maps

DESCRIPTIONS = {
    "grain_diameter": "equivalent grain diameter",
    "grain_diameter_by_area": "equivalent grain diameter, weighted by area",
    "lognormal_mu": "mu of the log-normal fit, mean ln D",
    "lognormal_sigma": "sigma of the log-normal fit, spread of ln D",
    "astm_e112": "ASTM E112 grain size number from intercepts",
    "astm_e2627": "ASTM E2627 grain size number from areas",
    "aspect_ratio": "aspect ratio of grains",
    "elongation": "direction and strength of the grains' elongation",
    "neighbours": "neighbours of a grain",
    "boundary_fraction": "share of pixel edges that are boundaries",
    "triple_junctions": "triple junctions per area",
    "dihedral_angles": "dihedral angles at triple junctions",
    "dead_ends": "dead-ended boundaries per image",
    "floating_pieces": "floating pieces per image",
    "colour_gradient": "colour steps inside grains",
    "two_point_x": "two-point correlation along x",
    "two_point_y": "two-point correlation along y",
    "lineal_path_x": "lineal path along x",
    "lineal_path_y": "lineal path along y",
    "chord_length_x": "chord lengths along x",
    "chord_length_y": "chord lengths along y",
    "phase_fraction": "share of the phase",
    "colour_density": "IPF colour density over the sector",
    "off_key": "share of pixels off the IPF colour key",
    "intensity": "histogram of intensity",
    "power_spectrum": "power spectrum",
}
_GRAINS = tuple(DESCRIPTIONS)[:14]
_SPATIAL = tuple(name for name in DESCRIPTIONS if name[-2:] in ("_x", "_y"))
BY_KIND = {
    "colour": (*_GRAINS, "colour_gradient", *_SPATIAL, "intensity", "power_spectrum"),
    "lines": (*_GRAINS, *_SPATIAL, "phase_fraction"),
    "phases": (*_SPATIAL, "phase_fraction"),
    "grey": ("two_point_x", "two_point_y", "intensity", "power_spectrum"),
}
_IPF = ("colour_density", "off_key")


class ImageKind(NamedTuple):
    """What the real tiles show, and how they are measured.

    Attributes:
      kind: colour | lines | phases | grey.
      ipf: whether the colours are those of an IPF key.
      dark: whether the phase, or the lines, are the dark pixels.
      level: mean grey level of the real tiles, in [0, 1], taken off before grey levels are correlated.
      tolerance: in levels, of the colour between joined pixels.
      step: of a pixel, micrometres; 1 where it is not known.
      laue_group, key: of the IPF colours.
    """

    kind: str
    ipf: bool
    dark: bool
    level: float
    tolerance: int = COLOUR_TOLERANCE
    step: float = 1.0
    laue_group: str = "m-3m"
    key: str = "tsl"

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics that these images have, in the order of DESCRIPTIONS."""
        names = BY_KIND[self.kind] + (_IPF if self.ipf else ())
        return tuple(name for name in DESCRIPTIONS if name in names)


def classify_images(
    real: UInt8[np.ndarray, "N H W C"],
    *,
    maps: bool | None = None,
    step: float = 1.0,
    laue_group: str = "m-3m",
) -> ImageKind:
    """Finds out what real tiles show.

    Args:
      maps: whether colours are IPF colours; None looks at how many pixels lie on the key.
      step, laue_group: as in `Images`.
    """
    if real.shape[-1] > 1 and not all(
        np.array_equal(real[..., 0], channel) for channel in np.moveaxis(real, -1, 0)
    ):
        rgb = real.shape[-1] == 3
        found = rgb and (ipf_density.off_key(real).mean() <= 1 - IPF_SHARE if maps is None else maps)
        return ImageKind("colour", bool(found), False, 0.0, step=step, laue_group=laue_group)
    grey = real[..., 0]
    extreme = np.mean((grey < 26) | (grey > 229))
    bright = float(np.mean(grey > 127))
    level = float(grey.mean()) / 255
    if extreme < TWO_VALUED or bright in (0.0, 1.0):
        return ImageKind("grey", False, False, level, step=step)
    kind = "lines" if min(bright, 1 - bright) < LINE_SHARE else "phases"
    return ImageKind(kind, False, bright > 0.5, level, step=step)


def measure(
    images: UInt8[np.ndarray, "N H W C"],
    image_kind: ImageKind,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Statistic]:
    """Every statistic that the images have.

    Args:
      images: real and generated tiles together, so that their distributions share a grid.
      images: from `classify_images` of the real ones.
      advance: told how many tiles have been measured since the last call.
    """
    parts = []
    for start in range(0, len(images), BLOCK):
        parts.append(_measure_block(images[start : start + BLOCK], image_kind))
        advance(len(images[start : start + BLOCK]))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name[0] != "*"}
    lists = {}
    for name in (name for name in parts[0] if name[0] == "*"):
        columns = zip(
            *(part[name]._replace(window=part[name].window + n * BLOCK) for n, part in enumerate(parts))
        )
        lists[name] = type(parts[0][name])(*(np.concatenate(column) for column in columns))
    table = _statistics(rows, lists, len(images), images.shape[1:3], image_kind)
    return {name: table[name] for name in image_kind.names}


def labels_of(images: UInt8[np.ndarray, "N H W C"], image_kind: ImageKind) -> np.ndarray:
    """int32 [N, H, W]: grains before specks are absorbed, or 0 in the phase and -1 outside."""
    if image_kind.kind == "colour":
        return np.stack([grains_from_colour(image, image_kind.tolerance) for image in images])
    mask = _mask(images, image_kind)
    if image_kind.kind == "lines":
        return np.stack([grains.grains_between_boundaries(lines) for lines in mask])
    return correlation.phase_labels(mask)


def _mask(images: np.ndarray, image_kind: ImageKind) -> np.ndarray:
    return (images[..., 0] > 127) != image_kind.dark


def _measure_block(images: np.ndarray, image_kind: ImageKind) -> dict:
    """Sums a tile by name; lists of grains and chords, with their window, under names that start with '*'."""
    found: dict = {}
    lags = min(images.shape[1:3]) // 2
    if image_kind.kind in ("colour", "grey"):
        grey = np.rint(images.mean(axis=-1, keepdims=True)).astype(np.uint8)
        found["intensity"] = correlation.intensity_histogram(grey)[:, 0]
        found["power"] = correlation.power_spectrum(images.mean(axis=-1) / 255)[0]
    if image_kind.kind == "grey":
        field = images[..., 0] / 255 - image_kind.level
        found["two_point"] = correlation.along_axes(correlation.two_point(field), lags)
        return found
    raw = labels_of(images, image_kind)
    mask = _mask(images, image_kind)  # of no meaning in colour
    if image_kind.kind != "phases":
        labels = grains.absorb_specks(raw)
        found["*grains"] = grains.measure(labels)
        found["edges"], found["boundaries"] = grains.crossings(labels)
        found["triples"] = grains.triple_junctions(labels)
        found["*angles"] = grains.dihedral_angles(labels)
    if image_kind.kind == "colour":
        found["dead_ends"] = grains.dead_ends(images, image_kind.tolerance)
        found["floating"] = grains.specks(raw)
        found["steps"] = grains.colour_steps(images, labels)
    if image_kind.kind == "lines":
        found["dead_ends"] = np.array([grains.drawn_dead_ends(lines) for lines in mask])
        found["floating"] = np.array([grains.drawn_floating_pieces(lines) for lines in mask])
    spatial = labels if image_kind.kind == "colour" else correlation.phase_labels(mask)
    # Of a phase, chords in it and outside it; of lines, those between them.
    runs = {"colour": spatial, "phases": mask.astype(np.int8), "lines": -mask.astype(np.int8)}[
        image_kind.kind
    ]
    found["two_point"] = correlation.membership(spatial, lags)
    found["lineal_path"] = correlation.lineal_path(spatial, lags)
    found["*chords_x"] = correlation.chords(runs)
    found["*chords_y"] = correlation.chords(runs, along_y=True)
    if image_kind.kind != "colour":
        found["phase"] = mask.mean(axis=(1, 2))
    if image_kind.ipf:
        found["cells"], found["indexed"] = ipf_density.counts(images, image_kind.laue_group, image_kind.key)
        found["off_key"] = ipf_density.off_key(images)
    return found


def _statistics(
    rows: dict, lists: dict, tiles: int, size: tuple[int, int], image_kind: ImageKind
) -> dict[str, Statistic]:
    table = {}
    if "*grains" in lists:
        table |= _grain_statistics(rows, lists["*grains"], tiles, size, image_kind)
    if "*angles" in lists:
        angles = lists["*angles"]
        table["dihedral_angles"] = baseline.distribution(
            angles.angle, angles.window, tiles, "degrees", "dihedral angle in degrees"
        )
    if "steps" in rows:
        table["colour_gradient"] = baseline.histogram(
            rows["steps"], np.arange(256), "levels/px", "colour step between neighbours in levels"
        )
    for axis, name in enumerate("xy"):
        for kind in ("two_point", "lineal_path"):
            if kind in rows:
                lag = np.arange(rows[kind].shape[-1])
                table[f"{kind}_{name}"] = baseline.curve(rows[kind][:, axis], lag, "1", "lag in px")
        if f"*chords_{name}" in lists:
            chords = lists[f"*chords_{name}"]
            table[f"chord_length_{name}"] = baseline.distribution(
                chords.length, chords.window, tiles, "px", "chord length in px"
            )
    if "phase" in rows:
        table["phase_fraction"] = baseline.scalar(rows["phase"], "1")
    if "cells" in rows:
        share = ipf_density.sector(image_kind.laue_group, image_kind.key).share
        table["colour_density"] = baseline.curve(
            rows["cells"] / share,
            np.arange(len(share)),
            "multiples of random",
            "cell of the sector",
            denominator=rows["indexed"][:, None],
        )
        table["off_key"] = baseline.scalar(rows["off_key"], "1")
    if "intensity" in rows:
        table["intensity"] = baseline.histogram(
            rows["intensity"], np.arange(256), "levels", "level, 0 to 255"
        )
    if "power" in rows:
        frequency = np.arange(1, rows["power"].shape[1] + 1) / min(size)
        table["power_spectrum"] = baseline.curve(
            rows["power"], frequency, "decades", "frequency in 1/px", transform=_decades
        )
    return table


def _grain_statistics(
    rows: dict, found: grains.Grains, tiles: int, size: tuple[int, int], image_kind: ImageKind
) -> dict[str, Statistic]:
    whole = grains.Grains(*(column[found.whole] for column in found))

    def total(values: np.ndarray, over: grains.Grains = whole) -> np.ndarray:
        return np.bincount(over.window, values, tiles)

    count = np.bincount(whole.window, minlength=tiles)
    log_diameter = np.log(whole.diameter)
    logs = np.stack([total(log_diameter), total(log_diameter**2)], axis=1)
    area = total(found.area, found)
    lean = np.stack([total(found.area * found.elongation[:, axis], found) for axis in (0, 1)], axis=1)

    def values(column: np.ndarray, unit: str, axis: str) -> Statistic:
        return baseline.distribution(column, whole.window, tiles, unit, axis)

    return {
        "grain_diameter": values(whole.diameter, "px", "diameter in px"),
        "grain_diameter_by_area": baseline.distribution(
            found.diameter, found.window, tiles, "px", "diameter in px", weights=found.area
        ),
        "lognormal_mu": baseline.scalar(logs[:, 0], "ln px", denominator=count),
        "lognormal_sigma": baseline.curve(
            logs, np.arange(2), "ln px", "", denominator=count[:, None], transform=_spread
        ),
        "astm_e112": baseline.scalar(
            rows["edges"].astype(float),
            "G",
            denominator=rows["boundaries"],
            transform=lambda intercept: grains.astm_intercept(intercept, image_kind.step),
        ),
        "astm_e2627": baseline.scalar(
            total(whole.area),
            "G",
            denominator=count,
            transform=lambda mean_area: grains.astm_area(mean_area, image_kind.step),
        ),
        "aspect_ratio": values(whole.aspect_ratio, "1", "aspect ratio"),
        "elongation": baseline.curve(
            lean, np.arange(2), "1", "along x less along y; along the diagonals", denominator=area[:, None]
        ),
        "neighbours": values(whole.neighbours, "1", "neighbours"),
        "boundary_fraction": baseline.scalar(rows["boundaries"], "1", denominator=rows["edges"]),
        "triple_junctions": baseline.scalar(rows["triples"] / (size[0] * size[1]), "1/px²"),
        "dead_ends": baseline.scalar(rows["dead_ends"], "per image"),
        "floating_pieces": baseline.scalar(rows["floating"], "per image"),
    }


def _spread(means: np.ndarray) -> np.ndarray:
    """Standard deviation from the means of values and of their squares."""
    return np.sqrt(np.maximum(means[:, 1:] - means[:, :1] ** 2, 0))


def _decades(power: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(power, 1e-12))
