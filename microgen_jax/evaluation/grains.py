"""Grain statistics of label maps, and the faults that no grain can have: boundaries that end, pieces that float.

Labels are int [N, H, W], one number a grain and window (from `crystal.segmentation`), -1 where a pixel belongs to none.
A *region* is a label of a window, or a connected part of the pixels that belong to none; a *grain* is a labelled region
of at least MIN_GRAIN_AREA px; a smaller region is a *speck*, which `absorb_specks` gives to the nearest grain.
Lengths are in px unless a pixel size is given.

  (1) Equivalent diameter D = sqrt(4 area / pi), of grains that keep off the window's edge (`whole`; ASTM E2627 leaves
      the others out); the area-weighted mean sum(area D) / sum(area) is over all grains.
  (2) Log-normal fit: mu and sigma are the mean and the standard deviation of ln D.
  (3) ASTM E112-13, table 4: G = -6.6439 log10(l) - 3.288, l the mean lineal intercept in mm: the length of the test
      lines over the boundaries that they cross. Here every row and column is a test line.
  (4) ASTM E2627-13: G = -3.3223 log10(A) - 2.955, A the mean grain area in mm^2.
  (5) Shape: the moments of a grain's pixels (each a unit square, so that 1/12 is added to the variances) have
      eigenvalues a >= b; aspect ratio sqrt(a / b), direction that of a, from x towards y (down), in [0, 180).
  (6) Neighbours of a grain: the other grains that share a pixel edge with it; counted for whole grains.
  (7) Boundary fraction: share of the pixel edges between labelled pixels that part two labels.
  (8) Triple junctions: pixel corners where three or more labels meet, per px^2.
  (9) Dihedral angle of a grain at a junction of three: 360 degrees times its share of the pixels of a disc of
      ANGLE_REACH px round the corner (the area invariant of Manay et al. 2006); 120 at equal boundary energies.
      Junctions whose disc leaves the window or holds a fourth label are left out.
 (10) An edge cuts large grains more often than small ones. Weighted with w = H W / ((H - h) (W - w)), h and w the sides
      of its bounding box, a whole grain counts as often as it would without an edge (Miles 1974; Lantuejoul 1980).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8
from scipy import ndimage

MIN_GRAIN_AREA = 5  # px of a grain
ANGLE_REACH = 5  # px
LINE_REACH = 3.0  # px from the middle of a boundary line within which its pixels lie


class Grains(NamedTuple):
    """The grains of a stack of windows, [G] each, in the windows' order.

    Attributes:
      window: int, the window that a grain lies in.
      area: int, px.
      diameter: float64, px, eq. 1.
      whole: bool, whether the grain keeps off the window's edge.
      aspect_ratio: float64, at least 1, eq. 5.
      direction: float64, degrees, eq. 5.
      elongation: float64 [G, 2], (a - b) / (a + b) times (cos, sin) of twice the direction.
      neighbours: int, eq. 6.
      edge_weight: float64, eq. 10; of whole grains only.
    """

    window: np.ndarray
    area: np.ndarray
    diameter: np.ndarray
    whole: np.ndarray
    aspect_ratio: np.ndarray
    direction: np.ndarray
    elongation: np.ndarray
    neighbours: np.ndarray
    edge_weight: np.ndarray


class Angles(NamedTuple):
    """Angles of grains at triple junctions, eq. 9: degrees, float64 [M], and the window of each, int [M]."""

    angle: np.ndarray
    window: np.ndarray


class Specks(NamedTuple):
    """Specks of each window.

    Attributes:
      floating: number of those off the window's edge.
      area: px of all.
    """

    floating: Int[np.ndarray, "N"]
    area: Int[np.ndarray, "N"]


class Crossings(NamedTuple):
    """Of each window: how many pixel edges lie between labelled pixels, and how many of them part two labels."""

    edges: Int[np.ndarray, "N"]
    boundaries: Int[np.ndarray, "N"]


def measure(labels: Integer[np.ndarray, "N H W"], *, min_area: int = MIN_GRAIN_AREA) -> Grains:
    """Measure every grain of every window, eqs. 1, 5, 6 and 10."""
    regions, window = _regions(labels)
    total = len(window)
    inside = regions >= 0
    place = regions[inside]
    area = np.bincount(place, minlength=total)
    _, y, x = np.nonzero(inside)
    mean_y, mean_x = (np.bincount(place, axis, total) / np.maximum(area, 1) for axis in (y, x))
    y, x = y - mean_y[place], x - mean_x[place]
    yy, xx, xy = (np.bincount(place, p, total) / np.maximum(area, 1) for p in (y * y, x * x, x * y))
    yy, xx = yy + 1 / 12, xx + 1 / 12
    half_trace, half_gap = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    whole = _off_the_edge(regions, total)
    grain = area >= min_area
    double_angle = np.arctan2(2 * xy, xx - yy)
    turn = np.stack([np.cos(double_angle), np.sin(double_angle)], axis=1)
    measured = Grains(
        window,
        area,
        np.sqrt(4 / np.pi * area),
        whole,
        np.sqrt((half_trace + half_gap) / (half_trace - half_gap)),
        np.degrees(double_angle / 2) % 180,
        (half_gap / half_trace)[:, None] * turn,
        _neighbour_counts(regions, grain),
        _edge_weight(regions, total),
    )
    return Grains(*(values[grain] for values in measured))


def neighbours(
    labels: Integer[np.ndarray, "N H W"], *, periodic: bool = False, min_area: int = 1
) -> Int[np.ndarray, "G"]:
    """Number of neighbours of each grain, eq. 6, of windows that may wrap."""
    regions, window = _regions(labels)
    area = np.bincount(regions[regions >= 0], minlength=len(window))
    grain = area >= min_area
    return _neighbour_counts(regions, grain, periodic=periodic)[grain]


def crossings(labels: Integer[np.ndarray, "N H W"]) -> Crossings:
    """Return counts for the boundary fraction (eq. 7) and the mean intercept (eq. 3): edges / boundaries, in px."""
    edges = np.zeros(len(labels), int)
    boundaries = np.zeros(len(labels), int)
    for a, b in _pixel_pairs(labels):
        counted = (a >= 0) & (b >= 0)
        edges += counted.sum(axis=(1, 2))
        boundaries += (counted & (a != b)).sum(axis=(1, 2))
    return Crossings(edges, boundaries)


def triple_junctions(labels: Integer[np.ndarray, "N H W"]) -> Int[np.ndarray, "N"]:
    """How many pixel corners of each window touch three labels or more, eq. 8."""
    corners = np.stack([labels[:, :-1, :-1], labels[:, :-1, 1:], labels[:, 1:, :-1], labels[:, 1:, 1:]])
    corners = np.sort(corners, axis=0)
    kinds = 1 + (np.diff(corners, axis=0) != 0).sum(axis=0)
    return ((kinds >= 3) & (corners[0] >= 0)).sum(axis=(1, 2))


def dihedral_angles(labels: Integer[np.ndarray, "N H W"]) -> Angles:
    """The three angles of every junction of three labels that stands alone, eq. 9."""
    side = 2 * ANGLE_REACH
    if min(labels.shape[1:]) < side:
        return Angles(np.zeros(0), np.zeros(0, int))
    patches = np.lib.stride_tricks.sliding_window_view(labels, (side, side), axis=(1, 2))
    low, high = ANGLE_REACH - 1, ANGLE_REACH + 1
    corners = np.sort(patches[..., low:high, low:high].reshape(*patches.shape[:3], 4), axis=-1)
    three = (np.diff(corners, axis=-1) != 0).sum(axis=-1) == 2
    window, y, x = np.nonzero(three & (corners[..., 0] >= 0))
    middle = np.arange(side) - (side - 1) / 2
    disc = np.hypot(middle[:, None], middle) <= ANGLE_REACH
    around = patches[window, y, x][:, disc]
    meeting = corners[window, y, x]
    first, last = meeting[:, :1], meeting[:, -1:]
    between = np.where(meeting[:, 1:2] == first, meeting[:, 2:3], meeting[:, 1:2])
    shares = np.stack([(around == one).mean(axis=1) for one in (first, between, last)], axis=1)
    alone = np.isclose(shares.sum(axis=1), 1)
    return Angles(360 * shares[alone].ravel(), window[alone].repeat(3))


def lognormal(diameter: Float[np.ndarray, "G"]) -> tuple[float, float]:
    """Return mu and sigma of eq. 2."""
    logarithm = np.log(diameter)
    return float(logarithm.mean()), float(logarithm.std())


def area_weighted_mean(grains: Grains) -> float:
    """Area-weighted mean diameter of all grains in px, eq. 1."""
    return float(np.sum(grains.area * grains.diameter) / np.sum(grains.area))


def astm_intercept(intercept: Float[np.ndarray, "*n"], pixel_size_um: float) -> Float[np.ndarray, "*n"]:
    """ASTM grain size number of a mean lineal intercept in px, eq. 3; `pixel_size_um` is the width of a pixel."""
    return -6.6439 * np.log10(intercept * pixel_size_um * 1e-3) - 3.288


def astm_area(area: Float[np.ndarray, "*n"], pixel_size_um: float) -> Float[np.ndarray, "*n"]:
    """ASTM grain size number of a mean grain area in px, eq. 4; `pixel_size_um` is the width of a pixel."""
    return -3.3223 * np.log10(area * (pixel_size_um * 1e-3) ** 2) - 2.955


def colour_steps(
    images: UInt8[np.ndarray, "N H W C"], labels: Integer[np.ndarray, "N H W"]
) -> Int[np.ndarray, "N 256"]:
    """How often neighbouring pixels of one grain differ by 0..255 levels, in the channel that differs most."""
    counts = np.zeros(len(images) * 256, np.int64)
    signed = images.astype(np.int16)
    for axis in (1, 2):
        step = np.abs(np.diff(signed, axis=axis)).max(axis=-1)
        a, b = _pair(labels, axis)
        n, y, x = np.nonzero((a == b) & (a >= 0))
        counts += np.bincount(n * 256 + step[n, y, x], minlength=len(counts))
    return counts.reshape(len(images), 256)


def dead_ends(images: UInt8[np.ndarray, "N H W C"], tolerance: int) -> Int[np.ndarray, "N"]:
    """Boundaries of colour maps that end inside a window, per window.

    A boundary runs along the pixel edges across which a channel changes by more than `tolerance` levels. It ends
    where just one such edge meets a pixel corner: there the two sides are one grain.
    """
    signed = images.astype(np.int16)
    across = (np.abs(np.diff(signed, axis=2)).max(axis=-1) > tolerance).astype(np.int8)
    down = (np.abs(np.diff(signed, axis=1)).max(axis=-1) > tolerance).astype(np.int8)
    meeting = across[:, :-1] + across[:, 1:] + down[:, :, :-1] + down[:, :, 1:]
    return (meeting == 1).sum(axis=(1, 2))


def absorb_specks(
    labels: Integer[np.ndarray, "N H W"], *, min_area: int = MIN_GRAIN_AREA
) -> Integer[np.ndarray, "N H W"]:
    """Give the pixels of specks to the nearest grain of their window, if there is one."""
    regions, window = _regions_and_holes(labels)
    large = np.bincount(regions.ravel(), minlength=len(window))[regions] >= min_area
    kept = large & (labels >= 0)
    absorbed = labels.copy()
    for n in np.flatnonzero(~large.all(axis=(1, 2)) & kept.any(axis=(1, 2))):
        nearest = ndimage.distance_transform_edt(~kept[n], return_distances=False, return_indices=True)
        absorbed[n][~large[n]] = labels[n][tuple(nearest)][~large[n]]
    return absorbed


def specks(labels: Integer[np.ndarray, "N H W"], *, min_area: int = MIN_GRAIN_AREA) -> Specks:
    """Measure the specks of every window."""
    regions, window = _regions_and_holes(labels)
    area = np.bincount(regions.ravel(), minlength=len(window))
    small = (area > 0) & (area < min_area)
    floating = small & _off_the_edge(regions, len(window))
    counts = np.bincount(window[floating], minlength=len(labels))
    return Specks(counts, np.bincount(window[small], area[small], len(labels)).astype(int))


def grains_between_boundaries(boundary: Bool[np.ndarray, "H W"]) -> Integer[np.ndarray, "H W"]:
    """Grains of an image of boundaries: 4-connected parts of the rest; boundary pixels go to the nearest grain.

    An image that is all boundary is one region.
    """
    labels, count = ndimage.label(~boundary)
    if count == 0:
        return np.zeros(boundary.shape, np.int32)
    nearest = ndimage.distance_transform_edt(boundary, return_distances=False, return_indices=True)
    return labels[tuple(nearest)].astype(np.int32) - 1


def line_dead_ends(boundary: Bool[np.ndarray, "H W"], reach: float = LINE_REACH) -> int:
    """Dead-ended boundaries in an image of boundaries.

    The boundaries that part two grains are where `grains_between_boundaries` changes label. What lies farther
    than `reach` px from them, and off the window's edge by as much, parts nothing: each 8-connected piece of it
    counts once.
    """
    labels = grains_between_boundaries(boundary)
    parting = np.zeros(boundary.shape, bool)
    parting[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    parting[1:] |= labels[1:] != labels[:-1]
    near = ndimage.distance_transform_edt(~parting) <= reach if parting.any() else np.zeros_like(boundary)
    rim = np.ones(boundary.shape, bool)
    margin = int(np.ceil(reach))
    rim[margin:-margin, margin:-margin] = False
    return int(ndimage.label(boundary & ~near & ~rim, np.ones((3, 3)))[1])


def line_floating_pieces(boundary: Bool[np.ndarray, "H W"]) -> int:
    """8-connected pieces of an image of boundaries that do not reach the window's edge.

    A closed ring round an island grain counts as well; real images tell how many there should be.
    """
    pieces, count = ndimage.label(boundary, np.ones((3, 3)))
    edge = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return int(count - np.count_nonzero(edge))


def _pair(labels: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return (labels[:, :-1], labels[:, 1:]) if axis == 1 else (labels[:, :, :-1], labels[:, :, 1:])


def _pixel_pairs(labels: np.ndarray, *, periodic: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
    if periodic:
        return [(labels, np.roll(labels, -1, axis)) for axis in (1, 2)]
    return [_pair(labels, axis) for axis in (1, 2)]


def _regions(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that differ from window to window, [N, H, W], and the window of each number."""
    counts = labels.max(axis=(1, 2)) + 1
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    regions = np.where(labels >= 0, labels + start[:, None, None], -1)
    return regions, np.repeat(np.arange(len(labels)), counts)


