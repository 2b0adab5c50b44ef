"""`build` refuses values that do not go together; `summary` counts what XLA counts."""

import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.config.schema import ModelConfig
from microgen_jax.errors import UserError
from microgen_jax.networks import attention, build, check_size, summary


def model(**changes) -> ModelConfig:
    fields = {
        "channels": (32, 64),
        "attention_levels": (False, True),
        "remat": (False, False),
        "head_dim": 32,
    }
    return ModelConfig(**({"blocks_per_level": 1, "norm_groups": 8} | fields | changes))


@pytest.mark.parametrize(
    ("changes", "where", "problem"),
    [
        ({"channels": (24, 64), "norm_groups": 32}, "channels", "24"),
        ({"channels": (32, 64, 64)}, "attention_levels", "2 entries"),
        ({"remat": (True,)}, "remat", "1 entries"),
        ({"head_dim": 48}, "channels", "head_dim"),
        ({"channels": (), "attention_levels": (), "remat": ()}, "channels", "empty"),
        ({"channels": (33, 66), "norm_groups": 3, "head_dim": 33}, "channels", "even"),
    ],
)
def test_mistakes_name_the_field(changes, where, problem):
    with pytest.raises(UserError) as error:
        build(model(**changes), channels=3, num_classes=0, num_conditions=0)
    assert error.value.where == where
    assert problem in error.value.problem


@pytest.mark.parametrize("channels", [(32,), (32, 64), (32, 32, 64, 64)])
def test_channels_can_be_changed_alone(channels):
    unet = build(
        model(channels=channels, attention_levels=(), remat=()), channels=3, num_classes=0, num_conditions=0
    )
    assert unet.attention_levels == (False,) * (len(channels) - 1) + (True,)
    assert unet.remat == (False,) * len(channels)
    assert len(summary(unet, (16, 16))) == len(channels) + 3


def test_head_dim_counts_only_where_there_is_attention():
    fields = model(head_dim=48, attention_levels=(False, False), mid_attention=False)
    assert build(fields, channels=3, num_classes=0, num_conditions=0).channels == (32, 64)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 5))
def test_check_size_refuses_exactly_what_cannot_be_halved(height, width, levels):
    step = 2 ** (levels - 1)
    if height % step == 0 and width % step == 0:
        check_size((height, width), levels)
        return
    with pytest.raises(UserError) as error:
        check_size((height, width), levels)
    for size in error.value.fix.removeprefix("take ").split(" or "):
        sides = tuple(int(side) for side in size.strip("()").split(","))
        check_size(sides, levels)
        assert max(abs(sides[0] - height), abs(sides[1] - width)) < step


def test_check_size_names_the_sizes_on_both_sides():
    with pytest.raises(UserError, match=r"take \(96,64\) or \(104,64\)"):
        check_size((100, 64), 4)


@pytest.mark.parametrize("size", [(128, 128), (96, 192)])  # XLA leaves out products with the padding
def test_summary_counts_what_xla_counts(size, monkeypatch):
    """XLA counts what is in a loop once."""
    monkeypatch.setattr(attention, "QUERIES", math.inf)
    fields = model(channels=(32, 64, 96), attention_levels=(False, True, False), remat=(False,) * 3)
    unet = build(fields, channels=3, num_classes=4, num_conditions=2)
    rows = summary(unet, size)
    args = (jnp.zeros((1, *size, 3)), jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32), jnp.zeros((1, 2)))
    variables = jax.eval_shape(unet.init, jax.random.key(0), *args)
    assert sum(row.params for row in rows) == sum(math.prod(x.shape) for x in jax.tree.leaves(variables))
    counted = jax.jit(unet.apply).lower(variables, *args).cost_analysis()["flops"]
    assert sum(row.flops for row in rows) == pytest.approx(counted, rel=0.03)


def test_summary_of_a_level_by_hand():
    unet = build(model(attention_levels=(False, False)), channels=1, num_classes=0, num_conditions=0)
    row = {row.name: row for row in summary(unet, (8, 8))}["level 0"]
    emb = 2 * 128 * 32
    first = 2 * 9 * (32 * 32 + 32 * 32) * 64 + emb
    up = sum(2 * 9 * (c * 32 + 32 * 32) * 64 + 2 * c * 32 * 64 + emb for c in (64 + 32, 32 + 32))
    down = 2 * 9 * 32 * 32 * 16
    assert (row.size, row.blocks, row.attention) == ((8, 8), 3, 0)
    assert row.flops == pytest.approx(
        first + up + down, rel=0.01
    )  # and the sums over the groups of the norms


def test_summary_counts_channels_that_are_given():
    unet = build(model(), channels=3, num_classes=0, num_conditions=0)
    plain, given = (
        {row.name: row for row in summary(u, (8, 8))} for u in (unet, unet.clone(given_channels=2))
    )
    assert given["in and out"].params - plain["in and out"].params == 9 * 2 * 32
    assert given["in and out"].flops - plain["in and out"].flops == 2 * 9 * 2 * 32 * 64
    assert given["level 0"] == plain["level 0"]
