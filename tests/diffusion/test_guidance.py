import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion.guidance import autoguide, guide, hide_conditions, noise_level
from microgen_jax.diffusion.process import convert
from microgen_jax.diffusion.schedules import at, make_schedule
from microgen_jax.errors import UserError
from microgen_jax.types import Condition

SCHEDULE = make_schedule("linear")
COND = Condition(jnp.array([0, 1, 2]), jnp.array([[0.5, 1.0], [2.0, jnp.nan], [-1.0, 0.0]]))
XT = jax.random.normal(jax.random.key(0), (3, 2, 4, 1))
T = jnp.array([10, 500, 990])


def told(xt, t, cond):
    """Depends on everything it is told; NaN and no class count as zero."""
    label = jnp.where(cond.label == 3, 0, cond.label + 1).astype(jnp.float32)
    shift = label + jnp.nansum(cond.value, axis=1) + t.astype(jnp.float32) / 1000
    return xt * 0.5 + shift[:, None, None, None] * jnp.sin(xt)


def untold(xt, t, cond):
    return told(xt, t, Condition(jnp.full_like(cond.label, 3), jnp.full_like(cond.value, jnp.nan)))


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, 7.5])
def test_guidance_is_the_published_sum(scale):
    with_cond, without = told(XT, T, COND), untold(XT, T, COND)
    guided = guide(told, SCHEDULE, 3, scale=scale)(XT, T, COND)
    np.testing.assert_allclose(guided, without + scale * (with_cond - without), atol=1e-5)


def test_guidance_calls_the_network_once_and_scale_1_leaves_it_alone():
    shapes = []

    def look(xt, t, cond):
        shapes.append((xt.shape[0], t.shape[0], cond.label.shape[0], cond.value.shape[0]))
        return told(xt, t, cond)

    guide(look, SCHEDULE, 3, scale=2.0)(XT, T, COND)
    assert shapes == [(6, 6, 6, 6)]
    assert guide(look, SCHEDULE, 3, scale=1.0) is look


def test_guidance_is_the_same_whichever_is_predicted():
    alpha, sigma = at(SCHEDULE.alpha, T, XT), at(SCHEDULE.sigma, T, XT)

    def told_v(xt, t, cond):
        alpha, sigma = (at(table, t, xt) for table in (SCHEDULE.alpha, SCHEDULE.sigma))
        return convert("eps", "v", told(xt, t, cond), xt, alpha, sigma)

    eps = guide(told, SCHEDULE, 3, scale=3.0)(XT, T, COND)
    v = guide(told_v, SCHEDULE, 3, scale=3.0)(XT, T, COND)
    np.testing.assert_allclose(convert("v", "eps", v, XT, alpha, sigma), eps, atol=1e-4)


def test_guidance_holds_inside_its_interval_only():
    level = np.asarray(noise_level(SCHEDULE, T))
    np.testing.assert_allclose(level, (SCHEDULE.sigma / SCHEDULE.alpha)[np.asarray(T)], rtol=1e-4)
    assert level[0] < 0.2 < level[1] < 20 < level[2]
    guided = guide(told, SCHEDULE, 3, scale=2.0, interval=(0.2, 20.0))(XT, T, COND)
    everywhere = guide(told, SCHEDULE, 3, scale=2.0)(XT, T, COND)
    plain = told(XT, T, COND)
    np.testing.assert_allclose(guided[1], everywhere[1], rtol=1e-6)
    np.testing.assert_allclose(guided[::2], plain[::2], atol=1e-6)
    assert jnp.abs(everywhere - plain).max() > 0.1


def test_noise_level_between_times_lies_between():
    levels = np.asarray(noise_level(SCHEDULE, jnp.array([4.0, 4.5, 5.0])))
    np.testing.assert_allclose(levels[1] ** 2, levels[0] * levels[2], rtol=1e-5)


def test_rescaling_gives_the_standard_deviation_back():
    plain = told(XT, T, COND)
    guided = guide(told, SCHEDULE, 3, scale=5.0)(XT, T, COND)
    rescaled = guide(told, SCHEDULE, 3, scale=5.0, rescale=1.0)(XT, T, COND)
    half = guide(told, SCHEDULE, 3, scale=5.0, rescale=0.5)(XT, T, COND)
    axes = (1, 2, 3)
    np.testing.assert_allclose(rescaled.std(axes), plain.std(axes), rtol=1e-4)
    np.testing.assert_allclose(half, (guided + rescaled) / 2, atol=1e-5)


def test_autoguidance_leaves_the_weak_model_behind():
    strong, weak = (lambda xt, t, cond: 2 * xt), (lambda xt, t, cond: xt)
    np.testing.assert_allclose(autoguide(strong, weak, scale=3.0)(XT, T, COND), 4 * XT, rtol=1e-6)


def test_conditions_are_hidden_at_the_asked_rate_together_and_apart():
    count = 20_000
    cond = Condition(jnp.ones(count, jnp.int32), jnp.ones((count, 2)))
    hidden = hide_conditions(jax.random.key(0), cond, 3, 0.2)
    gone = np.stack([hidden.label == 3, *np.isnan(hidden.value).T])
    np.testing.assert_allclose(gone.mean(1), 0.2, atol=0.015)
    q = 1 - np.sqrt(0.8)
    np.testing.assert_allclose(gone.all(0).mean(), q + (1 - q) * q**3, atol=0.01)
    assert np.all(np.asarray(hidden.label)[~gone[0]] == 1)


def test_hiding_depends_on_the_row_alone():
    cond = Condition(jnp.ones(64, jnp.int32), jnp.ones((64, 1)))
    part = Condition(cond.label[10:20], cond.value[10:20])
    whole = hide_conditions(jax.random.key(0), cond, 3, 0.5)
    some = hide_conditions(jax.random.key(0), part, 3, 0.5, rows=jnp.arange(10, 20))
    np.testing.assert_array_equal(some.label, whole.label[10:20])
    np.testing.assert_array_equal(some.value, whole.value[10:20])


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_and_everything_can_be_hidden(rate):
    hidden = hide_conditions(jax.random.key(0), COND, 3, rate)
    np.testing.assert_array_equal(hidden.label, jnp.full(3, 3) if rate else COND.label)
    np.testing.assert_array_equal(hidden.value, jnp.full((3, 2), jnp.nan) if rate else COND.value)


def test_refusals():
    with pytest.raises(UserError, match=r"^guidance: "):
        guide(told, SCHEDULE, 3, scale=-1.0)
    with pytest.raises(UserError, match=r"^guidance: "):
        autoguide(told, told, scale=float("inf"))
    with pytest.raises(UserError, match=r"^condition_dropout: "):
        hide_conditions(jax.random.key(0), COND, 3, 1.1)
