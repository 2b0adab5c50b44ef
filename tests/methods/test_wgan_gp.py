"""The adversarial method: the penalty's closed forms, the known distance, the toy, its watchdogs and its devices."""

import dataclasses
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from microgen_jax.methods import WGANGP
from microgen_jax.methods.wgan_gp import gradient_penalty
from microgen_jax.networks.wgan import Critic, WGANGenerator
from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import optimizer, state
from microgen_jax.types import Batch, Condition

SIZE = (8, 8)


def wgan(
    size=SIZE, channels=1, classes=0, dtype=jnp.float32, rate=1e-3, critic_rate=4e-3, **changes
) -> WGANGP:
    def schedule(step):
        return jnp.float32(rate)

    def critic_schedule(step):
        return jnp.float32(critic_rate)

    adam = {"weight_decay": 0.0, "clip_norm": 0.0, "b1": 0.5, "b2": 0.9}
    values = {
        "generator": WGANGenerator(size, channels, 8, classes, dtype),
        "critic": Critic(8, classes, dtype),
        "generator_optimizer": optimizer.adamw(schedule, **adam),
        "critic_optimizer": optimizer.adamw(critic_schedule, **adam),
        "learning_rate": schedule,
        "critic_learning_rate": critic_schedule,
        "latent_dim": 4,
        "n_critic": 2,
        "gp_weight": 10.0,
        "ema_decay": 0.9,
    }
    return WGANGP(**(values | changes))


def batch(rows: int, seed: int = 0, size=SIZE, channels=1, classes=1) -> Batch:
    rng = np.random.default_rng(seed)
    image = np.sign(rng.normal(size=(rows, *size, channels))).astype(np.float32)
    return Batch(image, np.arange(rows, dtype=np.int32) % classes, np.zeros((rows, 0), np.float32))


def relative(a, b) -> float:
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class TestPenalty:
    @pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 3.0])
    def test_of_a_linear_critic_is_its_closed_form(self, norm):
        direction = jax.random.normal(jax.random.key(0), (*SIZE, 1))
        weight = norm * direction / jnp.linalg.norm(direction)
        score = lambda y: jnp.tensordot(y, weight, 3)  # noqa: E731
        found = gradient_penalty(score, jax.random.normal(jax.random.key(1), (3, *SIZE, 1)))
        np.testing.assert_allclose(found, np.full(3, (norm - 1) ** 2), atol=1e-5)

    def test_and_its_derivative_are_those_of_finite_differences(self):
        """A small critic in float64: the norm by differences of the score, the derivative by differences of it."""
        with jax.enable_x64(True):
            w, v = (jax.random.normal(jax.random.key(n), (16, 6), jnp.float64) for n in range(2))

            def score(w):
                return lambda y: jnp.tanh(y.reshape(-1, 16) @ w) @ v[0]

            y = jax.random.normal(jax.random.key(2), (2, 4, 4, 1), jnp.float64)
            steps = 1e-6 * np.eye(16).reshape(16, 1, 4, 4, 1)
            slopes = np.stack([(score(w)(y + s) - score(w)(y - s)) / 2e-6 for s in steps])
            norms = np.sqrt((slopes**2).sum(0))
            np.testing.assert_allclose(gradient_penalty(score(w), y), (norms - 1) ** 2, rtol=1e-5)

            def mean(w):
                return gradient_penalty(score(w), y).mean()

            turn = 1e-3 * v
            by_difference = (mean(w + turn) - mean(w - turn)) / 2
            np.testing.assert_allclose(jnp.sum(jax.grad(mean)(w) * turn), by_difference, rtol=1e-2)

    @pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
    def test_in_bfloat16_it_and_its_gradient_are_finite_on_constant_images(self, level):
        method, images = wgan(dtype=jnp.bfloat16), jnp.full((2, *SIZE, 1), level)

        @jax.jit
        @jax.value_and_grad
        def penalty(critic):
            return gradient_penalty(method.score(critic, jnp.zeros(2, jnp.int32)), images).mean()

        params = jax.jit(method.init)(jax.random.key(0)).params
        for critic in (params["critic"], jax.tree.map(jnp.zeros_like, params["critic"])):
            value, grads = penalty(critic)
            assert value.dtype == jnp.float32
            assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((value, grads)))


