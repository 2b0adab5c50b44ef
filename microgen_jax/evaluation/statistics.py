"""The microstructure statistics of a set of tiles, by name, ready to be pooled and compared (`baseline`).

What is measured depends on the content of the images, see `image_kind`.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from microgen_jax.evaluation import baseline, correlation, grain_finding, grains, ipf_density
from microgen_jax.evaluation.baseline import Statistic
from microgen_jax.evaluation.image_kind import ImageKind

BLOCK = 256  # tiles measured at once

DESCRIPTIONS = {
    "grain_diameter": "equivalent grain diameter",
    "grain_diameter_edge_corrected": "equivalent grain diameter, corrected for what image edges cut",
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
    "speck_share": "share of pixels in regions too small to be grains",
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
GRAINS = tuple(DESCRIPTIONS)[:16]
MEANS_ONLY = (
    "grain_diameter_edge_corrected",
    "speck_share",
)  # are compared by others already, and have no baseline
SPATIAL = tuple(name for name in DESCRIPTIONS if name[-2:] in ("_x", "_y"))
BY_CONTENT = {
    "colour": (*GRAINS, "colour_gradient", *SPATIAL, "intensity", "power_spectrum"),
    "lines": (*GRAINS, *SPATIAL, "phase_fraction"),
    "phases": (*SPATIAL, "phase_fraction"),
    "grey": ("two_point_x", "two_point_y", "intensity", "power_spectrum"),
}
_IPF = ("colour_density", "off_key")


def names_of(kind: ImageKind) -> tuple[str, ...]:
    """Return the names of the statistics that images have, in the order of DESCRIPTIONS.

    Args:
      kind: what the images show.
    """
    names = BY_CONTENT[kind.content] + (_IPF if kind.ipf else ())
    return tuple(name for name in DESCRIPTIONS if name in names)


def measure(
    images: UInt8[np.ndarray, "N H W C"],
    kind: ImageKind,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Statistic]:
    """Return every statistic that the images have, by name.

    Args:
      images: real and generated tiles together, so that their distributions share a grid.
      kind: result of `classify_images` for the real tiles.
      advance: function called with the number of tiles measured since its last call.
    """
    parts = []
    for start in range(0, len(images), BLOCK):
        parts.append(_measure_block(images[start : start + BLOCK], kind))
        advance(len(images[start : start + BLOCK]))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name[0] != "*"}
    lists = {}
    for name in (name for name in parts[0] if name[0] == "*"):
        columns = zip(
            *(part[name]._replace(window=part[name].window + n * BLOCK) for n, part in enumerate(parts))
        )
        lists[name] = type(parts[0][name])(*(np.concatenate(column) for column in columns))
    table = _statistics(rows, lists, len(images), images.shape[1:3], kind)
    return {name: table[name] for name in names_of(kind)}


def _measure_block(images: np.ndarray, kind: ImageKind) -> dict:
    """Return sums of each tile by name, and lists of grains and chords under names that start with '*'."""
    found: dict = {}
    lags = min(images.shape[1:3]) // 2
    if kind.content in ("colour", "grey"):
        grey = np.rint(images.mean(axis=-1, keepdims=True)).astype(np.uint8)
        found["intensity"] = correlation.intensity_histogram(grey)[:, 0]
        found["power"] = correlation.power_spectrum(images.mean(axis=-1) / 255)[0]
    if kind.content == "grey":
        field = images[..., 0] / 255 - kind.level
        found["two_point"] = correlation.along_axes(correlation.two_point(field), lags)
        return found
    mask = grain_finding.mask(images, kind)  # not used for colour
    if kind.content != "phases":
        regions = grain_finding.regions(images, kind)
        labels = grains.absorb_specks(regions)
        specks = grains.specks(regions)
        found["specks"] = specks.area / regions[0].size
        found["*grains"] = grains.measure(labels)
        found["edges"], found["boundaries"] = grains.crossings(labels)
        found["triples"] = grains.triple_junctions(labels)
        found["*angles"] = grains.dihedral_angles(labels)
    if kind.content == "colour":
        found["dead_ends"] = grains.dead_ends(images, kind.tolerance)
        found["floating"] = specks.floating
        found["steps"] = grains.colour_steps(images, labels)
    if kind.content == "lines":
        found["dead_ends"] = np.array([grains.line_dead_ends(lines) for lines in mask])
        found["floating"] = np.array([grains.line_floating_pieces(lines) for lines in mask])
    spatial = labels if kind.content == "colour" else correlation.phase_labels(mask)
    # Of a phase, chords in it and outside it; of lines, those between them.
    runs = {"colour": spatial, "phases": mask.astype(np.int8), "lines": -mask.astype(np.int8)}[kind.content]
    found["two_point"] = correlation.membership(spatial, lags)
    found["lineal_path"] = correlation.lineal_path(spatial, lags)
    found["*chords_x"] = correlation.chords(runs)
    found["*chords_y"] = correlation.chords(runs, along_y=True)
    if kind.content != "colour":
        found["phase"] = mask.mean(axis=(1, 2))
    if kind.ipf:
        found["cells"], found["indexed"] = ipf_density.counts(images, kind.laue_group, kind.key)
        found["off_key"] = ipf_density.off_key(images)
    return found


def _statistics(
    rows: dict, lists: dict, tiles: int, size: tuple[int, int], kind: ImageKind
) -> dict[str, Statistic]:
    table = {}
    if "*grains" in lists:
        table |= _grain_statistics(rows, lists["*grains"], tiles, size, kind)
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
        for curve in ("two_point", "lineal_path"):
            if curve in rows:
                lag = np.arange(rows[curve].shape[-1]) * kind.pixel
                table[f"{curve}_{name}"] = baseline.curve(
                    rows[curve][:, axis], lag, "1", f"lag in {kind.unit}"
                )
        if f"*chords_{name}" in lists:
            chords = lists[f"*chords_{name}"]
            table[f"chord_length_{name}"] = baseline.distribution(
                chords.length * kind.pixel,
                chords.window,
                tiles,
                kind.unit,
                f"chord length in {kind.unit}",
            )
    if "phase" in rows:
        table["phase_fraction"] = baseline.scalar(rows["phase"], "1")
    if "cells" in rows:
        share = ipf_density.sector(kind.laue_group, kind.key).share
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
        frequency = np.arange(1, rows["power"].shape[1] + 1) / (min(size) * kind.pixel)
        table["power_spectrum"] = baseline.curve(
            rows["power"], frequency, "decades", f"frequency in 1/{kind.unit}", transform=_decades
        )
    return table


def _grain_statistics(
    rows: dict, found: grains.Grains, tiles: int, size: tuple[int, int], kind: ImageKind
) -> dict[str, Statistic]:
    whole = grains.Grains(*(column[found.whole] for column in found))

    def total(values: np.ndarray, over: grains.Grains = whole) -> np.ndarray:
        return np.bincount(over.window, values, tiles)

    count = np.bincount(whole.window, minlength=tiles)
    diameter, axis = whole.diameter * kind.pixel, f"diameter in {kind.unit}"
    log_diameter = np.log(diameter)
    logs = np.stack([total(log_diameter), total(log_diameter**2)], axis=1)
    area = total(found.area, found)
    lean = np.stack([total(found.area * found.elongation[:, axis], found) for axis in (0, 1)], axis=1)

    def values(column: np.ndarray, unit: str, axis: str) -> Statistic:
        return baseline.distribution(column, whole.window, tiles, unit, axis)

    return {
        "grain_diameter": values(diameter, kind.unit, axis),
        "grain_diameter_edge_corrected": baseline.distribution(
            diameter, whole.window, tiles, kind.unit, axis, weights=whole.edge_weight
        ),
        "grain_diameter_by_area": baseline.distribution(
            found.diameter * kind.pixel, found.window, tiles, kind.unit, axis, weights=found.area
        ),
        "lognormal_mu": baseline.scalar(logs[:, 0], f"ln {kind.unit}", denominator=count),
        "lognormal_sigma": baseline.curve(
            logs, np.arange(2), f"ln {kind.unit}", "", denominator=count[:, None], transform=_spread
        ),
        "astm_e112": baseline.scalar(
            rows["edges"].astype(float),
            "G",
            denominator=rows["boundaries"],
            transform=lambda intercept: grains.astm_intercept(intercept, kind.pixel),
        ),
        "astm_e2627": baseline.scalar(
            total(whole.area),
            "G",
            denominator=count,
            transform=lambda mean_area: grains.astm_area(mean_area, kind.pixel),
        ),
        "aspect_ratio": values(whole.aspect_ratio, "1", "aspect ratio"),
        "elongation": baseline.curve(
            lean, np.arange(2), "1", "along x less along y; along the diagonals", denominator=area[:, None]
        ),
        "neighbours": values(whole.neighbours, "1", "neighbours"),
        "boundary_fraction": baseline.scalar(rows["boundaries"], "1", denominator=rows["edges"]),
        "triple_junctions": baseline.scalar(
            rows["triples"] / (size[0] * size[1] * kind.pixel**2), f"1/{kind.unit}²"
        ),
        "dead_ends": baseline.scalar(rows["dead_ends"], "per image"),
        "floating_pieces": baseline.scalar(rows["floating"], "per image"),
        "speck_share": baseline.scalar(rows["specks"], "1"),
    }


def _spread(means: np.ndarray) -> np.ndarray:
    """Standard deviation from the means of values and of their squares."""
    return np.sqrt(np.maximum(means[:, 1:] - means[:, :1] ** 2, 0))


def _decades(power: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(power, 1e-12))
