"""Messages against counts by hand, and bytes against real arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from microgen_jax.runtime import memory_plan
from microgen_jax.runtime import mesh as meshes


def test_messages_of_a_known_program():
    mesh = meshes.make_mesh(4, 2)
    x = jax.ShapeDtypeStruct((16, 1024), jnp.float32)
    w = jax.ShapeDtypeStruct((1024, 512), jnp.float32)
    cut = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    program = jax.jit(
        lambda x, w: jnp.sum((x @ w) ** 2), in_shardings=(meshes.by_rows(mesh), cut), out_shardings=None
    )
    sent = memory_plan.messages(program.lower(x, w).compile().as_text())
    moved = sum(sent.values())
    assert 0 < moved <= 1024 * 512 * 4 / 2 + 16 * 1024 * 4 + 64
    whole = jax.jit(jnp.sum, in_shardings=meshes.by_rows(mesh), out_shardings=None)
    assert memory_plan.messages(whole.lower(x).compile().as_text()) == {"all-reduce": 2 * 4 * 7 / 8}


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("replica_groups=[4,2]<=[8], dimensions={0}", 2),
        ("replica_groups={{0,1,2},{3,4,5}}, to_apply=%add", 3),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_1'}, use_global", 2),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a','b'}, x={0}", 8),
    ],
)
def test_group_sizes_as_xla_writes_them(line, size):
    assert memory_plan._group_size(line) == size


def test_bytes_are_those_of_real_arrays():
    mesh = meshes.make_mesh(4, 2)
    tree = {"w": jnp.zeros((128, 64)), "odd": jnp.zeros((127, 63), jnp.bfloat16), "b": jnp.zeros(3)}
    shardings = meshes.parameter_shardings(tree, mesh)
    placed = jax.device_put(tree, shardings)
    device = jax.devices()[0]
    real = sum(
        np.asarray(shard.data).nbytes
        for leaf in jax.tree.leaves(placed)
        for shard in leaf.addressable_shards
        if shard.device == device
    )
    assert memory_plan.bytes_on_device(tree, shardings) == real
