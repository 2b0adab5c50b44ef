"""Two stages: trained in one step, generated one given the other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.diffusion import Sampling
from microgen_jax.methods import DDPM, Cascade
from microgen_jax.types import Batch, Condition

from .test_ddpm import ddpm


def small(given_channels: int = 0, **changes) -> DDPM:
    levels = {"channels": (8,), "attention_levels": (False,), "remat": (False,)}
    unet = dataclasses.replace(ddpm().unet, given_channels=given_channels, **levels)
    return ddpm(unet=unet, sampling=Sampling("ddim", 4), **changes)


def cascade(**changes) -> Cascade:
    return Cascade((("first", small(**changes)), ("second", small(1, **changes))))


def images(rows: int, key: int = 0) -> Batch:
    """The first channel is black or white, and the second is its opposite; neither follows the label."""
    sign = np.random.default_rng(key).choice([-1.0, 1.0], (rows, 1, 1, 1))
    image = np.broadcast_to(np.concatenate([sign, -sign], axis=-1), (rows, 8, 8, 2)).astype(np.float32)
    return Batch(image, np.zeros(rows, np.int32), np.zeros((rows, 1), np.float32))


def condition(rows: int) -> Condition:
    return Condition(jnp.zeros(rows, jnp.int32), jnp.zeros((rows, 1)))


@pytest.fixture(scope="module")
def learnt():
    method = cascade(given_noise=0.2)
    step, state = jax.jit(method.train_step), jax.jit(method.init)(jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
        for n in range(120):
            state, metrics = step(state, images(16, n), jax.random.fold_in(jax.random.key(1), n))
    return method, state, metrics


def test_the_second_stage_follows_what_it_is_given(learnt):
    method, state, _ = learnt
    given = jnp.broadcast_to(jnp.array([1.0, -1.0, 1.0, -1.0])[:, None, None, None], (4, 8, 8, 1))
    second = method.stages[1][1]
    found = jax.jit(second.generate)(
        state.ema_params["second"], jax.random.split(jax.random.key(2), 4), condition(4), None, given
    )
    np.testing.assert_array_equal(np.sign(np.asarray(found.mean(axis=(1, 2, 3)))), [-1, 1, -1, 1])


def test_guidance_gives_both_halves_the_same_channels(learnt):
    """One class and no values: with and without the condition differ only by what the network makes of them."""
    method, state, _ = learnt
    second = method.stages[1][1]
    given = jnp.asarray(images(3).image[..., :1])
    keys = jax.random.split(jax.random.key(3), 3)
    null = Condition(jnp.full(3, 2, jnp.int32), jnp.full((3, 1), jnp.nan))
    guided = dataclasses.replace(second, sampling=Sampling("ddim", 4, guidance=2.0))
    params = state.ema_params["second"]
    np.testing.assert_allclose(
        jax.jit(guided.generate)(params, keys, null, None, given),
        jax.jit(second.generate)(params, keys, null, None, given),
        atol=1e-4,
    )


def test_losses_are_sums_over_the_stages(learnt):
    method, state, metrics = learnt
    np.testing.assert_allclose(metrics["loss"], metrics["loss/first"] + metrics["loss/second"], rtol=1e-6)
    sums = jax.jit(method.eval_step)(state, images(6), jnp.ones(6), jnp.arange(6))
    np.testing.assert_allclose(
        sums["heldout_loss"], sums["heldout_loss/first"] + sums["heldout_loss/second"], rtol=1e-6
    )
    assert metrics["finite_layers"].shape == (2,)
    assert int(state.step) == 120


@pytest.mark.slow
def test_a_stage_is_trained_as_it_would_be_alone():
    """Same batch, same key: the first stage of a cascade takes the update that the model takes by itself."""
    method, batch = cascade(), images(8)
    state = jax.jit(method.init)(jax.random.key(0))
    alone = small().init(jax.random.split(jax.random.key(0), 2)[0])
    with jax.numpy_dtype_promotion("standard"):
        state, metrics = jax.jit(method.train_step)(state, batch, jax.random.key(1))
        alone, expected = jax.jit(small().train_step)(
            alone, batch._replace(image=batch.image[..., :1]), jax.random.split(jax.random.key(1), 2)[0]
        )
    np.testing.assert_allclose(metrics["loss/first"], expected["loss"], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params["first"], alone.params
    )
