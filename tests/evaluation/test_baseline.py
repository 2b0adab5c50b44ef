"""The distances are what scipy says, halves are disjoint, and real against real stays at 1."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from microgen_jax.errors import UserError
from microgen_jax.evaluation import baseline


def uneven(rng: np.random.Generator, tiles: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Values of tiles that differ from each other, a few to a dozen each."""
    tile = np.repeat(np.arange(tiles), rng.integers(3, 13, tiles))
    return rng.normal(shift + rng.normal(0, 0.5, tiles)[tile], 1.0), tile


@pytest.mark.parametrize("most", [10, 4096])
def test_wasserstein_distance_is_scipys(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(baseline, "MAX_NODES", most)
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 90) + np.repeat([0, 2], [50, 40])
    weights = rng.random(90)
    statistic = baseline.distribution(values, np.repeat([0, 1], [50, 40]), 2, "px", "px", weights=weights)
    a, b = baseline.pool(statistic, np.eye(2))
    expected = wasserstein_distance(values[:50], values[50:], weights[:50], weights[50:])
    found = baseline.distance(statistic, a[None], b[None])[0]
    assert found == pytest.approx(expected, rel=1e-9 if most > 90 else 0.05)


def test_curves_pool_as_ratios_of_sums() -> None:
    statistic = baseline.scalar(np.array([1.0, 6.0]), "px", denominator=np.array([1.0, 2.0]))
    assert baseline.pool(statistic, np.array([[1.0, 1.0], [1.0, 0.0]])).ravel().tolist() == [7 / 3, 1]


def test_halves_share_no_group_and_have_one_size() -> None:
    groups = np.repeat(np.array(["a", "b", "c", "d", "e"]), [7, 3, 5, 6, 9])
    plan = baseline.plan_splits(groups, 11, splits=12, resamples=24)
    for a, b, g in zip(plan.real, plan.other, plan.generated):
        assert not set(groups[a[:30] > 0]) & set(groups[b[:30] > 0])
        assert a[30:].sum() == b[30:].sum() == g[:30].sum() == 0
    for chosen in (plan.real, plan.other, plan.generated):
        assert {int(row.sum()) for row in chosen} == {plan.size}
    for times in plan.times:
        assert all(len(set(times[:30][groups == name])) == 1 for name in "abcde")
    assert plan.groups == 5


def test_generated_tiles_bound_the_size() -> None:
    assert baseline.plan_splits(np.arange(100), 20).size == 20
    assert baseline.plan_splits(np.arange(100), 900).size == 50
    assert baseline.plan_splits(np.zeros(10), 900).groups == 10
    with pytest.raises(UserError) as error:
        baseline.plan_splits(np.arange(3), 10)
    assert error.value.where == "groups"


def test_real_against_real_stays_at_one() -> None:
    """The interval holds 1 in 95 % of trials, for curves, single numbers and distributions alike."""
    trials, tiles, inside, ratios = 100, 60, np.zeros(3), np.zeros(3)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        values, tile = uneven(rng, 2 * tiles)
        curves = np.cumsum(rng.normal(0, 1, (2 * tiles, 12)), axis=1)
        plan = baseline.plan_splits(np.arange(tiles), tiles, seed=trial, splits=8, resamples=80)
        for n, statistic in enumerate(
            (
                baseline.distribution(values, tile, 2 * tiles, "px", "px"),
                baseline.curve(curves, np.arange(12), "1", "px"),
                baseline.scalar(curves[:, 3], "1"),
            )
        ):
            found = baseline.compare(statistic, plan)
            inside[n] += found.interval[0] <= 1 <= found.interval[1]
            ratios[n] += found.ratio / trials
    assert (inside >= 95).all(), inside
    np.testing.assert_allclose(ratios, 1, atol=0.15)


def test_a_shift_is_seen_and_grows() -> None:
    rng = np.random.default_rng(0)
    base, tile = uneven(rng, 400)
    ratios = []
    for shift in (0.0, 0.5, 1.0, 2.0):
        values = np.where(tile >= 200, base + shift, base)
        statistic = baseline.distribution(values, tile, 400, "px", "px")
        found = baseline.compare(statistic, baseline.plan_splits(np.arange(200), 200))
        assert found.interval[0] <= found.ratio <= found.interval[1]
        assert (found.interval[0] > 1) == (shift > 0)
        ratios.append(found.ratio)
    assert ratios == sorted(ratios)
    assert found.value == pytest.approx(2.0, abs=0.3)


def test_groups_widen_the_baseline() -> None:
    """Tiles of one scan are alike, so that scans, not tiles, must be split."""
    rng = np.random.default_rng(0)
    scan = np.repeat(np.arange(6), 20)
    level = np.concatenate([rng.normal(0, 1, 6)[scan], np.zeros(120)]) + rng.normal(0, 0.1, 240)
    statistic = baseline.scalar(level, "1")
    together = baseline.compare(statistic, baseline.plan_splits(scan, 120))
    apart = baseline.compare(statistic, baseline.plan_splits(np.arange(120), 120))
    assert together.baseline > 3 * apart.baseline


def test_what_never_occurs_has_no_comparison_and_what_never_varies_no_spread() -> None:
    plan = baseline.plan_splits(np.arange(8), 8)
    assert baseline.compare(baseline.scalar(np.ones(16), "1", denominator=np.zeros(16)), plan) is None
    nothing = baseline.distribution(np.zeros(0), np.zeros(0, int), 16, "px", "px")
    assert baseline.compare(nothing, plan) is None
    same = baseline.compare(baseline.scalar(np.ones(16), "1"), plan)
    assert (same.value, same.baseline, same.ratio) == (0, 0, 1)
    other = baseline.compare(baseline.scalar(np.repeat([1.0, 2.0], 8), "1"), plan)
    assert (other.value, other.baseline, other.ratio) == (1, 0, float("inf"))
    assert other.interval[0] > 1
    rare = baseline.scalar(np.repeat([0.0, 1.0], [14, 2]), "1")
    assert baseline.chance(rare, plan) == pytest.approx(8 / 16 * 7 / 15)
    assert baseline.compare(rare, plan).interval == (1, float("inf"))
