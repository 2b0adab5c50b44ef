from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.process import (
    PREDICTIONS,
    convert,
    diffuse,
    from_logits,
    require_prediction,
    target,
)
from microgen_jax.diffusion.schedules import SCHEDULES, at, make_schedule
from microgen_jax.errors import UserError
from tests.diffusion.gaussians import NO_CONDITION

PAIRS = list(product(PREDICTIONS, PREDICTIONS))


def everything_at_every_time(schedule, dtype):
    """x0, eps, xt and the three targets at t = 0..T-1, one example each."""
    rng = np.random.default_rng(0)
    t = jnp.arange(schedule.timesteps)
    x0 = jnp.asarray(rng.uniform(-1, 1, (t.size, 2, 2, 1)), dtype)
    eps = jnp.asarray(rng.standard_normal(x0.shape), dtype)
    xt = diffuse(schedule, x0, eps, t)
    alpha, sigma = at(schedule.alpha, t, x0), at(schedule.sigma, t, x0)
    return xt, alpha, sigma, {p: target(p, schedule, x0, eps, t) for p in PREDICTIONS}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("source", "to"), PAIRS)
def test_every_conversion_gives_its_target_and_comes_back_float64(name, source, to):
    with jax.enable_x64(True):
        xt, alpha, sigma, targets = everything_at_every_time(make_schedule(name), jnp.float64)
        there = convert(source, to, targets[source], xt, alpha, sigma)
        back = convert(to, source, there, xt, alpha, sigma)
        np.testing.assert_allclose(there, targets[to], atol=1e-9)
        np.testing.assert_allclose(back, targets[source], atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("source", "to"), PAIRS)
def test_every_conversion_comes_back_float32(name, source, to):
    xt, alpha, sigma, targets = everything_at_every_time(make_schedule(name), jnp.float32)
    there = convert(source, to, targets[source], xt, alpha, sigma)
    back = convert(to, source, there, xt, alpha, sigma)
    assert there.dtype == jnp.float32
    tolerance = 1e-5 / jnp.minimum(alpha, sigma)
    assert jnp.all(jnp.abs(there - targets[to]) <= tolerance)
    assert jnp.all(jnp.abs(back - targets[source]) <= tolerance)


@pytest.mark.parametrize(("source", "to"), [pair for pair in PAIRS if "eps" not in pair])
def test_x0_and_v_convert_at_zero_snr_too(source, to):
    schedule = make_schedule("linear", zero_terminal_snr=True)
    with jax.enable_x64(True):
        xt, alpha, sigma, targets = everything_at_every_time_but_eps(schedule)
        there = convert(source, to, targets[source], xt, alpha, sigma)
        np.testing.assert_allclose(convert(to, source, there, xt, alpha, sigma), targets[source], atol=1e-9)
        np.testing.assert_allclose(there, targets[to], atol=1e-9)


def everything_at_every_time_but_eps(schedule):
    rng = np.random.default_rng(0)
    x0, eps = rng.uniform(-1, 1, (1000, 1, 1, 1)), rng.standard_normal((1000, 1, 1, 1))
    t = jnp.arange(schedule.timesteps)
    x0, eps = jnp.asarray(x0), jnp.asarray(eps)
    targets = {p: target(p, schedule, x0, eps, t) for p in ("x0", "v")}
    return diffuse(schedule, x0, eps, t), at(schedule.alpha, t, x0), at(schedule.sigma, t, x0), targets


def test_logits_become_x0():
    logits = jnp.linspace(-5, 5, 11).reshape(1, 11, 1, 1)
    x0 = from_logits(lambda xt, t, cond: xt)(logits, jnp.zeros(1, jnp.int32), NO_CONDITION)
    np.testing.assert_allclose(x0, 2 * jax.nn.sigmoid(logits) - 1, atol=1e-6)


def test_refusals():
    schedule = make_schedule("linear", 10)
    with pytest.raises(UserError, match=r"^prediction: .*epsilon"):
        require_prediction("epsilon", schedule)
    with pytest.raises(UserError, match=r"^prediction: .*zero terminal SNR"):
        require_prediction("eps", make_schedule("linear", 10, zero_terminal_snr=True))
    with pytest.raises(UserError, match=r"^prediction: .*score"):
        convert("eps", "score", *[jnp.zeros(())] * 4)
