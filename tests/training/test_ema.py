"""Power-function averages: their profile, and the making of new ones from stored ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.errors import UserError
from microgen_jax.training import ema


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.25])
def test_the_exponent_has_the_width(width):
    g = ema.exponent(width)
    assert (g + 1) / ((g + 2) ** 2 * (g + 3)) == pytest.approx(width**2)


def test_published_exponents():  # EDM2, section 3.1
    assert ema.exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert ema.exponent(0.10) == pytest.approx(6.94, abs=0.01)


@pytest.mark.parametrize("width", [0.0, -1.0, 0.3, float("nan")])
def test_a_width_that_cannot_be_is_refused(width):
    with pytest.raises(UserError) as error:
        ema.exponent(width)
    assert error.value.where == "width"


def path(steps: int) -> np.ndarray:
    """Parameters along a run: a drift, a bend and some noise."""
    t = np.arange(1, steps + 1) / steps
    noise = np.random.default_rng(0).normal(0, 0.05, (steps, 3))
    return (np.stack([t, np.sqrt(t), np.sin(5 * t)], axis=1) + noise).astype(np.float32)


def run(theta: np.ndarray, width: float) -> np.ndarray:
    """The average after each update."""

    def body(average, now):
        average = ema.update(average, now[0], width, now[1])
        return average, average

    steps = jnp.arange(1, len(theta) + 1)
    return np.asarray(jax.lax.scan(body, jnp.zeros(3), (jnp.asarray(theta), steps))[1])


def test_the_recursion_has_the_profile():
    theta, width = path(1000), 0.1
    g = ema.exponent(width)
    edges = (np.arange(1001) / 1000) ** (g + 1)
    np.testing.assert_allclose(run(theta, width)[-1], np.diff(edges) @ theta, atol=1e-5)


@pytest.mark.parametrize("wanted", [0.06, 0.09, 0.15])
def test_any_width_is_made_from_snapshots_of_two(wanted):
    theta = path(1000)
    steps = range(50, 1001, 50)
    stored = [(width, step) for width in (0.05, 0.1) for step in steps]
    traces = {width: run(theta, width) for width in (0.05, 0.1)}
    x = ema.coefficients([w for w, _ in stored], [s for _, s in stored], wanted, 1000)
    made = sum(weight * traces[width][step - 1] for weight, (width, step) in zip(x, stored))
    exact = run(theta, wanted)[-1]
    assert x.sum() == pytest.approx(1, abs=0.01)
    assert np.abs(made - exact).max() < 5e-3
    assert np.abs(traces[0.05][-1] - exact).max() > 4 * np.abs(made - exact).max()


def test_a_stored_average_is_itself():
    x = ema.coefficients([0.05, 0.1, 0.1], [500, 500, 1000], 0.1, 1000)
    np.testing.assert_allclose(x, [0, 0, 1], atol=1e-6)


@pytest.mark.parametrize(("steps", "wanted"), [((1000,), 0.08), ((900, 950, 1000), 0.2), ((500, 1000), 0.01)])
def test_few_snapshots_leave_the_size_of_the_parameters(steps, wanted):
    profiles = [0.05, 0.1] * len(steps), [step for step in steps for _ in range(2)], wanted, 1000
    assert ema.coefficients(*profiles).sum() == pytest.approx(1, abs=1e-9)


def test_the_misfit_is_that_of_the_profiles():
    profiles = [0.05, 0.1, 0.05, 0.1], [900, 900, 1000, 1000], 0.2, 1000
    x = ema.coefficients(*profiles)
    edges = np.arange(100_001) / 100_000 * 1000
    ends = [np.minimum(edges / t, 1) ** (ema.exponent(w) + 1) for w, t in zip(*profiles[:2])]
    wanted = np.diff((edges / 1000) ** (ema.exponent(0.2) + 1))
    off = sum(weight * np.diff(end) for weight, end in zip(x, ends)) - wanted
    expected = np.sqrt(np.sum(off**2) / np.sum(wanted**2))
    assert ema.misfit(x, *profiles) == pytest.approx(expected, rel=1e-3)
    assert expected > 0.2
    stored = [0.05, 0.1], [1000, 1000], 0.1, 1000
    assert ema.misfit(ema.coefficients(*stored), *stored) < 1e-6
