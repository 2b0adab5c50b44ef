"""The redesign changed no number: losses and samples are those stored from before it."""

import numpy as np
import pytest

from tests.witness import witness


@pytest.mark.slow
@pytest.mark.parametrize("case", witness.CASES)
def test_numbers_are_those_of_before_the_redesign(case, tmp_path):
    now = witness.measure(witness.ROOT, case, tmp_path)
    with np.load(witness.STORED) as stored:
        before = {name.removeprefix(f"{case}/"): stored[name] for name in stored if name.startswith(case)}
    assert before.keys() == now.keys()
    levels = np.abs(before.pop("images").astype(int) - now["images"].astype(int))
    assert np.mean(levels <= 1) >= 0.999
    for name, losses in before.items():
        scale = np.abs(losses).max()
        np.testing.assert_allclose(now[name] / scale, losses / scale, rtol=1e-3, atol=1e-3, err_msg=name)
