"""Any number of images in batches of one compiled shape; image i of a seed is always the same."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key, UInt8, UInt32

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.ipf import image_colour
from microgen_jax.diffusion import Chain, SampleState, run_piece, start_state
from microgen_jax.images import to_uint8
from microgen_jax.runtime import compile_cache
from microgen_jax.runtime import mesh as meshes
from microgen_jax.types import Condition, Params

Generate = Callable[[Params, int, np.ndarray, Condition], Array]
Walk = Callable[[Params, int, np.ndarray, Condition, Sequence[int]], Iterator[tuple[Array, Array]]]


def image_keys(seed: UInt32[Array, ""], indices: Int[Array, "B"]) -> Key[Array, "B"]:
    """Return the PRNG key of each image, a function of the seed and the image's index alone."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), indices)


def compile_batch(
    generate: Callable[[Params, Array, Condition], Array], mesh: Mesh, size: tuple[int, int]
) -> Generate:
    """Return the jitted `(params, seed, indices, cond) -> images` of one batch over all devices of a mesh.

    Args:
      generate: `method.generate` or a function like it, `(params, keys, cond) -> images`.
      mesh: devices, from `make_mesh`; the images are whole on each of them.
      size: height and width of an image, in pixels.
    """

    def program(params: Params, seed: Array, rows: tuple[Array, Condition]) -> Array:
        indices, cond = rows
        return generate(params, image_keys(seed, indices), cond)

    by_rows, whole = meshes.by_rows(mesh), meshes.replicated(mesh)
    program = jax.jit(
        program,
        in_shardings=(None, None, by_rows),
        out_shardings=whole,
        compiler_options=compile_cache.options(size),
    )
    return lambda params, seed, *rows: program(params, np.uint32(seed), meshes.put_whole(rows, mesh))


def compile_chain(
    chain: Callable[[Params, Array, Condition], Chain], mesh: Mesh, size: tuple[int, int]
) -> Walk:
    """Return `(params, seed, indices, cond, stops) -> (x, x0) after each of the stops`, of one batch over a mesh.

    `stops` are numbers of steps, ascending; 0 gives the noise. Two programs, compiled once, take a chain to its start
    and from any step to any other, so the bits do not depend on the stops.

    Args:
      chain: `DDPM.chain` or a function like it, `(params, keys, cond) -> Chain`.
      mesh: devices, from `make_mesh`; the images are whole on each of them.
      size: height and width of an image, in pixels.
    """

    def chain_of(params: Params, seed: Array, rows: tuple[Array, Condition]) -> Chain:
        indices, cond = rows
        return chain(params, image_keys(seed, indices), cond)

    by_rows, whole = meshes.by_rows(mesh), meshes.replicated(mesh)
    state_shardings = SampleState(whole, by_rows, by_rows, by_rows)
    compiled = partial(jax.jit, out_shardings=state_shardings, compiler_options=compile_cache.options(size))
    start = compiled(lambda *inputs: start_state(chain_of(*inputs)), in_shardings=(None, None, by_rows))
    advance = compiled(
        lambda state, until, *inputs: run_piece(chain_of(*inputs), state, until),
        in_shardings=(state_shardings, None, None, None, by_rows),
    )
    gather = jax.jit(lambda *images: images, out_shardings=whole)

    def walk(
        params: Params, seed: int, indices: np.ndarray, cond: Condition, stops: Sequence[int]
    ) -> Iterator[tuple[Array, Array]]:
        inputs = params, np.uint32(seed), meshes.put_whole((indices, cond), mesh)
        state = start(*inputs)
        for until in stops:
            state = advance(state, np.int32(until), *inputs)
            yield gather(state.x, state.x0)

    return walk


def in_one_step(generate: Generate) -> Walk:
    """Return a program of one batch in the form of `compile_chain`, as a chain of a single step.

    Args:
      generate: program from `compile_batch`.
    """

    def walk(
        params: Params, seed: int, indices: np.ndarray, cond: Condition, stops: Sequence[int]
    ) -> Iterator[tuple[Array, Array]]:
        for _ in stops:
            images = generate(params, seed, indices, cond)
            yield images, images

    return walk


def batches_of(
    label: Int[np.ndarray, "N"], value: Float[np.ndarray, "N K"], batch_size: int
) -> Iterator[tuple[np.ndarray, Condition]]:
    """Yield indices and conditions of each batch; the last one is filled up with its last row.

    Args:
      label: class of each image; the number of classes stands for "no class".
      value: standardised conditions of each image; NaN = not given.
      batch_size: images of a batch over all devices.
    """
    for start in range(0, len(label), batch_size):
        indices = np.arange(start, start + batch_size, dtype=np.int32)
        rows = np.minimum(indices, len(label) - 1)
        yield indices, Condition(label[rows].astype(np.int32), value[rows].astype(np.float32))


def generate_batches(
    generate: Generate,
    params: Params,
    label: Int[np.ndarray, "N"],
    value: Float[np.ndarray, "N K"],
    *,
    seed: int,
    batch_size: int,
) -> Iterator[UInt8[np.ndarray, "B H W C"]]:
    """Generate image i with `label[i]` and `value[i]`, batch by batch; the last batch is padded and then cut.

    Args:
      generate: program of one batch, from `compile_batch`.
      params: averaged parameters.
      label: class of each image; the number of classes stands for "no class".
      value: standardised conditions of each image, float32; NaN = not given.
      seed: seed of the images.
      batch_size: images of a batch over all devices.
    """
    for indices, cond in batches_of(label, value, batch_size):
        images = generate(params, seed, indices, cond)
        yield to_uint8(jax.device_get(images))[: len(label) - indices[0]]


def to_display(images: UInt8[np.ndarray, "N H W C"], data: DataConfig) -> UInt8[np.ndarray, "N H W c"]:
    """Return the images as a grid shows them: orientations by their IPF-Z colours, all else as it is."""
    has_orientations = data.ebsd == "quaternions" and images.shape[-1] == 4
    return image_colour(images, data.laue_group) if has_orientations else images


def in_turn(num: int, num_classes: int) -> Int[np.ndarray, "N"]:
    """Return labels that take every class in turn."""
    return np.arange(num, dtype=np.int32) % num_classes


def not_given(num: int, num_conditions: int) -> Float[np.ndarray, "N K"]:
    """Return conditions of which none is given."""
    return np.full((num, num_conditions), np.nan, np.float32)
