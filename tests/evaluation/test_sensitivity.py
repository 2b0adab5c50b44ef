"""The small form of the sensitivity table: each fault raises the ratio of the statistic named beforehand."""

import pytest

from tests.benchmarks.sensitivity import FAULTS, covered, rise


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FAULTS))
def test_the_ratio_rises_with_the_fault(name: str) -> None:
    fault = FAULTS[name]
    found = rise(fault, 60, 32, (fault.seen_by,))[fault.seen_by]
    ratios = [compared.ratio for compared in found]
    assert ratios == sorted(ratios)
    assert found[-1].interval[0] > 1


@pytest.mark.slow
def test_real_against_real_stays_within_its_interval() -> None:
    shares = covered(30, 20, 32)
    assert len(shares) > 20
    assert sum(shares.values()) / len(shares) >= 0.97
    assert min(shares.values()) >= 0.9
