"""Gradients, averages and layouts do not depend on how the work is cut."""

import dataclasses
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from microgen_jax import methods
from microgen_jax.config import fields
from microgen_jax.errors import UserError
from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import checkpoint, optimizer, state
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.types import Batch

ROOT = Path(__file__).resolve().parents[2]


def small_config() -> ConfigDict:
    config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()
    config.data.size = (16, 16)
    config.model.update(
        channels=(16, 32),
        blocks_per_level=1,
        attention_levels=(False, True),
        head_dim=16,
        norm_groups=4,
        dropout=0.1,
        dtype="float32",
        remat=(False, False),
    )
    config.diffusion.update(timesteps=50, condition_dropout=0.2)
    config.train.update(
        steps=10, schedule_steps=10, learning_rate=1e-3, warmup_steps=2, weight_decay=0.01, ema_decay=0.99
    )
    config.sample.update(sampler="ddim", steps=2)
    return config


def method_of(**train):
    config = small_config()
    config.train.update(train)
    return methods.build(fields.freeze(config), channels=3, num_classes=4, num_conditions=2)


def one_level(method):
    """The method with the smallest network, without dropout, where more would only take longer to compile."""
    unet = method.unet.clone(dropout=0.0, channels=(16,), attention_levels=(True,), remat=(False,))
    return dataclasses.replace(method, unet=unet)


def batch_of(rows: int = 16) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(
        np.tanh(rng.normal(size=(rows, 16, 16, 3))).astype(np.float32),
        rng.integers(0, 4, rows).astype(np.int32),
        rng.normal(size=(rows, 2)).astype(np.float32),
    )


def distance(one, other) -> float:
    """Relative L2 distance of two trees."""
    difference = optax.tree.sub(jax.tree.map(np.asarray, one), jax.tree.map(np.asarray, other))
    return float(optax.tree.norm(difference) / optax.tree.norm(jax.tree.map(np.asarray, one)))


