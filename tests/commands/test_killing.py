"""The short form of the kill harness."""

import pytest

from tests.benchmarks import killing


@pytest.mark.slow
def test_killed_runs_end_with_the_undisturbed_bits():
    outcomes = killing.killing(kills=3, writes=2, terms=1, seed=1)
    assert [outcome.identical for outcome in outcomes] == [True] * 4
    assert 0 < outcomes[-1].saving <= killing.LONGEST
    assert outcomes[-1].seconds < 30
