"""Spatial statistics of windows: two-point correlation, lineal path, chord lengths, spectrum, histogram.

A window is an image of a larger structure. It is *periodic* where it wraps round its edges (simulated cells) and
*non-periodic* where it was cut out (tiles of a map); then only pairs of pixels that both lie inside count.

  (1) S2(r) = <f(x) f(x + r)>, over the pairs inside the window (Torquato 2002, Random Heterogeneous Materials,
      section 2.2). By FFT: the inverse transform of |F|^2, of the zero-padded f where the window does not wrap,
      divided by the number of pairs of that lag.
  (2) Of labels, f(x) f(x + r) becomes "x and x + r have the same label": with one label per grain this is the
      probability that two pixels lie in one grain; with label 0 in a phase and -1 outside it is the phase's S2.
  (3) Lineal path L(r): probability that all pixels of a segment of r + 1 lie in one grain or in the phase
      (Lu and Torquato 1992, doi:10.1103/PhysRevA.45.922).
  (4) Chord lengths: runs of one label along an axis, those cut off by the window left out (Torquato 2002,
      section 2.4; ASTM E112 counts the same intercepts).
  (5) Power spectrum P(k) = |FFT(w (f - mean f))|^2 / sum w^2 with a Hann window w, averaged over rings of
      frequency (Welch 1967, one segment).

Labels are int [N, H, W], -1 where a pixel belongs to nothing. Axes are named as in the images: x runs along a row,
y down a column. Lags and lengths are in px.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped, UInt8
from scipy import fft


class Chords(NamedTuple):
    """Chords of a stack of windows.

    Attributes:
      length: int [M], px.
      label: int [M], what the chord lies in.
      window: int [M], the window of each chord, ascending.
    """

    length: np.ndarray
    label: np.ndarray
    window: np.ndarray


def two_point(fields: Shaped[np.ndarray, "N H W"], *, periodic: bool = False) -> Float[np.ndarray, "N h w"]:
    """S2 of eq. 1 at every lag, the zero lag in the middle.

    Args:
      fields: grey levels, or 0 and 1 for a phase.
      periodic: whether the windows wrap.

    Returns:
      float64; lags -(H - 1)..H - 1 and -(W - 1)..W - 1 where the windows do not wrap, else -(H // 2) and
      -(W // 2) up to H and W of them. Far lags of a window that does not wrap rest on few pairs.
    """
    height, width = fields.shape[1:]
    shape = (height, width) if periodic else (2 * height - 1, 2 * width - 1)
    spectrum = fft.rfft2(np.asarray(fields, np.float64), s=shape)
    products = fft.fftshift(fft.irfft2(np.abs(spectrum) ** 2, s=shape), axes=(1, 2))
    if periodic:
        return products / (height * width)
    pairs = np.outer(
        height - np.abs(np.arange(1 - height, height)), width - np.abs(np.arange(1 - width, width))
    )
    return products / pairs


def radial(maps: Float[np.ndarray, "N h w"], lags: int) -> Float[np.ndarray, "N lags"]:
    """Averages over the lags with k <= |r| < k + 1 px, k = 0..lags - 1, of maps as `two_point` gives them."""
    height, width = maps.shape[1:]
    y, x = np.ogrid[:height, :width]
    ring = np.hypot(y - height // 2, x - width // 2).astype(int)
    inside = ring < lags
    return _ring_means(maps[:, inside], ring[inside], lags)


def along_axes(maps: Float[np.ndarray, "N h w"], lags: int) -> Float[np.ndarray, "N 2 lags"]:
    """The lags 0..lags - 1 along x ([:, 0]) and along y ([:, 1]) of maps as `two_point` gives them."""
    y, x = maps.shape[1] // 2, maps.shape[2] // 2
    return np.stack([maps[:, y, x : x + lags], maps[:, y : y + lags, x]], axis=1)


def membership(
    labels: Integer[np.ndarray, "N H W"], lags: int, *, periodic: bool = False
) -> Float[np.ndarray, "N 2 lags"]:
    """Two-point correlation of labels, eq. 2, for the lags 0..lags - 1 along x ([:, 0]) and along y ([:, 1]).

    At lag 0 it is the share of pixels that have a label. Pairs are counted directly: 2 `lags` comparisons.
    """
    result = np.empty((len(labels), 2, lags))
    for axis, turned in enumerate((labels, labels.transpose(0, 2, 1))):
        for lag in range(lags):
            start = turned if periodic else turned[..., : turned.shape[-1] - lag]
            end = np.roll(turned, -lag, axis=-1) if periodic else turned[..., lag:]
            result[:, axis, lag] = ((start == end) & (start >= 0)).mean(axis=(1, 2))
    return result


def lineal_path(
    labels: Integer[np.ndarray, "N H W"], lags: int, *, periodic: bool = False
) -> Float[np.ndarray, "N 2 lags"]:
    """L of eq. 3 for r = 0..lags - 1 along x ([:, 0]) and along y ([:, 1]); segments end inside the window."""
    result = np.empty((len(labels), 2, lags))
    for axis, turned in enumerate((labels, labels.transpose(0, 2, 1))):
        if periodic:
            turned = np.concatenate([turned, turned[..., : lags - 1]], axis=-1)
        joined = turned[..., 1:] == turned[..., :-1]
        whole = turned >= 0
        for lag in range(lags):
            if lag:
                whole = whole[..., :-1] & joined[..., lag - 1 :]
            counted = whole[..., : labels.shape[2 - axis]] if periodic else whole
            result[:, axis, lag] = counted.mean(axis=(1, 2))
    return result


def chords(labels: Integer[np.ndarray, "N H W"], *, along_y: bool = False) -> Chords:
    """Runs of equal labels along rows (or columns), eq. 4, without those that touch the window's ends.

    Leaving out what the window cuts shortens the mean: longer chords are cut more often.
    """
    lines = labels.transpose(0, 2, 1) if along_y else labels
    number, rows, columns = lines.shape
    changes = np.ones((number * rows, columns + 1), bool)
    flat = lines.reshape(number * rows, columns)
    changes[:, 1:-1] = flat[:, 1:] != flat[:, :-1]
    row, edge = np.nonzero(changes)
    same_line = row[1:] == row[:-1]
    row, start, end = row[:-1][same_line], edge[:-1][same_line], edge[1:][same_line]
    label = flat[row, start]
    kept = (start > 0) & (end < columns) & (label >= 0)
    return Chords((end - start)[kept], label[kept], (row // rows)[kept])


def power_spectrum(
    fields: Shaped[np.ndarray, "N H W"],
) -> tuple[Float[np.ndarray, "N K"], Float[np.ndarray, "K"]]:
    """Ring averages of eq. 5.

    Returns:
      the power of each window, in squared units of the field; and the rings' middle frequencies in cycles per px,
      from 1 / side up to 1/2, side being the shorter one.
    """
    height, width = fields.shape[1:]
    hann = np.outer(_hann(height), _hann(width))
    centred = np.asarray(fields, np.float64)
    centred = centred - centred.mean(axis=(1, 2), keepdims=True)
    power = np.abs(fft.fft2(centred * hann)) ** 2 / np.sum(hann**2)
    side = min(height, width)
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.fftfreq(width))
    ring = np.rint(frequency * side).astype(int)
    rings = side // 2
    inside = (ring >= 1) & (ring <= rings)
    return _ring_means(power[:, inside], ring[inside] - 1, rings), np.arange(1, rings + 1) / side


def intensity_histogram(images: UInt8[np.ndarray, "N H W C"]) -> Int[np.ndarray, "N C 256"]:
    """How many pixels of each channel have each of the 256 levels."""
    number, channels = len(images), images.shape[-1]
    place = np.arange(number * channels).reshape(number, 1, 1, channels) * 256 + images
    return np.bincount(place.ravel(), minlength=number * channels * 256).reshape(number, channels, 256)


def phase_labels(mask: Shaped[np.ndarray, "N H W"]) -> Int[np.ndarray, "N H W"]:
    """Labels 0 inside a phase and -1 outside, for the functions that take labels."""
    return np.where(mask, 0, -1)


def _hann(length: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


def _ring_means(values: np.ndarray, ring: np.ndarray, rings: int) -> np.ndarray:
    """Means of `values` [N, P] over the places of each ring, [N, rings]; every ring has a place."""
    order = np.argsort(ring, kind="stable")
    start = np.searchsorted(ring[order], np.arange(rings))
    return np.add.reduceat(values[:, order], start, axis=1) / np.bincount(ring, minlength=rings)