def randomised(tree):
    """The tree with every array drawn anew: at the start the last layers are zero and pass no gradient."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(1)
    return structure.unflatten([np.asarray(rng.normal(size=x.shape) * 0.1, x.dtype) for x in leaves])


def loss_and_gradients(method, mesh, params, batch):
    shardings = meshes.parameter_shardings(params, mesh, smallest=256)
    placed = jax.device_put(params, shardings)
    compute = jax.jit(
        lambda p, b, k: state.accumulated_gradients(method.loss_of, p, b, k, method.accumulate),
        in_shardings=(shardings, meshes.by_rows(mesh), meshes.replicated(mesh)),
        out_shardings=meshes.replicated(mesh),
    )
    return compute(placed, meshes.put_batch(batch, mesh), jax.random.key(3))


def test_eight_devices_give_the_loss_and_gradients_of_one():
    """Rows over four devices, parameters over two: the case of eight times one is part of it."""
    method = method_of()
    params = randomised(jax.eval_shape(method.init, jax.random.key(0)).params)
    one = loss_and_gradients(method, meshes.make_mesh(1, 1), params, batch_of())
    eight = loss_and_gradients(method, meshes.make_mesh(4, 2), params, batch_of())
    assert distance(one[0]["loss"], eight[0]["loss"]) < 1e-5
    assert distance(one[1], eight[1]) < 1e-5


def test_fsdp_cuts_what_it_can():
    mesh = meshes.make_mesh(4, 2)
    shapes = jax.eval_shape(method_of().init, jax.random.key(0))
    cut = [s for s in jax.tree.leaves(meshes.parameter_shardings(shapes, mesh)) if not s.is_fully_replicated]
    assert len(cut) > 20


def test_accumulation_is_the_mean_of_the_parts():
    def loss(params, batch, rows, key):
        value = jnp.mean((batch.image.mean(axis=(1, 2, 3)) - params["a"]) ** 2)
        return value, {"loss": value}

    params = {"a": jnp.float32(0.3)}
    whole = state.accumulated_gradients(loss, params, batch_of(), jax.random.key(0), 1)
    parts = state.accumulated_gradients(loss, params, batch_of(), jax.random.key(0), 4)
    assert distance(whole, parts) < 1e-6


def test_accumulation_draws_what_the_whole_batch_draws():
    """Noise, times and hidden conditions go by row: four micro-batches give the gradient of one batch."""
    results = []
    for accumulate in (1, 4):
        method = one_level(method_of(accumulate=accumulate))
        params = randomised(jax.eval_shape(method.init, jax.random.key(0)).params)
        results.append(loss_and_gradients(method, meshes.make_mesh(1, 1), params, batch_of(8)))
    assert distance(*results) < 1e-5


def test_checkpoint_of_eight_devices_is_restored_on_one_and_two(tmp_path):
    shapes = jax.eval_shape(one_level(method_of()).init, jax.random.key(0))
    on_eight = meshes.parameter_shardings(shapes, meshes.make_mesh(4, 2), smallest=256)
    saved = jax.device_put(randomised(shapes), on_eight)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, saved, 0.5)
    checkpoints.wait()
    for mesh in (meshes.make_mesh(1, 1), meshes.make_mesh(1, 2)):
        target = checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, mesh, smallest=256))
        restored = checkpoints.restore(7, target)
        for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(restored)):
            assert len(b.sharding.device_set) <= mesh.size
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        _, ema = checkpoints.restore_ema(7, target)
        assert distance(saved.ema_params, ema) == 0
    checkpoints.close()


def test_what_a_method_keeps_beside_goes_through_a_checkpoint(tmp_path):
    method = dataclasses.replace(one_level(method_of(ema_widths=(0.05, 0.1))), time_sampling="importance")
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    assert shapes.extra.keys() == {"square_losses", "averages"}
    saved = jax.device_put(randomised(shapes))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, saved, None)
    checkpoints.wait()
    target = checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, meshes.make_mesh(1, 1)))
    restored = checkpoints.resume(target)
    checkpoints.close()
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    assert distance(saved.extra, restored.extra) == 0


def test_newest_and_best_survive_a_restart(tmp_path):
    small = state.TrainState(jnp.int32(0), {"w": jnp.ones(3)}, {"w": jnp.ones(3)}, ())
    for losses in ({1: 0.9, 2: 0.1, 3: 0.8}, {4: 0.7, 5: 0.6, 6: None}):
        checkpoints = Checkpoints(tmp_path, keep=2)
        for step, loss in losses.items():
            checkpoints.save(step, small, loss)
        checkpoints.wait()
        checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.steps() == [2, 5, 6]
    assert (checkpoints.best(), checkpoints.newest()) == (2, 6)
    checkpoints.close()


def test_average_follows_its_recursion():
    params, ema = {"w": jnp.float32(1.0)}, {"w": jnp.float32(0.0)}
    early = state.ema_update(ema, params, 0.999, jnp.int32(0))
    late = state.ema_update(ema, params, 0.999, jnp.int32(10**6))
    np.testing.assert_allclose(early["w"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(late["w"], 0.001, rtol=1e-3)


def test_learning_rate_rises_and_falls_to_zero():
    rate = optimizer.learning_rate_schedule(0.5, "cosine", 10, 100)
    assert float(rate(0)) == 0.0
    np.testing.assert_allclose([rate(5), rate(10), rate(55), rate(100)], [0.25, 0.5, 0.25, 0.0], atol=1e-6)
    constant = optimizer.learning_rate_schedule(0.5, "constant", 10, 100)
    np.testing.assert_allclose([constant(10), constant(1000)], [0.5, 0.5])


def test_decay_leaves_biases_and_scales_alone():
    adam = optimizer.adamw(lambda step: 1.0, weight_decay=0.5, clip_norm=0.0)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
        updates, _ = adam.update(jax.tree.map(jnp.zeros_like, params), adam.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.5)
    np.testing.assert_allclose(updates["bias"], 0.0)


@pytest.mark.parametrize(("data", "fsdp"), [(-1, 3), (9, 1), (0, 1), (1, 0), (3, 3)])
def test_meshes_that_cannot_be(data, fsdp):
    with pytest.raises(UserError) as error:
        meshes.make_mesh(data, fsdp)
    assert error.value.where in ("data", "fsdp")


def test_batches_that_do_not_divide():
    mesh = meshes.make_mesh(4, 2)
    meshes.check_batch(32, 2, mesh)
    with pytest.raises(UserError, match="nearest that is: 32") as error:
        meshes.check_batch(30, 2, mesh)
    assert error.value.where == "batch_size"
