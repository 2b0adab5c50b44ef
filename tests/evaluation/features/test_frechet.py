"""Closed forms of Gaussians, a test that rejects as often as it says, and constructed sets."""

import numpy as np
import pytest

from microgen_jax.errors import UserError
from microgen_jax.evaluation.features import frechet


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    first, second = rng.uniform(0.1, 3, (2, 6))
    one = frechet.Moments(2, np.zeros(6), basis @ np.diag(first) @ basis.T)
    two = frechet.Moments(2, np.arange(6.0), basis @ np.diag(second) @ basis.T)
    expected = np.sum(np.arange(6.0) ** 2) + np.sum((np.sqrt(first) - np.sqrt(second)) ** 2)
    assert frechet.frechet_distance(one, two) == pytest.approx(expected)
    assert frechet.frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_does_not_need_shared_axes() -> None:
    """tr (S1 S2)^(1/2) of 2 x 2 matrices is sqrt(tr(S1 S2) + 2 sqrt(det(S1 S2)))."""
    one, two = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    product = one @ two
    root_trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    found = frechet.frechet_distance(
        frechet.Moments(2, np.zeros(2), one), frechet.Moments(2, np.zeros(2), two)
    )
    assert found == pytest.approx(np.trace(one) + np.trace(two) - 2 * root_trace)


def test_moments_are_numpys_whatever_the_batches() -> None:
    rows = np.random.default_rng(0).normal(5, 2, (37, 4)).astype(np.float32)
    for batches in ([rows], np.array_split(rows, 5), [rows[:1], rows[1:]]):
        found = frechet.moments(batches)
        np.testing.assert_allclose(found.mean, rows.mean(axis=0, dtype=np.float64))
        np.testing.assert_allclose(found.covariance, np.cov(rows.astype(np.float64).T))
    with pytest.raises(UserError) as error:
        frechet.moments([rows[:1]])
    assert error.value.where == "batches"


def test_kernel_test_rejects_as_often_as_it_says() -> None:
    rejected, values = 0, []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        found = frechet.kernel_distance(
            rng.normal(size=(24, 4)), rng.normal(size=(24, 4)), permutations=99, subsets=2, seed=trial
        )
        rejected += found.p_value <= 0.05
        values.append(found.value)
    assert 2 <= rejected <= 18
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)


def test_kernel_distance_is_the_double_sum_and_sees_a_shift() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 3)), rng.normal(1.0, 1.0, (9, 3))

    def k(x, y):
        return (x @ y / 3 + 1) ** 3

    inside = [np.mean([k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    across = np.mean([k(x, y) for x in a for y in b])
    found = frechet.kernel_distance(a, b)
    assert found.value == pytest.approx(sum(inside) - 2 * across)
    assert found.p_value < 0.05
    assert found.standard_error > 0


def test_standard_error_is_the_spread_over_draws() -> None:
    found = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        found.append(
            frechet.kernel_distance(rng.normal(size=(80, 3)), rng.normal(0.7, 1, (80, 3)), permutations=0)
        )
    spread = np.std([kernel.value for kernel in found])
    assert np.mean([kernel.standard_error for kernel in found]) == pytest.approx(spread, rel=0.35)


def between(real: np.ndarray, generated: np.ndarray, k: int = 5) -> frechet.Scores:
    table = frechet.squared_distances(np.concatenate([real, generated]))
    rows = np.arange(len(real)), len(real) + np.arange(len(generated))
    return frechet.scores(table, *rows, k=(min(k, 3), k))


def test_precision_recall_density_coverage_on_constructed_sets() -> None:
    real = np.arange(20.0)[:, None]
    half = np.arange(10.0)[:, None] + 0.25
    found = between(real, half, k=1)
    assert found[:2] == (1.0, 0.55)  # the balls of 0.25..9.25 hold 0..10
    assert found[2:] == (2.0, 0.55)  # the balls of 0..10 hold samples, each sample is in two
    assert between(real, real + 1000) == (0.0, 0.0, 0.0, 0.0)
    assert between(real, real)[:2] == (1.0, 1.0)
    with pytest.raises(UserError) as error:
        between(real[:5], half)
    assert error.value.where == "k"


def test_like_sets_have_density_and_coverage_near_their_expectation() -> None:
    """Of two draws of n from one law, coverage is 1 - (n - 1) .. (n - k) / (2n - 1) .. (2n - k); Naeem, eq. 5."""
    rng = np.random.default_rng(0)
    found = between(*rng.normal(size=(2, 400, 3)))
    assert found.density == pytest.approx(1, abs=0.1)
    j = np.arange(1, 6)
    assert found.coverage == pytest.approx(1 - np.prod((400 - j) / (800 - j)), abs=0.02)


def test_few_vectors_of_many_dimensions_have_the_same_distance() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (9, 14)), rng.normal(0.5, 2, (11, 14))
    found = frechet.frechet_between(a, b)
    assert found == pytest.approx(
        frechet.frechet_distance(frechet.moments([a]), frechet.moments([b])), rel=1e-6
    )
    wide = np.concatenate([a, b, a + b[:9]])
    assert frechet.frechet_between(wide, wide) == pytest.approx(0, abs=1e-8)


def test_inception_score_lies_between_one_and_the_number_of_classes() -> None:
    sure = 60.0 * np.eye(5)[np.arange(50) % 5]
    assert frechet.inception_score(sure) == pytest.approx(5)
    assert frechet.inception_score(np.tile(sure[:1], (50, 1))) == pytest.approx(1)
    assert frechet.inception_score(np.zeros((50, 5))) == pytest.approx(1)
