"""Operations of traced programs against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from microgen_jax.networks.flops import flops


def count(function, *shapes) -> float:
    return flops(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes))).total()


def test_operations_of_products_convolutions_and_loops():
    def conv(x, kernel, stride=1):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert count(jnp.matmul, (4, 5, 6), (4, 6, 7)) == 2 * 4 * 5 * 6 * 7
    assert count(conv, (2, 8, 10, 3), (3, 3, 3, 16)) == 2 * 2 * 80 * 9 * 3 * 16

    def loop(x, w):
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=7)[0]

    assert count(loop, (5, 6), (6, 6)) == 7 * 2 * 5 * 36
    again = jax.grad(jax.checkpoint(lambda x, w: jnp.sum(jnp.sin(x @ w))), argnums=(0, 1))
    assert count(again, (5, 6), (6, 6)) == 4 * 2 * 5 * 36
    forward = 2 * 2 * 20 * 9 * 3 * 16
    kernel_gradient = jax.grad(lambda k, x: jnp.sum(conv(x, k, 2)))
    assert count(kernel_gradient, (3, 3, 3, 16), (2, 8, 10, 3)) == pytest.approx(2 * forward, rel=0.3)


def test_operations_stand_under_their_scopes_and_of_branches_the_dearest_counts():
    def inner(x):
        with jax.named_scope("inner"):
            return x @ x

    def program(x):
        with jax.named_scope("outer"):
            x = jax.jit(inner)(x)
        with jax.named_scope("branch"):
            return jax.lax.cond(x[0, 0] > 0, inner, lambda x: inner(x @ x), x)

    found = flops(jax.make_jaxpr(program)(jnp.zeros((3, 3))))
    assert found == {"outer/inner": 54, "branch": 54, "branch/inner": 54}
