"""Grains of a map: regions of 4-neighbours whose orientations, or colours, differ by no more than a tolerance.

(1) Two neighbours p, q of one phase are joined where their misorientation is at most the tolerance,
        theta(p, q) = min over S of 2 arccos |(S g_q g_p*)_w| <= 5 degrees
    (the usual threshold of EBSD software, as in MTEX: Bachmann, Hielscher and Schaeben 2011,
    doi:10.1016/j.ultramic.2011.08.002), or
        max over channels |colour_p - colour_q| <= 20 of 255.
(2) A grain is a connected component of the joined pixels. Differences add up along a chain, so two pixels of a
    grain may differ by more than the tolerance.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from microgen_jax.crystal.arguments import require_floats, require_shape, require_uint8_image, require_unit
from microgen_jax.crystal.symmetry import laue_group as laue_group_named
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.errors import UserError

COLOUR_TOLERANCE = 20  # of 255
ORIENTATION_TOLERANCE = 5.0  # degrees


def grains_from_colour(
    image: UInt8[np.ndarray, "H W C"], tolerance: int = COLOUR_TOLERANCE
) -> Int32[np.ndarray, "H W"]:
    """Return the grain of each pixel, 0..G-1 in reading order; no channel of joined pixels differs by more.

    On IPF maps 16 to 24 finds the boundaries of 5 degrees with precision .92 to 1.0 and recall .86 to .95.
    Black (unindexed) pixels form regions like any colour.

    Args:
      image: colours or grey values [H, W, C].
      tolerance: largest channel difference of joined neighbours, of 255.

    Raises:
      UserError: another shape or type of the image, or a tolerance outside 0 to 255.
    """
    _check_image(image, tolerance)
    across, down = _colour_steps(image)
    return join(across <= tolerance, down <= tolerance)


def flat_share(image: UInt8[np.ndarray, "H W C"], tolerance: int = 24) -> float:
    """Return the share of the 4-neighbour pairs whose largest channel difference is at most a tolerance.

    High where grains are flat and boundaries thin; a cloud of colours has few such pairs.

    Args:
      image: colours or grey values [H, W, C].
      tolerance: largest channel difference, of 255.

    Raises:
      UserError: another shape or type of the image, or a tolerance outside 0 to 255.
    """
    _check_image(image, tolerance)
    steps = np.concatenate([step.ravel() for step in _colour_steps(image)])
    return float(np.mean(steps <= tolerance))


def _check_image(image: np.ndarray, tolerance: int) -> None:
    require_uint8_image("image", image, (None, None, None))
    if not 0 <= tolerance <= 255:
        raise UserError("tolerance", f"{tolerance} must lie between 0 and 255")


def _colour_steps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest channel difference of each pixel to its right ([H, W-1]) and lower ([H-1, W]) neighbour."""
    signed = image.astype(np.int16)
    return np.abs(np.diff(signed, axis=1)).max(axis=-1), np.abs(np.diff(signed, axis=0)).max(axis=-1)


def grains_from_orientations(
    orientations: Float[np.ndarray, "H W 4"],
    laue_group: str | Mapping[int, str],
    phase: Int[np.ndarray, "H W"] | None = None,
    tolerance: float = ORIENTATION_TOLERANCE,
) -> Int32[np.ndarray, "H W"]:
    """Return the grain of each pixel, 0..G-1 in reading order, -1 where it is unindexed.

    Args:
      orientations: unit quaternions, sample -> crystal [H, W, 4].
      laue_group: Laue group of all pixels with a phase of 0 or more, or of each phase; phases that it does not name
        are unindexed.
      phase: phase of each pixel [H, W], -1 where unindexed; different phases are never joined. None = a single phase.
      tolerance: largest misorientation inside a grain between neighbours, in degrees.

    Raises:
      UserError: an unknown Laue group, arrays of another shape or type, quaternions that are not of length 1 where
        there is a phase, or a tolerance outside 0 to 180.
    """
    require_floats("orientations", orientations, (4,))
    require_shape("orientations", orientations, (None, None, None), whole=True)
    if phase is not None:
        require_shape("phase", phase, orientations.shape[:2], whole=True)
    if not 0 <= tolerance <= 180:
        raise UserError("tolerance", f"{tolerance} must lie between 0 and 180 degrees")
    for group in (laue_group,) if isinstance(laue_group, str) else laue_group.values():
        laue_group_named(group)
    phase = np.zeros(orientations.shape[:2], int) if phase is None else phase
    single = dict.fromkeys(np.unique(phase[phase >= 0]).tolist(), laue_group)
    groups = single if isinstance(laue_group, str) else laue_group
    indexed = np.isin(phase, list(groups))
    require_unit("orientations", orientations[indexed], 4)
    across, down = np.zeros(phase[:, 1:].shape, bool), np.zeros(phase[1:].shape, bool)
    for number, group in groups.items():
        inside = phase == number
        pairs = inside[:, :-1] & inside[:, 1:]
        across |= _alike(orientations[:, :-1], orientations[:, 1:], pairs, group, tolerance)
        pairs = inside[:-1] & inside[1:]
        down |= _alike(orientations[:-1], orientations[1:], pairs, group, tolerance)
    return _numbered_in(join(across, down), indexed)


def join(across: Bool[np.ndarray, "H _"], down: Bool[np.ndarray, "_ W"]) -> Int32[np.ndarray, "H W"]:
    """Return connected components, 0..G-1 in reading order.

    Args:
      across: whether a pixel is joined to the one on its right, [H, W - 1]; [H, W] where rows are periodic.
      down: whether a pixel is joined to the one below, [H - 1, W]; [H, W] where columns are periodic.
    """
    height, width = len(across), down.shape[1]
    pixel = np.arange(height * width, dtype=np.int32).reshape(height, width)
    right, below = np.roll(pixel, -1, 1)[:, : across.shape[1]], np.roll(pixel, -1, 0)[: len(down)]
    start = np.concatenate([pixel[:, : across.shape[1]][across], pixel[: len(down)][down]])
    end = np.concatenate([right[across], below[down]])
    links = coo_array((np.ones(len(start), bool), (start, end)), shape=(pixel.size, pixel.size))
    labels = connected_components(links, directed=False)[1].reshape(height, width)
    return in_reading_order(labels)


def _alike(a: np.ndarray, b: np.ndarray, candidates: np.ndarray, group: str, tolerance: float) -> np.ndarray:
    joined = np.zeros(candidates.shape, bool)
    joined[candidates] = misorientation_angle(a[candidates], b[candidates], group) <= np.radians(tolerance)
    return joined


def in_reading_order(labels: Int[np.ndarray, "..."]) -> Int32[np.ndarray, "..."]:
    """Return the labels numbered 0..G-1 by their first pixel in reading order.

    Args:
      labels: any whole numbers.
    """
    first, inverse = np.unique(labels, return_index=True, return_inverse=True)[1:]
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse].reshape(labels.shape)


def _numbered_in(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    numbered = np.full(labels.shape, -1, np.int32)
    if kept.any():
        numbered[kept] = in_reading_order(labels[kept])
    return numbered
