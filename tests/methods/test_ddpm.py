"""The method as a whole: it learns, it evaluates by row, it samples by key."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from microgen_jax.diffusion import Sampling, make_schedule, run_scan
from microgen_jax.methods import DDPM
from microgen_jax.networks import UNet
from microgen_jax.types import Batch, Condition


def ddpm(**changes) -> DDPM:
    unet = UNet(
        out_channels=1,
        channels=(8, 8),
        blocks_per_level=1,
        attention_levels=(False, False),
        mid_attention=False,
        head_dim=8,
        norm_groups=4,
        remat=(False, False),
        num_classes=2,
        num_conditions=1,
    )
    values = {
        "unet": unet,
        "schedule": make_schedule("cosine", 20),
        "optimizer": optax.adam(5e-3),
        "learning_rate": lambda step: jnp.float32(5e-3),
        "shape": (8, 8, 1),
        "num_conditions": 1,
        "prediction": "v",
        "loss": "mse",
        "weighting": "uniform",
        "time_sampling": "stratified",
        "condition_dropout": 0.1,
        "ema_decay": 0.9,
        "accumulate": 1,
        "sampling": Sampling("ancestral", 20),
    }
    return DDPM(**(values | changes))


def images(rows: int) -> Batch:
    """Class 0 is black and class 1 is white."""
    label = np.arange(rows, dtype=np.int32) % 2
    image = np.broadcast_to((2.0 * label - 1)[:, None, None, None], (rows, 8, 8, 1)).astype(np.float32)
    return Batch(image, label, np.zeros((rows, 1), np.float32))


@pytest.fixture(scope="module")
def learnt():
    method = ddpm()
    step = jax.jit(method.train_step)
    state = jax.jit(method.init)(jax.random.key(0))
    losses = []
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
        for n in range(150):
            state, metrics = step(state, images(16), jax.random.fold_in(jax.random.key(1), n))
            losses.append(float(metrics["loss"]))
    return method, state, losses


def test_it_learns_black_and_white(learnt):
    method, state, losses = learnt
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:5])
    keys = jax.random.split(jax.random.key(5), 8)
    label = jnp.arange(8, dtype=jnp.int32) % 2
    cond = Condition(label, jnp.zeros((8, 1)))
    drawn = jax.jit(method.generate)(state.ema_params, keys, cond)
    means = np.asarray(drawn.mean(axis=(1, 2, 3)))
    assert (np.sign(means) == 2 * np.asarray(label) - 1).all()
    assert np.abs(means).min() > 0.7


def test_heldout_sum_does_not_depend_on_the_cut(learnt):
    method, state, _ = learnt
    batch, rows = images(6), np.arange(6, dtype=np.int32)
    evaluate = jax.jit(method.eval_step)
    whole = evaluate(state, batch, jnp.ones(6), jnp.asarray(rows))
    cut = [
        evaluate(
            state,
            jax.tree.map(lambda x: x[part], batch),  # noqa: B023
            jnp.float32(mask),
            jnp.asarray(rows[part]),
        )
        for part, mask in ((slice(0, 4), [1, 1, 1, 1]), (slice(2, 6), [0, 0, 1, 1]))
    ]
    np.testing.assert_allclose(whole["count"], sum(part["count"] for part in cut))
    np.testing.assert_allclose(whole["heldout_loss"], sum(part["heldout_loss"] for part in cut), rtol=1e-5)


def test_unknown_labels_and_conditions_are_taken(learnt):
    method, state, _ = learnt
    keys = jax.random.split(jax.random.key(5), 2)
    cond = Condition(jnp.full(2, 2, jnp.int32), jnp.full((2, 1), jnp.nan))
    assert bool(jnp.isfinite(method.generate(state.ema_params, keys, cond)).all())


def test_binary_images_are_drawn_from_logits():
    method = ddpm(prediction="x0", loss="bce")
    state = method.init(jax.random.key(0))
    large = jax.tree.map(lambda p: p + 3.0, state.params)
    keys = jax.random.split(jax.random.key(5), 2)
    cond = Condition(jnp.zeros(2, jnp.int32), jnp.zeros((2, 1)))
    drawn = dataclasses.replace(method, sampling=Sampling(steps=2, clip=False)).generate(large, keys, cond)
    assert float(jnp.abs(drawn).max()) <= 1.0


@pytest.mark.slow
def test_importance_sampling_learns_the_losses_of_the_times():
    method = ddpm(time_sampling="importance", accumulate=2)
    state = jax.jit(method.init)(jax.random.key(0))
    step = jax.jit(method.train_step)
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
        for k in range(30):
            state, metrics = step(state, images(16), jax.random.key(k))
    assert set(metrics) == {"loss", "grad_norm", "learning_rate", "finite_layers"}
    square_losses = np.asarray(state.extra["square_losses"])
    assert (square_losses > 0).all()
    assert np.isfinite(float(metrics["loss"]))
    plain = ddpm(accumulate=2)
    without = jax.eval_shape(plain.init, jax.random.key(0))
    assert without.extra == {}
    assert jax.tree.structure(without.opt_state) == jax.tree.structure(state.opt_state)


@pytest.mark.slow
def test_frames_end_in_the_image_and_start_in_noise(learnt):
    method, state, _ = learnt
    keys, cond = jax.random.split(jax.random.key(1), 2), Condition(jnp.zeros(2, jnp.int32), jnp.zeros((2, 1)))
    frames = jax.jit(lambda *inputs: run_scan(method.chain(*inputs), 3)[1])(state.params, keys, cond)
    drawn = jax.jit(method.generate)(state.params, keys, cond)
    np.testing.assert_allclose(frames[-1], drawn, atol=1e-4)
    assert 0.8 < float(frames[0].std()) < 1.2


@pytest.mark.slow
def test_autoguidance_by_the_same_model_changes_nothing(learnt):
    strong = learnt[1].params
    weak = jax.tree.map(lambda leaf: 0.9 * leaf, strong)
    guided = jax.jit(ddpm(sampling=Sampling("ddim", 3, guidance=2.0)).generate)
    keys, cond = jax.random.split(jax.random.key(1), 2), Condition(jnp.zeros(2, jnp.int32), jnp.zeros((2, 1)))
    plain = jax.jit(ddpm(sampling=Sampling("ddim", 3)).generate)(strong, keys, cond)
    np.testing.assert_allclose(guided(strong, keys, cond, strong), plain, atol=1e-4)
    assert float(jnp.abs(guided(strong, keys, cond, weak) - plain).max()) > 1e-3
