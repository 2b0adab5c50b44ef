from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.diffusion.process import convert
from microgen_jax.diffusion.samplers import SAMPLERS, make_sampler
from microgen_jax.diffusion.samplers.generate import make_predict
from microgen_jax.diffusion.samplers.scan import Chain, run_scan
from microgen_jax.diffusion.schedules import make_schedule
from microgen_jax.diffusion.spacing import NoiseLevels, make_levels
from microgen_jax.errors import UserError
from tests.diffusion.gaussians import NO_CONDITION, alpha_sigma, ancestral_moments, gaussian_x0, large, small

MEAN, STD = 0.3, 0.5


def run(sampler, levels, noise, schedule, prediction="eps", eta=0.0):
    """All states [n+1, pixels] from noise [n+1, pixels], float64, for Gaussian data and its best denoiser."""

    def denoise(xt, t, cond):
        alpha, sigma = alpha_sigma(schedule, t, xt.dtype)
        x0 = gaussian_x0(xt, alpha, sigma, MEAN, STD)
        return convert("x0", prediction, x0, xt, alpha, sigma)

    with jax.enable_x64(True):
        noise = jnp.asarray(noise, jnp.float64)[:, None, None, :, None]
        predict = make_predict(denoise, NO_CONDITION, prediction, None)
        chain = Chain(make_sampler(sampler, eta), predict, levels, lambda k: noise[k])
        states = jax.jit(lambda: run_scan(chain, len(levels.t))[1])()
    return np.asarray(states)[:, 0, 0, :, 0]


def moments(sampler, levels, schedule, eta=0.0):
    """Mean and variance of every state, exactly: the chain is affine, so its response to each noise says all."""
    draws = len(levels.t)
    responses = run(sampler, levels, np.eye(draws, draws + 1, 1), schedule, eta=eta)
    mean = responses[:, 0]
    return mean, np.sum((responses[:, 1:] - mean[:, None]) ** 2, axis=1)


def ddim_recursion(schedule, t, eta):
    """The same of Song et al. 2021, eqs. 12 and 16."""
    mean, variance = [0.0], [1.0]
    for now, after in zip(t, [*t[1:], None]):
        ab, ab_s = schedule.alpha_bar[now], 1.0 if after is None else schedule.alpha_bar[after]
        std = eta * np.sqrt((1 - ab_s) / (1 - ab) * (1 - ab / ab_s))
        gain = np.sqrt(ab) * STD**2 / (ab * STD**2 + 1 - ab)
        ahead = np.sqrt(1 - ab_s - std**2) / np.sqrt(1 - ab)
        slope = np.sqrt(ab_s) * gain + ahead * (1 - np.sqrt(ab) * gain)
        offset = (np.sqrt(ab_s) - ahead * np.sqrt(ab)) * (1 - gain * np.sqrt(ab)) * MEAN
        mean.append(slope * mean[-1] + offset)
        variance.append(slope**2 * variance[-1] + std**2)
    return mean, variance


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(1, "trailing"), (50, "trailing"), (37, "linspace"), (64, "leading")]
)
@pytest.mark.parametrize("sampler", ["ancestral", "ancestral_large"])
def test_ancestral_moments_follow_the_chain(name, steps, spacing, sampler):
    schedule = make_schedule(name)
    levels = make_levels(schedule, steps, spacing)
    expected = ancestral_moments(
        schedule, levels.t[:-1], MEAN, STD, small if sampler == "ancestral" else large
    )
    np.testing.assert_allclose(moments(sampler, levels, schedule), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(1, "trailing"), (50, "trailing"), (37, "linspace"), (64, "leading")]
)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_moments_follow_the_chain(name, steps, spacing, eta):
    schedule = make_schedule(name)
    levels = make_levels(schedule, steps, spacing)
    expected = ddim_recursion(schedule, levels.t[:-1], eta)
    np.testing.assert_allclose(moments("ddim", levels, schedule, eta), expected, rtol=1e-7, atol=1e-10)


