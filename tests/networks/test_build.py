"""`build` tells each mistake in one line; `summary` counts what XLA counts."""

import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from microgen_jax.errors import UserError
from microgen_jax.networks import attention, build, check_size, summary


def model(**changes) -> ConfigDict:
    fields = {
        "channels": (32, 64),
        "blocks_per_level": 1,
        "attention_levels": (False, True),
        "mid_attention": True,
        "head_dim": 32,
        "norm_groups": 8,
        "dropout": 0.0,
        "dtype": "float32",
        "remat": (False, False),
    }
    return ConfigDict(fields | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": (24, 64), "norm_groups": 32}, ("channels (=24)", "norm_groups (=32)")),
        ({"channels": (32, 64, 64)}, ("attention_levels", "2 entries", "has 3")),
        ({"remat": (True,)}, ("remat", "1 entries", "has 2")),
        ({"head_dim": 48}, ("channels (=64)", "head_dim (=48)")),
        ({"dtype": "float16"}, ("'float16'", "float32", "bfloat16")),
        ({"dtype": "bfloat61"}, ("'bfloat61'", "bfloat16")),
        ({"dropout": 1.0}, ("dropout (=1.0)",)),
        ({"blocks_per_level": 0}, ("blocks_per_level (=0)",)),
        ({"channels": (), "attention_levels": (), "remat": ()}, ("channels is empty",)),
        ({"channels": (33, 66), "norm_groups": 3, "head_dim": 33}, ("channels[0] (=33)", "even")),
    ],
)
def test_mistakes_are_named_in_one_line(changes, words):
    with pytest.raises(UserError) as error:
        build(model(**changes), channels=3, num_classes=0, num_conditions=0)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


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
    for size in str(error.value).split("take ")[1].split(" or "):
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
    assert row.flops == first + up + down
