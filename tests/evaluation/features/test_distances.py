"""Like sets stay at their baseline, unlike ones do not, and tiles of one group are not shuffled."""

import numpy as np
import pytest

from microgen_jax.errors import UserError
from microgen_jax.evaluation import baseline
from microgen_jax.evaluation.features import distances


def compared(real: np.ndarray, made: np.ndarray, groups: np.ndarray | None = None) -> dict:
    both = np.concatenate([real, made])
    plan = baseline.plan_splits(np.arange(len(real)) if groups is None else groups, len(made))
    return distances.compare(both, both[:, :6], both[:, :9], plan)


def test_real_against_real_stays_at_its_baseline() -> None:
    within = []
    for trial in range(3):
        rows = np.random.default_rng(trial).normal(size=(300, 24))
        found = compared(rows[:200], rows[200:])
        assert set(found) == set(distances.MEASURES)
        within += [
            one.interval[0] <= 1 <= one.interval[1] for one in found.values() if one.interval is not None
        ]
        assert found["kd"].p_value > 0.005
    assert np.mean(within) >= 0.95


def test_a_shift_and_a_collapse_are_told_apart() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 24))
    shifted = compared(rows[:200], rows[200:] + 1.0)
    assert shifted["fd"].interval[0] > 1
    assert shifted["kd"].p_value < 0.01
    assert shifted["precision"].interval[1] < 1
    collapsed = compared(rows[:200], rows[200:] * 0.3)
    assert collapsed["recall"].interval[1] < 1
    assert collapsed["recall"].ratio < collapsed["precision"].ratio


def test_groups_have_no_permutation_test() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 20)
    rows = rng.normal(size=(360, 24)) + rng.normal(0, 0.5, (18, 24)).repeat(20, axis=0)
    found = compared(rows[:240], rows[240:], groups)
    assert found["kd"].p_value is None
    assert found["kd"].standard_error > 0


def test_too_few_tiles_are_refused() -> None:
    rows = np.zeros((120, 4))
    with pytest.raises(UserError) as error:
        compared(rows[:90], rows[90:])
    assert error.value.where == "plan"


def test_the_nearest_is_found() -> None:
    rng = np.random.default_rng(0)
    vectors, known = rng.normal(3, 1, (30, 5)), rng.normal(3, 1, (40, 5))
    wanted = np.linalg.norm(vectors[:, None] - known[None], axis=-1).min(axis=1)
    np.testing.assert_allclose(distances.nearest(vectors, known), wanted)
    np.testing.assert_allclose(distances.nearest(known, known), 0, atol=1e-6)
