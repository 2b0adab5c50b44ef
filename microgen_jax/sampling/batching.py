"""Any number of images in batches of one compiled shape; image i of a seed is always the same."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key, UInt32

from microgen_jax.data.representations import Orientations, Representation
from microgen_jax.diffusion import Chain, SampleState, run_piece, start_state
from microgen_jax.methods import DDPM, WGANGP, Cascade
from microgen_jax.runtime import compile_cache
from microgen_jax.runtime import mesh as meshes
from microgen_jax.types import Condition, Method, Params

Generate = Callable[[Params, int, np.ndarray, Condition], Array]
Walk = Callable[..., Iterator[tuple[Array, Array]]]  # of params, seed, indices, cond, stops, *given


def image_keys(seed: UInt32[Array, ""], indices: Int[Array, "B"], stage: int = 0) -> Key[Array, "B"]:
    """Return the PRNG key of each image, a function of the seed, the image's index and the stage alone."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), indices)
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, stage) if stage else keys


def count_steps(method: Method) -> int:
    """Return the number of steps in which a method generates a batch, over all its stages."""
    if isinstance(method, Cascade):
        return sum(count_steps(stage) for _, stage in method.stages)
    return method.sampling.steps if isinstance(method, DDPM) else 1


def compile_method(
    method: DDPM | WGANGP | Cascade, mesh: Mesh, size: tuple[int, int], representation: Representation
) -> Generate:
    """Return `(params, seed, indices, cond) -> channels` of one batch over all devices of a mesh.

    Args:
      method: method of the run.
      mesh: devices, from `make_mesh`; the images are whole on each of them.
      size: height and width of an image, in pixels.
      representation: what the channels mean.
    """
    if not isinstance(method, Cascade):
        return compile_batch(method.generate, mesh, size)
    walk, steps = compile_walk(method, mesh, size, representation), count_steps(method)

    def generate(params: Params, seed: int, indices: np.ndarray, cond: Condition) -> Array:
        return next(walk(params, seed, indices, cond, [steps]))[0]

    return generate


def compile_walk(
    method: DDPM | WGANGP | Cascade,
    mesh: Mesh,
    size: tuple[int, int],
    representation: Representation,
    *,
    weak: bool = False,
) -> Walk:
    """Return `(params, seed, indices, cond, stops) -> (x, x0) after each of the stops` of any method.

    Stop 0 gives the noise of a chain, and of a cascade that of its first stage.

    Args:
      method: method of the run.
      mesh: devices, from `make_mesh`; the images are whole on each of them.
      size: height and width of an image, in pixels.
      representation: what the channels mean.
      weak: whether `params` is a pair, the second of which guides (autoguidance).
    """
    if isinstance(method, DDPM):
        return compile_chain(_chain(method, weak), mesh, size)
    if isinstance(method, Cascade):
        return _compile_stages(method, mesh, size, representation, weak)
    return in_one_step(compile_batch(method.generate, mesh, size))


def _chain(method: DDPM, weak: bool) -> Callable[..., Chain]:
    """Return `method.chain` as a function of one set of parameters, or of two."""
    if not weak:
        return lambda params, keys, cond, *given: method.chain(params, keys, cond, None, *given)
    return lambda both, keys, cond, *given: method.chain(both[0], keys, cond, both[1], *given)


def _compile_stages(
    method: Cascade, mesh: Mesh, size: tuple[int, int], representation: Orientations, weak: bool
) -> Walk:
    """Return the walk through one stage after the other; the steps of all are counted on.

    The channels are those of the stages so far. What a stage is given is decoded and encoded again on the host, so that
    it is what that stage was trained on.
    """
    programs = [
        compile_chain(_chain(stage, weak), mesh, size, stage=index)
        for index, (_, stage) in enumerate(method.stages)
    ]

    def walk(
        params: Params, seed: int, indices: np.ndarray, cond: Condition, stops: Sequence[int]
    ) -> Iterator[tuple[Array, Array]]:
        done, x = 0, None
        for (name, stage), program in zip(method.stages, programs):
            given = () if x is None else (representation.given(x),)
            own = tuple(part[name] for part in params) if weak else params[name]
            steps = count_steps(stage)
            ends = [stop - done for stop in stops if done < stop <= done + steps or stop == done == 0]
            last = () if steps in ends else (steps,)
            for end, found in zip([*ends, *last], program(own, seed, indices, cond, [*ends, *last], *given)):
                x, x0 = (np.concatenate([*given, jax.device_get(one)], axis=-1) for one in found)
                if end in ends:
                    yield x, x0
            done += steps

    return walk


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


def compile_chain(chain: Callable[..., Chain], mesh: Mesh, size: tuple[int, int], *, stage: int = 0) -> Walk:
    """Return `(params, seed, indices, cond, stops) -> (x, x0) after each of the stops`, of one batch over a mesh.

    `stops` are numbers of steps, ascending; 0 gives the noise. Two programs, compiled once, take a chain to its start
    and from any step to any other, so the bits do not depend on the stops.

    Args:
      chain: `DDPM.chain` or a function like it, `(params, keys, cond) -> Chain`; what follows `stops` comes behind
        `cond`.
      mesh: devices, from `make_mesh`; the images are whole on each of them.
      size: height and width of an image, in pixels.
      stage: number of the stage, so that each has noise of its own.
    """

    def chain_of(params: Params, seed: Array, rows: tuple) -> Chain:
        indices, *rest = rows
        return chain(params, image_keys(seed, indices, stage), *rest)

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
        params: Params,
        seed: int,
        indices: np.ndarray,
        cond: Condition,
        stops: Sequence[int],
        *given: np.ndarray,
    ) -> Iterator[tuple[Array, Array]]:
        inputs = params, np.uint32(seed), meshes.put_whole((indices, cond, *given), mesh)
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
) -> Iterator[Float[np.ndarray, "B H W C"]]:
    """Generate image i with `label[i]` and `value[i]`, batch by batch; the last batch is padded and then cut.

    Args:
      generate: program of one batch, from `compile_method`.
      params: averaged parameters.
      label: class of each image; the number of classes stands for "no class".
      value: standardised conditions of each image, float32; NaN = not given.
      seed: seed of the images.
      batch_size: images of a batch over all devices.
    """
    for indices, cond in batches_of(label, value, batch_size):
        channels = generate(params, seed, indices, cond)
        yield np.asarray(jax.device_get(channels))[: len(label) - indices[0]]


def in_turn(num: int, num_classes: int) -> Int[np.ndarray, "N"]:
    """Return labels that take every class in turn."""
    return np.arange(num, dtype=np.int32) % num_classes


def not_given(num: int, num_conditions: int) -> Float[np.ndarray, "N K"]:
    """Return conditions of which none is given."""
    return np.full((num, num_conditions), np.nan, np.float32)
