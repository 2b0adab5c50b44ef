"""Closed forms, the FFT against counting, and PoreSpy's stored answers."""

from pathlib import Path

import numpy as np
import pytest

from microgen_jax.evaluation import correlation

REFERENCE = Path(__file__).parents[1] / "fixtures" / "correlation_reference.npz"


def checkerboard(size: int, side: int) -> np.ndarray:
    y, x = np.indices((size, size)) // side
    return ((x + y) % 2 == 0)[None]


@pytest.mark.parametrize("periodic", [False, True])
def test_checkerboard_correlation_is_a_triangle_wave(periodic: bool) -> None:
    board = checkerboard(64, 4)
    found = correlation.along_axes(correlation.two_point(board, periodic=periodic), 16)
    wave = np.abs((np.arange(16) + 4) % 8 - 4) / 4
    expected = 0.5 * (1 - wave)
    if periodic:
        np.testing.assert_allclose(found, np.broadcast_to(expected, (1, 2, 16)), atol=1e-12)
    np.testing.assert_allclose(found[0, 0, ::4], expected[::4], atol=1e-12)


def test_stripes() -> None:
    stripes = np.broadcast_to((np.arange(60) % 10 < 3)[None, None], (1, 40, 60))
    s2 = correlation.along_axes(correlation.two_point(stripes, periodic=True), 10)
    np.testing.assert_allclose(s2[0, 0], np.array([3, 2, 1, 0, 0, 0, 0, 0, 1, 2]) / 10, atol=1e-12)
    np.testing.assert_allclose(s2[0, 1], 0.3, atol=1e-12)
    labels = correlation.phase_labels(stripes)
    path = correlation.lineal_path(labels, 5, periodic=True)
    np.testing.assert_allclose(path[0, 0], np.array([3, 2, 1, 0, 0]) / 10)
    np.testing.assert_allclose(path[0, 1], 0.3)
    across = correlation.chords(labels)
    assert set(across.length) == {3}
    assert len(across.length) == 5 * 40  # the first of six stripes touches the edge
    assert len(correlation.chords(labels, along_y=True).length) == 0


def test_lineal_path_of_a_checkerboard_ends_with_the_square() -> None:
    path = correlation.lineal_path(correlation.phase_labels(checkerboard(64, 4)), 6, periodic=True)
    np.testing.assert_allclose(path[0, 0], 0.5 * np.array([4, 3, 2, 1, 0, 0]) / 4)


def test_poisson_boolean_discs_follow_torquato() -> None:
    """Outside overlapping discs of radius R: S2 = exp(-rho A2(r)), L = exp(-rho (pi R^2 + 2 R r)); ch. 5 and 6."""
    rng = np.random.default_rng(1)
    size, radius, count, windows = 256, 7.0, 170, 12
    fields = np.ones((windows, size, size), bool)
    grid = np.arange(size)
    for field in fields:
        for cy, cx in rng.uniform(0, size, (rng.poisson(count), 2)):
            dy, dx = ((grid - c + size / 2) % size - size / 2 for c in (cy, cx))
            field[dy[:, None] ** 2 + dx**2 <= radius**2] = False
    density = count / size**2
    r = np.arange(12)
    overlap = 2 * radius**2 * np.arccos(r / (2 * radius)) - r / 2 * np.sqrt(4 * radius**2 - r**2)
    s2 = correlation.along_axes(correlation.two_point(fields, periodic=True), 12).mean(axis=(0, 1))
    np.testing.assert_allclose(s2, np.exp(-density * (2 * np.pi * radius**2 - overlap)), rtol=0.05)
    path = correlation.lineal_path(correlation.phase_labels(fields), 12, periodic=True).mean(axis=(0, 1))
    np.testing.assert_allclose(path, np.exp(-density * (np.pi * radius**2 + 2 * radius * r)), rtol=0.06)


@pytest.mark.parametrize("periodic", [False, True])
def test_fft_counts_the_same_pairs_as_comparing_labels(periodic: bool) -> None:
    mask = np.random.default_rng(0).random((3, 17, 22)) < 0.4
    by_fft = correlation.along_axes(correlation.two_point(mask, periodic=periodic), 8)
    counted = correlation.membership(correlation.phase_labels(mask), 8, periodic=periodic)
    np.testing.assert_allclose(by_fft, counted, atol=1e-12)


def test_grain_membership_is_the_sum_over_grains() -> None:
    labels = np.random.default_rng(0).integers(-1, 4, (2, 12, 15))
    summed = sum(correlation.along_axes(correlation.two_point(labels == grain), 6) for grain in range(4))
    np.testing.assert_allclose(correlation.membership(labels, 6), summed, atol=1e-12)


def test_membership_starts_where_lineal_path_does_and_stays_above() -> None:
    labels = np.random.default_rng(0).integers(-1, 2, (4, 20, 20))
    pairs, path = correlation.membership(labels, 7), correlation.lineal_path(labels, 7)
    np.testing.assert_array_equal(pairs[..., :2], path[..., :2])
    assert (path <= pairs + 1e-12).all()


def test_chords_know_their_label_and_window() -> None:
    labels = np.array([[[5, 7, 7, 5, 9]], [[1, 2, -1, 3, 4]]])
    found = correlation.chords(labels)
    assert found.length.tolist() == [2, 1, 1, 1]
    assert found.label.tolist() == [7, 5, 2, 3]
    assert found.window.tolist() == [0, 0, 1, 1]


def test_porespy_agrees() -> None:
    with np.load(REFERENCE, allow_pickle=False) as stored:
        originals = stored["pictures"]  # the stored file is of the first edition
        s2 = correlation.radial(correlation.two_point(originals), 20)
        np.testing.assert_allclose(s2, stored["s2"], atol=1e-6)
        for number, original in enumerate(originals):
            # PoreSpy draws every other line, and leaves out what touches the first and the last of them.
            for name, lines in (("x", original[::2]), ("y", original.T[::2])):
                found = correlation.chords(correlation.phase_labels(lines[None, 1:-1]))
                np.testing.assert_array_equal(np.sort(found.length), stored[f"chords_{name}_{number}"])


def test_power_spectrum_finds_a_wave_and_keeps_the_variance() -> None:
    x = np.arange(64)
    wave = np.broadcast_to(np.sin(2 * np.pi * 8 / 64 * x), (1, 48, 64))
    power, frequency = correlation.power_spectrum(wave)
    assert frequency[power[0].argmax()] == pytest.approx(8 / 64, abs=1 / 48)
    white = np.random.default_rng(0).normal(0, 3, (50, 32, 32))
    np.testing.assert_allclose(correlation.power_spectrum(white)[0].mean(axis=0)[2:], 9, rtol=0.15)


def test_intensity_histogram_counts_every_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 2), dtype=np.uint8)
    counts = correlation.intensity_histogram(images)
    for n in range(3):
        for c in range(2):
            np.testing.assert_array_equal(counts[n, c], np.bincount(images[n, ..., c].ravel(), minlength=256))
