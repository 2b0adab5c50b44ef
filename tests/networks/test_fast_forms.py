"""Every fast form against the plain one, forward and gradient: odd and even sizes, few and odd channels, batch 1."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microgen_jax.networks import attention, cpu_kernels, layers

SHAPES = [(1, 5, 7, 6, 10), (2, 8, 8, 8, 4), (3, 16, 16, 12, 12), (2, 9, 4, 3, 32), (1, 48, 40, 5, 3)]
KERNELS = [((3, 3), layers.AROUND), ((1, 1), layers.NONE), ((2, 2), ((0, 1), (1, 0)))]


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def close(one, other, tolerance=1e-5) -> None:
    scale = float(jnp.abs(other).max())
    np.testing.assert_allclose(one, other, atol=tolerance * scale, rtol=0)


def value_and_gradients(function, dy, *args) -> tuple:
    """The value at `args` and what `dy` gives back for each, in one compiled program."""

    @jax.jit
    def both(dy, *args):
        value, backward = jax.vjp(function, *args)
        return value, *backward(dy)

    return both(dy, *args)


@pytest.mark.parametrize(("size", "padding"), KERNELS)
@pytest.mark.parametrize(("b", "h", "w", "c", "k"), SHAPES)
def test_kernel_gradient_is_that_of_the_convolution(b, h, w, c, k, size, padding):
    x, dy, kernel = arrays((b, h, w, c), (b, h, w, k), (*size, c, k))
    _, plain = jax.vjp(lambda kernel: layers._conv(x, kernel, padding), kernel)
    close(cpu_kernels.kernel_gradient_by_products(x, dy, size, padding), plain(dy)[0])


@pytest.mark.parametrize("products", [True, False])
def test_convolution_has_the_plain_derivative(products, monkeypatch):
    monkeypatch.setattr(cpu_kernels, "products_win", lambda kernel: products)
    x, dy, kernel = arrays((2, 6, 10, 5), (2, 6, 10, 7), (3, 3, 5, 7), seed=1)
    fast, plain = jax.vjp(layers.conv, x, kernel), jax.vjp(layers._conv, x, kernel)
    close(fast[0], plain[0])
    for ours, theirs in zip(fast[1](dy), plain[1](dy)):
        close(ours, theirs)


@pytest.mark.parametrize(("b", "h", "w", "c", "k"), SHAPES)
def test_convolution_of_a_doubled_image(b, h, w, c, k):
    x, dy, kernel = arrays((b, h, w, c), (b, 2 * h, 2 * w, k), (3, 3, c, k), seed=6)
    ours = value_and_gradients(
        lambda x, kernel: cpu_kernels.conv_of_upsampled(x, kernel, layers.conv), dy, x, kernel
    )
    theirs = value_and_gradients(lambda x, kernel: layers._conv(layers.upsample(x), kernel), dy, x, kernel)
    jax.tree.map(close, ours, theirs)


def test_pointwise_is_a_dense_layer():
    x, dy = arrays((2, 3, 5, 6), (2, 3, 5, 4), seed=7)
    ours, theirs = layers.Pointwise(4), nn.Dense(4)
    params = theirs.init(jax.random.key(0), x)
    one, backward = jax.vjp(ours.apply, params, x)
    other, plain = jax.vjp(theirs.apply, params, x)
    close(one, other)
    jax.tree.map(close, backward(dy), plain(dy))


def plain_group_norm(x, scale, bias, groups, silu):
    grouped = x.reshape(*x.shape[:3], groups, -1)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    var = jnp.square(grouped - mean).mean((1, 2, 4), keepdims=True)
    y = ((grouped - mean) / jnp.sqrt(var + layers.EPS)).reshape(x.shape)
    y = y * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)
    return nn.silu(y) if silu else y


@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize(("b", "h", "w", "c", "groups"), [(1, 5, 7, 6, 3), (2, 8, 8, 8, 8), (3, 1, 4, 12, 1)])
def test_group_norm_and_its_gradient(b, h, w, c, groups, silu):
    x, dy, scale, bias = arrays((b, h, w, c), (b, h, w, c), (c,), (c,), seed=2)
    ours = value_and_gradients(lambda *a: layers.group_norm(*a, groups, silu), dy, x, scale, bias)
    theirs = value_and_gradients(lambda *a: plain_group_norm(*a, groups, silu), dy, x, scale, bias)
    for one, other in zip(ours, theirs):
        close(one, other, 2e-5)


def test_group_norm_of_a_large_mean_loses_nothing():
    """Sums of squares about zero would leave no digit of a spread of 1 about 10,000."""
    x, scale, bias = arrays((2, 16, 16, 8), (8,), (8,), seed=3)
    ours = layers.group_norm(x + 1e4, scale, bias, 4, False)
    exact = plain_group_norm(np.float64(np.float32(x + 1e4)), np.float64(scale), np.float64(bias), 4, False)
    close(ours, np.float32(exact), 1e-3)


def test_group_norm_of_a_constant_is_its_bias():
    _, scale, bias = arrays((1,), (4,), (4,))
    y = layers.group_norm(jnp.full((2, 4, 4, 4), 3.0), scale, bias, 2, False)
    np.testing.assert_allclose(y, jnp.broadcast_to(bias, y.shape), atol=1e-6)


def test_bfloat16_keeps_its_type():
    x, scale, bias, kernel = arrays((2, 8, 8, 8), (8,), (8,), (3, 3, 8, 8))
    half = x.astype(jnp.bfloat16)
    assert layers.group_norm(half, scale, bias, 4, True).dtype == jnp.bfloat16
    gradient = cpu_kernels.kernel_gradient_by_products(half, half, (3, 3), layers.AROUND)
    assert gradient.dtype == jnp.bfloat16
    _, plain = jax.vjp(layers._conv, x, kernel)
    close(gradient.astype(jnp.float32), plain(x)[1], 2e-2)


def test_fast_forms_are_right_over_a_sharded_batch():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x, dy, scale, bias = arrays((8, 6, 5, 4), (8, 6, 5, 4), (4,), (4,), seed=4)

    @jax.jit
    def gradients(x, dy):
        _, backward = jax.vjp(lambda *a: layers.group_norm(*a, 2, True), x, scale, bias)
        return cpu_kernels.kernel_gradient_by_products(x, dy, (3, 3), layers.AROUND), *backward(dy)

    sharded = gradients(jax.device_put(x, rows), jax.device_put(dy, rows))
    for ours, theirs in zip(sharded, gradients(x, dy)):
        close(ours, theirs)


def test_fast_forms_are_left_alone_over_several_devices():
    assert jax.device_count() > 1
    assert not cpu_kernels.products_win((3, 3, 128, 128))
    assert not cpu_kernels.on_single_cpu()


@pytest.mark.parametrize(("pixels", "heads", "dim", "queries"), [(13, 2, 5, 4), (16, 1, 8, 8), (7, 3, 6, 9)])
def test_attention_in_blocks_is_attention(pixels, heads, dim, queries):
    """The plain one is JAX's own."""
    *given, cotangent = arrays(*[(2, pixels, heads, dim)] * 4, seed=5)
    plain = jax.vjp(partial(jax.nn.dot_product_attention, implementation="xla"), *given)
    fast = jax.vjp(partial(attention.in_blocks, queries=queries), *given)
    close(fast[0], plain[0])
    for ours, theirs in zip(fast[1](cotangent), plain[1](cotangent)):
        close(ours, theirs)


def test_attention_over_many_pixels_keeps_no_square_of_them():
    shape = jax.ShapeDtypeStruct((1, 8 * attention.QUERIES, 1, 4), jnp.float32)
    square = 4 * shape.size**2 / 4**2
    loss = jax.grad(lambda q: attention.dot_product_attention(q, q, q).sum())
    assert jax.jit(loss).lower(shape).compile().memory_analysis().temp_size_in_bytes < square