class TestDistance:
    @pytest.mark.parametrize("delta", [0.5, 2.0])
    def test_the_trained_critic_finds_the_distance_of_two_point_masses(self, delta):
        """W = Δ (1 + Δ / 2λ): the generator is held at a constant image, the data lie Δ from it."""
        method = wgan(critic_rate=2e-3, n_critic=1)
        start = jax.jit(method.init)(jax.random.key(0))
        frozen = jax.tree.map(jnp.zeros_like, start.params["generator"])  # G(z) = tanh(0) = 0
        direction = np.random.default_rng(0).normal(size=(1, *SIZE, 1))
        image = np.broadcast_to(delta * direction / np.linalg.norm(direction), (8, *SIZE, 1))
        data = Batch(jnp.float32(image), jnp.zeros(8, jnp.int32), jnp.zeros((8, 0)))
        rows = jnp.arange(8)

        @jax.jit
        def update(critic, moments, key):
            grads, metrics = jax.grad(method.critic_loss, has_aux=True)(critic, frozen, data, rows, key)
            updates, moments = method.critic_optimizer.update(grads, moments, critic)
            return jax.tree.map(jnp.add, critic, updates), moments, metrics["wasserstein"]

        critic, moments, found = start.params["critic"], start.opt_state["critic"], []
        with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
            for n in range(300):
                critic, moments, estimate = update(critic, moments, jax.random.key(n))
                found.append(float(estimate))
        assert abs(np.mean(found[-50:]) / (delta * (1 + delta / 20)) - 1) < 0.15


@pytest.fixture(scope="module")
def toy():
    """Dark and bright constant images by class, learnt in a hundred steps."""
    method = wgan(classes=2, n_critic=3, rate=5e-3, critic_rate=2e-2)
    step, evaluate = jax.jit(method.train_step), jax.jit(method.eval_step)

    def originals(rows, key):
        label = np.arange(rows, dtype=np.int32) % 2
        level = (2.0 * label - 1)[:, None, None, None] * (
            0.5 + 0.2 * np.random.default_rng(key).normal(size=(rows, 1, 1, 1))
        )
        image = np.broadcast_to(np.clip(level, -1, 1), (rows, *SIZE, 1)).astype(np.float32)
        return Batch(image, label, np.zeros((rows, 0), np.float32))

    now, gaps = jax.jit(method.init)(jax.random.key(0)), []
    for n in range(120):
        with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
            now, metrics = step(now, originals(96, n), jax.random.fold_in(jax.random.key(1), n))
        if n % 5 == 4:
            sums = evaluate(now, originals(32, 10_000), jnp.ones(32), jnp.arange(32))
            gaps.append(method.heldout({k: np.asarray(v / 32) for k, v in sums.items()}))
    return method, now, gaps, metrics


class TestToy:
    def test_the_held_out_estimate_falls_to_a_fifth_of_its_peak(self, toy):
        gaps = [values["heldout_wasserstein"] for values in toy[2]]
        assert abs(np.mean(gaps[-5:])) < max(gaps) / 5

    def test_the_classes_are_drawn_and_their_spread(self, toy):
        method, now, values, _ = toy
        label = jnp.arange(64, dtype=jnp.int32) % 2
        keys = jax.random.split(jax.random.key(3), 64)
        drawn = jax.jit(method.generate)(now.ema_params, keys, Condition(label, jnp.zeros((64, 0))))
        means = np.asarray(drawn.mean(axis=(1, 2, 3)))
        assert np.mean(np.sign(means) == 2 * np.asarray(label) - 1) > 0.9
        assert means[1::2].mean() > 0.35
        assert means[::2].mean() < -0.35
        assert 0.6 < values[-1]["diversity"] < 1.4

    def test_a_image_depends_on_its_key_alone(self, toy):
        method, now, _, _ = toy
        draw, keys = jax.jit(method.generate), jax.random.split(jax.random.key(3), 4)
        cond = Condition(jnp.zeros(4, jnp.int32), jnp.zeros((4, 0)))
        one, other = draw(now.ema_params, keys, cond), draw(now.ema_params, keys[::-1], cond)
        np.testing.assert_array_equal(one, other[::-1])

    def test_metrics_are_named_for_the_log(self, toy):
        named = {name for panel in WGANGP.curves for name in panel}
        assert named <= {*toy[3], *toy[2][0]}


class TestWatchdogs:
    HEALTHY: ClassVar = {"heldout_wasserstein": 3.0, "apart": 10.0, "diversity": 0.9, "heldout_loss": 1.0}

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({}, None),
            ({"diversity": 0.2}, "20%.*mode collapse"),
            ({"heldout_wasserstein": 14.0}, None),  # the overshoot: up to 10 (1 + 10/20)
            ({"heldout_wasserstein": 16.0}, "diverges"),
            ({"heldout_wasserstein": -2.0}, "memorised"),
        ],
    )
    def test_warn(self, change, words):
        found = wgan(settling=5).warnings(5, self.HEALTHY | change)
        assert len(found) == (words is not None)
        assert all(re.search(words, line) for line in found)

    def test_the_first_steps_need_no_diversity(self):
        assert not wgan(settling=5).warnings(4, self.HEALTHY | {"diversity": 0.0})


