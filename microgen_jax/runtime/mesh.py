"""Devices as a mesh with the axes `data` and `fsdp`: the batch is cut along both, parameters along `fsdp`."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from microgen_jax.errors import UserError
from microgen_jax.runtime import compile_cache
from microgen_jax.types import Params

AXES = ("data", "fsdp")


def make_mesh(data: int, fsdp: int) -> Mesh:
    """Return a mesh of `data` x `fsdp` devices.

    Args:
      data: number of devices along the batch; -1 takes all that `fsdp` leaves.
      fsdp: number of devices that share parameters, EMA and optimizer state.

    Raises:
      UserError: there are not enough devices, or they do not divide evenly.
    """
    available = jax.device_count()
    if fsdp < 1:
        raise UserError("fsdp", f"{fsdp} must be at least 1")
    if data < 1 and data != -1:
        raise UserError("data", f"{data} must be at least 1", "-1 takes all devices")
    if data == -1:
        if available % fsdp:
            raise UserError(
                "fsdp", f"{fsdp} does not divide the {available} devices here", "choose a divisor"
            )
        data = available // fsdp
    if data * fsdp > available:
        raise UserError(
            "data",
            f"{data} x fsdp={fsdp} asks for {data * fsdp} devices; there are {available}",
            "lower one of them, or set data to -1",
        )
    devices = None if data * fsdp == available else jax.devices()[: data * fsdp]
    return jax.make_mesh((data, fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device of the mesh holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Return the sharding that cuts the first axis over every device of the mesh."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def parameter_shardings(tree: Params, mesh: Mesh, smallest: int = 4096) -> Params:
    """Return shardings that cut each array's largest axis that `fsdp` divides; small arrays stay whole.

    Args:
      tree: arrays, or their shapes.
      mesh: mesh from `make_mesh`.
      smallest: number of entries below which an array is replicated.
    """
    fsdp = mesh.shape["fsdp"]

    def place(x) -> NamedSharding:
        axes = [a for a in range(len(x.shape)) if x.shape[a] % fsdp == 0]
        if fsdp == 1 or not axes or np.prod(x.shape) < smallest:
            return replicated(mesh)
        axis = max(axes, key=lambda a: x.shape[a])
        return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "fsdp"))

    return jax.tree.map(place, tree)


def compiled_step(train_step: Callable, shardings: Params, mesh: Mesh, size: tuple[int, int]) -> Callable:
    """Return `(state, batch, key) -> (state, metrics)` over the mesh, jitted; the state is donated.

    Args:
      train_step: update of a method.
      shardings: shardings of the state.
      mesh: mesh from `make_mesh`.
      size: height and width of an image.
    """
    return jax.jit(
        train_step,
        in_shardings=(shardings, by_rows(mesh), replicated(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
        compiler_options=compile_cache.options(size),
    )


def check_batch(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Refuse a global batch that the devices and micro-batches do not divide.

    Args:
      batch_size: images of the global batch.
      accumulate: micro-batches of an update.
      mesh: mesh from `make_mesh`.

    Raises:
      UserError: `batch_size` does not fit; names the nearest one that does.
    """
    parts = mesh.size * accumulate
    if batch_size % parts:
        nearest = max(parts, round(batch_size / parts) * parts)
        raise UserError(
            "batch_size",
            f"{batch_size} is not divisible by {mesh.size} devices x {accumulate} micro-batches (train.accumulate)",
            f"the nearest that is: {nearest}",
        )


def process_rows(batch_size: int, mesh: Mesh) -> list[int]:
    """Return the rows of the global batch that this process's devices hold, in order.

    Args:
      batch_size: images of the global batch.
      mesh: mesh from `make_mesh`.
    """
    by_device = by_rows(mesh).addressable_devices_indices_map((batch_size,))
    return sorted(row for index in by_device.values() for row in range(batch_size)[index[0]])


def put_batch(batch: Any, mesh: Mesh) -> Any:
    """Return arrays that every process has its own rows of as global arrays over the mesh.

    Args:
      batch: tree of numpy arrays, the rows of `process_rows`.
      mesh: mesh from `make_mesh`.
    """
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(by_rows(mesh), x), batch)


def put_whole(tree: Params, mesh: Mesh) -> Params:
    """Return arrays that every process has all rows of as global arrays over the mesh.

    Args:
      tree: tree of numpy arrays.
      mesh: mesh from `make_mesh`.
    """
    rows = by_rows(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, rows, lambda i: x[i]), tree)
