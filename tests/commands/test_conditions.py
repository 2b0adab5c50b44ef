"""Conditions as a person asks for them."""

import numpy as np
import pytest

from microgen_jax.config.run_config import Resolved
from microgen_jax.errors import UserError
from microgen_jax.sampling.generator import standardise

RESOLVED = Resolved(
    ("all",), ("grain_diameter", "strain"), (10.0, 1.0), (2.0, 0.5), 3, "list", "0", (6.0, 0.0), (15.0, 2.0)
)


def test_values_are_standardised_and_what_is_left_out_is_not_given(capsys):
    np.testing.assert_allclose(standardise(RESOLVED, {"grain_diameter": 12}, 0.1), [1.0, np.nan])
    np.testing.assert_allclose(standardise(RESOLVED, {"strain": 0.0, "grain_diameter": 6}, 0.0), [-2.0, -2.0])
    numpy_s = {"grain_diameter": np.float32(12), "strain": np.int64(1)}
    np.testing.assert_allclose(standardise(RESOLVED, numpy_s, 0.1), [1.0, 0.0])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("asked", [15.01, 5.9, -1e9])
def test_outside_the_trained_range_is_warned_of_and_done(capsys, asked):
    assert standardise(RESOLVED, {"grain_diameter": asked}, 0.1)[0] == pytest.approx((asked - 10) / 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: condition grain_diameter=")
    assert "6 to 15" in line


@pytest.mark.parametrize(
    ("condition", "dropout", "words"),
    [
        ({"grain_diametr": 12}, 0.1, "did you mean grain_diameter"),
        ({"grain_diameter": float("nan")}, 0.1, "finite"),
        ({"grain_diameter": float("inf")}, 0.1, "finite"),
        ({"grain_diameter": "12"}, 0.1, "finite number"),
        ({"grain_diameter": True}, 0.1, "finite number"),
        ({"grain_diameter": 12}, 0.0, "'strain' is missing"),
    ],
)
def test_is_refused(condition, dropout, words):
    with pytest.raises(UserError, match=words):
        standardise(RESOLVED, condition, dropout)