def _regions_and_holes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_regions`, with numbers for the 4-connected parts of the pixels that belong to none."""
    regions, window = _regions(labels)
    if (regions >= 0).all():
        return regions, window
    in_plane = ndimage.generate_binary_structure(3, 1)
    in_plane[[0, 2]] = False
    holes = ndimage.label(regions < 0, in_plane)[0]
    starts = np.array([place[0].start for place in ndimage.find_objects(holes)])
    return np.where(regions < 0, len(window) - 1 + holes, regions), np.concatenate([window, starts])


def _off_the_edge(regions: np.ndarray, total: int) -> np.ndarray:
    off = np.ones(total, bool)
    for side in (regions[:, 0], regions[:, -1], regions[:, :, 0], regions[:, :, -1]):
        off[side[side >= 0]] = False
    return off


def _edge_weight(regions: np.ndarray, total: int) -> np.ndarray:
    """Eq. 10 of each region; finite for those that reach from edge to edge, too."""
    boxes = ndimage.find_objects(regions + 1, total)
    sides = np.array([[part.stop - part.start for part in box[1:]] if box else [0, 0] for box in boxes])
    shape = np.array(regions.shape[1:])
    return np.prod(shape / np.maximum(shape - sides.reshape(-1, 2), 1), axis=1)


def _neighbour_counts(regions: np.ndarray, grain: np.ndarray, *, periodic: bool = False) -> np.ndarray:
    total = len(grain)
    codes = []
    for a, b in _pixel_pairs(regions, periodic=periodic):
        touching = (a != b) & (a >= 0) & (b >= 0)
        low, high = np.minimum(a[touching], b[touching]), np.maximum(a[touching], b[touching])
        codes.append(low.astype(np.int64) * total + high)
    low, high = np.divmod(np.unique(np.concatenate(codes)), max(total, 1))
    both = grain[low] & grain[high]
    return np.bincount(np.concatenate([low[both], high[both]]), minlength=total)