def test_moments_follow_the_chain_over_all_1000_times():
    schedule = make_schedule("linear")
    levels = make_levels(schedule, 1000, "trailing")
    mean, variance = moments("ancestral", levels, schedule)
    expected = ancestral_moments(schedule, levels.t[:-1], MEAN, STD, small)
    np.testing.assert_allclose([mean, variance], expected, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose([mean[-1], np.sqrt(variance[-1])], [MEAN, STD], rtol=0.01)


@settings(max_examples=5, deadline=None)
@given(
    st.sets(st.integers(0, 199), min_size=1, max_size=30),
    st.sampled_from(["eps", "x0", "v"]),
    st.integers(0, 2**32 - 1),
)
def test_ddim_with_eta_1_is_ancestral_on_any_kept_times(kept, prediction, seed):
    schedule = make_schedule("cosine", 200)
    t = np.sort(list(kept))[::-1]
    levels = NoiseLevels(
        np.append(t, 0).astype(np.int32), np.append(schedule.alpha[t], 1), np.append(schedule.sigma[t], 0)
    )
    noise = np.random.default_rng(seed).standard_normal((t.size + 1, 4))
    ancestral = run("ancestral", levels, noise, schedule, prediction)
    np.testing.assert_allclose(
        run("ddim", levels, noise, schedule, prediction, eta=1.0), ancestral, atol=1e-8
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_prediction_makes_no_difference(sampler):
    schedule = make_schedule("linear")
    noise = np.random.default_rng(0).standard_normal((11, 8))
    levels = make_levels(schedule, 10, "trailing")
    eps, x0, v = (run(sampler, levels, noise, schedule, p) for p in ("eps", "x0", "v"))
    np.testing.assert_allclose(x0, eps, atol=1e-9)
    np.testing.assert_allclose(v, eps, atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_pure_noise_is_a_good_start_at_zero_terminal_snr(sampler, prediction):
    schedule = make_schedule("cosine", zero_terminal_snr=True)
    levels = make_levels(schedule, 100, "trailing")

    def denoise(xt, t, cond):
        t = t.astype(jnp.int32)
        alpha = jnp.asarray(schedule.alpha)[t][:, None, None, None]
        sigma = jnp.asarray(schedule.sigma)[t][:, None, None, None]
        x0 = gaussian_x0(xt, alpha, sigma, MEAN, STD)
        return x0 if prediction == "x0" else (alpha * xt - x0) / sigma

    with jax.enable_x64(True):
        noise = jax.random.normal(jax.random.key(0), (101, 1, 1, 4000, 1))
        predict = make_predict(denoise, NO_CONDITION, prediction, None)
        chain = Chain(make_sampler(sampler), predict, levels, lambda k: noise[k])
        x0 = jax.jit(lambda: run_scan(chain)[0])()
    x0 = np.asarray(x0)
    np.testing.assert_allclose(x0.mean(), MEAN, atol=0.05)
    np.testing.assert_allclose(x0.std(), STD, rtol=0.1)


def test_euler_on_y_over_r_is_ddim():
    """Karras et al. 2022, algorithm 1, written in y = x / alpha and r = sigma / alpha."""
    schedule = make_schedule("linear")
    levels = make_levels(schedule, 12, "karras")
    noise = np.random.default_rng(0).standard_normal((13, 5))
    states = run("euler", levels, noise, schedule)
    y, r = states / levels.alpha[:, None], levels.sigma / levels.alpha
    for k in range(12):
        x0 = gaussian_x0(states[k], levels.alpha[k], levels.sigma[k], MEAN, STD)
        np.testing.assert_allclose(
            y[k + 1], y[k] + (r[k + 1] - r[k]) * (y[k] - x0) / r[k], rtol=1e-6, atol=1e-6
        )


def test_heun_calls_the_network_twice_but_on_the_last_step():
    schedule = make_schedule("linear", 20)
    levels = make_levels(schedule, 5, "trailing")
    calls = []

    def count(xt):
        calls.append(1)
        return xt

    def denoise(xt, t, cond):
        return jax.pure_callback(count, jax.ShapeDtypeStruct(xt.shape, xt.dtype), xt)

    predict = make_predict(denoise, NO_CONDITION, "eps", None)
    noise = partial(jnp.full, (1, 1, 1, 1))
    for sampler, expected in [("euler", 5), ("heun", 9)]:
        calls.clear()
        run_scan(Chain(make_sampler(sampler), predict, levels, lambda k: noise(0.5)))[0].block_until_ready()
        assert len(calls) == expected, sampler


@pytest.mark.parametrize(
    ("sampler", "eta", "where"), [("dimm", 0.0, "sampler"), ("ddim", 1.5, "eta"), ("ancestral", 0.5, "eta")]
)
def test_refusals(sampler, eta, where):
    with pytest.raises(UserError) as error:
        make_sampler(sampler, eta)
    assert error.value.where == where
