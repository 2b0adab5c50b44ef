import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.spacing import make_levels
from microgen_jax.errors import UserError

LINEAR = make_schedule("linear")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_kept_times_fall_and_begin_where_they_should(timesteps, data):
    steps = data.draw(st.integers(1, timesteps))
    schedule = make_schedule("linear", timesteps)
    for spacing in ("trailing", "linspace", "leading"):
        levels = make_levels(schedule, steps, spacing)
        t = levels.t[:-1]
        assert t.size == steps
        assert np.all(np.diff(t) < 0)
        assert t[-1] >= 0
        assert (levels.alpha[-1], levels.sigma[-1]) == (1, 0)
        np.testing.assert_array_equal(levels.alpha[:-1], schedule.alpha[t])
        if spacing != "leading":
            assert t[0] == timesteps - 1
        if spacing != "trailing" and steps > 1:
            assert t[-1] == 0


def test_known_times():
    assert make_levels(LINEAR, 4, "trailing").t.tolist() == [999, 749, 499, 249, 0]
    assert make_levels(LINEAR, 4, "linspace").t.tolist() == [999, 666, 333, 0, 0]
    assert make_levels(LINEAR, 4, "leading").t.tolist() == [750, 500, 250, 0, 0]


def test_karras_levels_are_even_in_their_seventh_root_and_know_their_times():
    levels = make_levels(LINEAR, 20, "karras")
    ratio = levels.sigma[:-1] / levels.alpha[:-1]
    np.testing.assert_allclose(np.diff(ratio ** (1 / 7), 2), 0, atol=1e-12)
    np.testing.assert_allclose(ratio[[0, -1]], (LINEAR.sigma / LINEAR.alpha)[[-1, 0]])
    np.testing.assert_allclose(levels.alpha**2 + levels.sigma**2, 1)
    whole = np.round(levels.t[:-1]).astype(int)
    before, after = np.maximum(whole - 1, 0), np.minimum(whole + 1, 999)
    log_snr = -2 * np.log(ratio)
    assert np.all((LINEAR.log_snr[after] <= log_snr + 1e-9) & (log_snr - 1e-9 <= LINEAR.log_snr[before]))


def test_refusals():
    zero = make_schedule("linear", zero_terminal_snr=True)
    for schedule, steps, spacing, where in [
        (LINEAR, 0, "trailing", "steps"),
        (LINEAR, 1001, "karras", "steps"),
        (LINEAR, 10, "trail", "spacing"),
        (zero, 10, "leading", "spacing"),
        (zero, 10, "karras", "spacing"),
    ]:
        with pytest.raises(UserError, match=f"^{where}: "):
            make_levels(schedule, steps, spacing)