def step_of_sgd(method: WGANGP, mesh: Mesh, data: Batch):
    """The gradients of both networks in one step: plain descent at rate 1 subtracts them."""
    method = dataclasses.replace(method, generator_optimizer=optax.sgd(1.0), critic_optimizer=optax.sgd(1.0))
    start = method.init(jax.random.key(0))
    shardings = meshes.parameter_shardings(start, mesh, smallest=64)
    rows, whole = meshes.by_rows(mesh), meshes.replicated(mesh)
    step = jax.jit(method.train_step, in_shardings=(shardings, rows, whole), out_shardings=(shardings, whole))
    after, metrics = step(jax.device_put(start, shardings), meshes.put_batch(data, mesh), jax.random.key(7))
    return jax.tree.map(jnp.subtract, jax.device_get(start.params), jax.device_get(after.params)), metrics


@pytest.mark.parametrize("shape", [(8, 1), pytest.param((2, 4), marks=pytest.mark.slow)])
def test_eight_devices_give_the_gradients_of_one(shape):
    method, data = wgan(classes=2), batch(32, classes=2)
    one, metrics = step_of_sgd(method, meshes.make_mesh(1, 1), data)
    eight, others = step_of_sgd(method, meshes.make_mesh(*shape), data)
    for name in ("generator", "critic"):
        assert relative(eight[name], one[name]) < 1e-5
    assert relative(others, metrics) < 1e-5


def test_micro_batches_give_the_gradient_of_the_whole():
    method, data = wgan(n_critic=1), batch(8)
    one, _ = step_of_sgd(method, meshes.make_mesh(1, 1), data)
    cut, _ = step_of_sgd(dataclasses.replace(method, accumulate=4), meshes.make_mesh(1, 1), data)
    assert relative(cut, one) < 1e-5


def test_a_step_is_n_critic_updates_with_images_and_noise_of_their_own_then_the_generator():
    method, data, key = wgan(n_critic=2), batch(8), jax.random.key(7)
    start, rows = jax.jit(method.init)(jax.random.key(0)), jnp.arange(4)
    generator, critic = start.params["generator"], start.params["critic"]
    for n in range(2):
        part = jax.tree.map(lambda x: jnp.asarray(x[n::2]), data)  # noqa: B023
        grads, _ = jax.jit(jax.grad(method.critic_loss, has_aux=True))(
            critic, generator, part, rows, jax.random.fold_in(key, n)
        )
        critic = jax.tree.map(jnp.subtract, critic, grads)
    grads, _ = jax.jit(jax.grad(method.generator_loss, has_aux=True))(
        generator, critic, part, rows, jax.random.fold_in(key, 2)
    )
    gradients, _ = step_of_sgd(method, meshes.make_mesh(1, 1), data)
    assert relative(gradients["generator"], grads) < 1e-5
    assert relative(gradients["critic"], jax.tree.map(jnp.subtract, start.params["critic"], critic)) < 1e-5


def test_held_out_sums_do_not_depend_on_the_cut():
    method, data, rows = wgan(), batch(6), np.arange(6)
    now, evaluate = jax.jit(method.init)(jax.random.key(0)), jax.jit(method.eval_step)
    whole = evaluate(now, data, jnp.ones(6), jnp.asarray(rows))
    parts = [
        evaluate(now, jax.tree.map(lambda x: x[cut], data), jnp.float32(mask), jnp.asarray(rows[cut]))  # noqa: B023
        for cut, mask in ((slice(0, 4), [1, 1, 1, 1]), (slice(2, 6), [0, 0, 1, 1]))
    ]
    for name in ("heldout_wasserstein", "real", "generated_square", "apart", "count"):
        np.testing.assert_allclose(whole[name], parts[0][name] + parts[1][name], rtol=1e-4, atol=1e-5)


def test_the_average_is_that_of_the_generator():
    method = wgan(generator_optimizer=optax.sgd(1.0), critic_optimizer=optax.sgd(1.0))
    start = jax.jit(method.init)(jax.random.key(0))
    after, _ = jax.jit(method.train_step)(start, batch(8), jax.random.key(1))
    expected = state.ema_update(start.ema_params, after.params["generator"], 0.9, start.step)
    assert relative(after.ema_params, expected) < 1e-6
    assert int(after.step) == 1
