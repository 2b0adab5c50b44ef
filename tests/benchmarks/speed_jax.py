"""The JAX side of `speed.py`: the project's own method on one case, every task as one call.

Started by `speed.py` with CASE.
"""

import runpy
import sys
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from microgen_jax import methods, networks
from microgen_jax.runtime import compile_cache
from microgen_jax.runtime import mesh as meshes
from microgen_jax.types import Batch, Condition, Method
from tests.benchmarks.speed import CASES, ROOT, product_side, resident, serve


def build(
    network: dict, size: int, *, sampler: str = "ddim", steps: int = 50, remat: tuple[bool, ...] = ()
) -> Method:
    config = runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()
    levels = len(network["channels"])
    config.data.size = (size, size)
    config.model.update(
        channels=network["channels"],
        blocks_per_level=network["blocks"],
        attention_levels=(False,) * (levels - 1) + (True,),
        head_dim=network["head_dim"],
        norm_groups=network["groups"],
        remat=remat or (False,) * levels,
        dtype=network["dtype"],
        dropout=0.0,
    )
    config.sample.update(sampler=sampler, steps=steps)
    return methods.build(config, channels=3, num_classes=0, num_conditions=0)


def jax_rounds(network: dict, size: int, batch_size: int) -> dict[str, Callable[[], None]]:
    """`{task: one call}`; the first call of each compiles."""
    compile_cache.keep_memory()
    compile_cache.use_compile_cache()
    method = build(network, size)
    state = jax.jit(method.init)(jax.random.key(0))
    labels, values = jnp.zeros(batch_size, jnp.int32), jnp.zeros((batch_size, 0))
    image = jax.random.uniform(jax.random.key(1), (batch_size, size, size, 3), minval=-1.0)
    batch, cond = Batch(image, labels, values), Condition(labels, values)
    jit = partial(jax.jit, compiler_options=compile_cache.options((size, size)))
    step = jit(method.train_step, donate_argnums=0)
    ddim = jit(method.generate)
    ancestral = jit(build(network, size, sampler="ancestral", steps=1000).generate)
    forward = jit(lambda params: method.denoiser(params)(image, jnp.full(batch_size, 500), cond))
    product, side = jit(jnp.matmul), product_side(network)
    keys = jax.random.split(jax.random.key(2), batch_size)
    mesh = meshes.make_mesh(1, 1)

    def train() -> None:
        nonlocal state
        state, metrics = step(state, batch, jax.random.key(3))
        jax.block_until_ready(metrics)

    @cache
    def square() -> jax.Array:
        return jax.random.normal(jax.random.key(4), (side, side), network["dtype"])

    @cache
    def host() -> Batch:
        return Batch(np.array(image), np.array(labels), np.array(values))

    @cache
    def pixels() -> np.ndarray:
        return np.uint8(127.5 * (host().image + 1))

    return {
        "train": train,
        "forward": lambda: jax.block_until_ready(forward(state.ema_params)),
        "ddim50": lambda: jax.block_until_ready(ddim(state.ema_params, keys, cond)),
        "ancestral1000": lambda: jax.block_until_ready(ancestral(state.ema_params, keys, cond)),
        "product": lambda: jax.block_until_ready(product(square(), square())),
        "feed": lambda: jax.block_until_ready(jax.device_put(host().image)),
        "feed_uint8": lambda: jax.block_until_ready(jax.device_put(pixels())),
        "feed_batch": lambda: jax.block_until_ready(meshes.put_batch(host(), mesh)),
    }


def jax_memory() -> float:
    """The peak so far, in bytes: the accelerator's where there is one, else the process's."""
    stats = jax.local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else resident()


def forward_flops(network: dict, size: int, batch_size: int) -> float:
    """Of one pass through the network, in the plain form of every layer."""
    return batch_size * sum(row.flops for row in networks.summary(build(network, size).unet, (size, size)))


if __name__ == "__main__":
    serve(jax_rounds(*CASES[sys.argv[1]]), jax_memory)
