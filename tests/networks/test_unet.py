"""The UNet against diffusers' stored outputs, and what must hold whatever its weights are."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.networks import UNet, in_compute_type
from microgen_jax.networks.bridge import from_diffusers, to_diffusers

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECIPE = runpy.run_path(str(FIXTURES / "make_unet_reference.py"))
REFERENCE = np.load(FIXTURES / "unet_reference.npz")


def tiny(**changes) -> UNet:
    fields = {
        "out_channels": 3,
        "channels": (8,),
        "blocks_per_level": 1,
        "attention_levels": (True,),
        "head_dim": 8,
        "norm_groups": 4,
        "remat": (False,),
    }
    return UNet(**(fields | changes))


def two_levels(**changes) -> UNet:
    return tiny(channels=(8, 16), attention_levels=(False, True), remat=(False, False), **changes)


def batch_for(unet: UNet, batch: int = 2, size: tuple[int, int] = (8, 8)) -> tuple:
    return (
        jax.random.normal(jax.random.key(1), (batch, *size, unet.out_channels)),
        jnp.arange(batch, dtype=jnp.int32) * 7,
        jnp.zeros(batch, jnp.int32),
        jnp.zeros((batch, unet.num_conditions)),
    )


def random_params(unet: UNet, args: tuple) -> dict:
    """No entry is zero, so that every path through the network counts."""
    shapes = jax.eval_shape(unet.init, jax.random.key(0), *args)["params"]
    state = to_diffusers(jax.tree.map(lambda s: np.zeros(s.shape, np.float32), shapes))
    made = from_diffusers({name: RECIPE["recipe"](name, a.shape) for name, a in state.items()})
    return jax.tree.map(jnp.asarray, made)


@pytest.mark.parametrize("name", list(RECIPE["CONFIGS"]))
def test_output_is_that_of_diffusers(name):
    config = RECIPE["CONFIGS"][name]
    fields = {key: value for key, value in config.items() if key != "size"}
    unet = UNet(out_channels=3, remat=(False,) * len(config["channels"]), **fields)
    state = {
        key: RECIPE["recipe"](key, tuple(int(n) for n in shape.split(",")))
        for key, shape in zip(REFERENCE[f"{name}.names"].tolist(), REFERENCE[f"{name}.shapes"].tolist())
    }
    params = from_diffusers(state)
    given = RECIPE["inputs"](name)
    args = (given["xt"], given["t"], given["label"], jnp.zeros((3, 0)))

    shapes = jax.eval_shape(unet.init, jax.random.key(0), *args)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, shapes)
    out = jax.jit(unet.apply)({"params": params}, *args)
    np.testing.assert_allclose(out, REFERENCE[f"{name}.out"], atol=1e-4, rtol=0)

    back = to_diffusers(params)
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[key], state[key]) for key in state)


def test_bridge_returns_the_conditions_mlp_too():
    unet = two_levels(num_classes=2, num_conditions=3)
    params = random_params(unet, batch_for(unet))
    back = from_diffusers(to_diffusers(params))
    assert "condition_embedding.linear_1.weight" in to_diffusers(params)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, params))


def test_output_does_not_depend_on_what_a_missing_condition_holds():
    unet = tiny(num_conditions=2)
    args = batch_for(unet)
    params = {"params": random_params(unet, args)}
    apply = jax.jit(unet.apply)
    missing = apply(params, *args[:3], jnp.array([[jnp.nan, 1.0], [0.5, jnp.nan]]))
    zero = apply(params, *args[:3], jnp.array([[0.0, 1.0], [0.5, 0.0]]))
    assert np.isfinite(missing).all()
    assert float(jnp.abs(missing - zero).max()) > 1e-3  # "not given" is not "given as 0"


def test_gradient_is_finite_where_conditions_are_missing():
    unet = tiny(num_conditions=1)
    args = (*batch_for(unet)[:3], jnp.full((2, 1), jnp.nan))
    params = random_params(unet, args)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(unet.apply({"params": p}, *args) ** 2)))(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_every_label_and_no_class_differ():
    unet = tiny(num_classes=2)
    x, t, _, condition = batch_for(unet, batch=1)
    params = {"params": random_params(unet, (x, t, t, condition))}
    same = (jnp.repeat(x, 3, axis=0), jnp.zeros(3, jnp.int32), jnp.arange(3, dtype=jnp.int32))
    out = jax.jit(unet.apply)(params, *same, jnp.zeros((3, 0)))
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert float(jnp.abs(out[i] - out[j]).max()) > 1e-3


def test_bfloat16_inside_float32_outside():
    unet = tiny(num_classes=2, num_conditions=1)
    args = batch_for(unet)
    params = random_params(unet, args)
    half = unet.clone(dtype=jnp.bfloat16)
    made = jax.eval_shape(half.init, jax.random.key(0), *args)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(jnp.float32)}
    out, exact = (jax.jit(u.apply)({"params": params}, *args) for u in (half, unet))
    assert out.dtype == jnp.float32
    error = float(jnp.linalg.norm(out - exact) / jnp.linalg.norm(exact))
    assert 1e-5 < error < 3e-2


def test_weights_converted_beforehand_leave_the_bits():
    unet = tiny(dtype=jnp.bfloat16, num_classes=2, num_conditions=1)
    args = batch_for(unet)
    params = random_params(unet, args)
    converted = in_compute_type(params, jnp.bfloat16)
    given = {leaf.dtype for leaf in jax.tree.leaves(converted)}
    assert given == {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)}
    assert converted["conv_in"]["kernel"].dtype == jnp.bfloat16
    apply = jax.jit(unet.apply)
    plain, beforehand = (apply({"params": tree}, *args) for tree in (params, converted))
    np.testing.assert_array_equal(plain, beforehand)


def test_remat_changes_neither_output_nor_gradient():
    plain, remat = tiny(), tiny(remat=(True,))
    args = batch_for(plain)
    params = random_params(plain, args)

    def loss_and_grad(unet):
        return jax.jit(jax.value_and_grad(lambda p: jnp.mean(unet.apply({"params": p}, *args) ** 2)))(params)

    (loss, grad), (loss_remat, grad_remat) = loss_and_grad(plain), loss_and_grad(remat)
    np.testing.assert_allclose(loss_remat, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), grad_remat, grad)


def test_dropout_acts_in_training_only():
    unet = tiny(dropout=0.5)
    args = batch_for(unet)
    params = {"params": random_params(unet, args)}
    key = {"dropout": jax.random.key(3)}
    still = jax.jit(unet.apply)(params, *args)
    np.testing.assert_array_equal(still, jax.jit(tiny().apply)(params, *args))
    dropped = jax.jit(lambda params: unet.apply(params, *args, True, rngs=key))(params)
    assert float(jnp.abs(dropped - still).max()) > 1e-2


def test_images_of_a_batch_do_not_see_each_other():
    unet = two_levels(num_classes=1)
    args = batch_for(unet, batch=3)
    params = {"params": random_params(unet, args)}
    apply = jax.jit(unet.apply)
    changed = (args[0].at[1].add(1.0), *args[1:])
    out, other = apply(params, *args), apply(params, *changed)
    np.testing.assert_array_equal(out[0], other[0])
    np.testing.assert_array_equal(out[2], other[2])
    assert float(jnp.abs(out[1] - other[1]).max()) > 1e-3
