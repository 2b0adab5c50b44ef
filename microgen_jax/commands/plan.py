"""--mode=plan: time and memory that a configuration takes on other machines, estimated here.

The step is compiled for meshes of virtual CPU devices, without data. With F operations, A bytes accessed and M
bytes sent by each device, peak P, memory bandwidth H, link L, and u = `plan.utilisation`,

    step time = max(F / (u P), A / H) + M / L        no overlap of the two: an upper bound
    efficiency = step time of one device / step time, the batch growing with the devices

A and the temporaries are those of XLA's CPU program (which keeps bfloat16 activations in float32 in places and fuses
less), and so are upper bounds. P, H and L are the makers' published figures, dense, for bfloat16.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from microgen_jax import files, methods
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config, DataConfig
from microgen_jax.crystal.symmetry import DEFAULT_LAUE_GROUP
from microgen_jax.data.representations import Images, Orientations, PhaseName, Representation
from microgen_jax.data.representations.choice import choose
from microgen_jax.data.sources.detect import detect_source
from microgen_jax.errors import UserError, argument_of
from microgen_jax.runtime import compile_cache, memory_plan
from microgen_jax.runtime import mesh as meshes
from microgen_jax.types import Method


class Chip(NamedTuple):
    """Published figures of one device.

    Attributes:
      peak: bfloat16 operations a second.
      memory: bytes of memory.
      bandwidth: bytes a second of the memory.
      link: bytes a second, one way, to the devices of its host or slice.
      network: bytes a second, one way, to other hosts.
      linked: number of devices that the link joins.
    """

    peak: float
    memory: float
    bandwidth: float
    link: float
    network: float
    linked: int


CHIPS = {
    "a100": Chip(312e12, 80e9, 2.04e12, 300e9, 25e9, 8),
    "h100": Chip(989e12, 80e9, 3.35e12, 450e9, 50e9, 8),
    "h200": Chip(989e12, 141e9, 4.8e12, 450e9, 50e9, 8),
    "tpu_v4": Chip(275e12, 32e9, 1.23e12, 150e9, 150e9, 4096),
    "tpu_v5e": Chip(197e12, 16e9, 0.82e12, 100e9, 100e9, 256),
    "tpu_v5p": Chip(459e12, 95e9, 2.77e12, 300e9, 300e9, 8960),
    "tpu_v6e": Chip(918e12, 32e9, 1.64e12, 224e9, 224e9, 256),
}


class Estimate(NamedTuple):
    """Cost of a step on one mesh.

    Attributes:
      devices: number of devices.
      batch: images of a step on all devices.
      params: bytes of parameters on each device.
      state: bytes of parameters, averages and optimizer state on each device.
      cost: operations, bytes and messages of each device.
      seconds: time of a step, an upper bound.
    """

    devices: int
    batch: int
    params: int
    state: int
    cost: memory_plan.Cost
    seconds: float


def plan(request: Request) -> None:
    """Print the cost of a step for each number of devices in `plan.devices`, and write `plan.json` with --workdir.

    Args:
      request: the parsed command line, of which the `plan` part and the network are used.

    Raises:
      UserError: no number of devices, a mesh that does not divide them, or a model that cannot be built.
    """
    config = request.config
    _check(config)
    _use_virtual_devices(max(2, *config.plan.devices))
    compile_cache.use_compile_cache()
    method = methods.build(
        config,
        channels=_representation(config).channels,
        stages=_representation(config).stages,
        num_classes=config.plan.classes,
        num_conditions=config.plan.conditions,
    )
    if visible := methods.schedule_warning(method):
        print(f"warning: {visible}")
    estimates = []
    for estimate in _estimates(config, method):
        estimates.append(estimate)
        print(f"compiled for {_counted(estimate.devices)}", flush=True)
    entries = [_entry(config, estimate, estimates[0]) for estimate in estimates]
    _print(config, entries)
    if request.workdir is not None:
        files.write_json(request.workdir / "plan.json", entries)


def _use_virtual_devices(devices: int) -> None:
    """Divide the CPU into devices, two at least: for a single one some layers have other forms.

    Where JAX has started already, in a notebook say, it stays as it is.
    """
    with suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)


def _representation(config: Config) -> Representation:
    """Return what the channels mean; orientations are of one phase, cubic unless `data.laue_group` is set."""
    with argument_of("data"):
        chosen = choose(config.data, _kind(config.data))
    if chosen == "orientation":
        return Orientations((PhaseName("", config.data.laue_group or DEFAULT_LAUE_GROUP),))
    return Images(config.plan.channels)


def _kind(data: DataConfig) -> str:
    """Return the kind of the source; where its data are not here, the one that the representation needs."""
    if data.source != "auto":
        return data.source
    try:
        return detect_source(data.source, os.path.expanduser(data.root), data.name)
    except UserError:
        return "ebsd" if data.representation == "orientation" else "folder"


def _check(config: Config) -> None:
    fsdp = config.mesh.fsdp
    if not config.plan.devices:
        raise UserError("plan.devices", "() must name one number of devices or more", "as in (1,8)")
    for devices in config.plan.devices:
        if devices > 1 and devices % fsdp:
            raise UserError("mesh.fsdp", f"{fsdp} does not divide plan.devices={devices}", "choose a divisor")


def _estimates(config: Config, method: Method) -> Iterator[Estimate]:
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = jax.eval_shape(method.init, key)
    size, channels = config.data.size, _representation(config).channels
    for devices in config.plan.devices:
        fsdp = min(config.mesh.fsdp, devices)
        with argument_of("mesh"):
            mesh = meshes.make_mesh(devices // fsdp, fsdp)
        shardings = meshes.parameter_shardings(shapes, mesh)
        count = config.train.batch_size * method.minibatches * devices
        batch = memory_plan.batch_shapes(count, size, channels, config.plan.conditions)
        step = meshes.compiled_step(method.train_step, shardings, mesh, size)
        cost = memory_plan.step_cost(step.trace(shapes, batch, key), devices)
        params = memory_plan.bytes_on_device(shapes.params, shardings.params)
        state = memory_plan.bytes_on_device(shapes, shardings)
        seconds = _seconds(cost, CHIPS[config.plan.chip], devices, config.plan.utilisation)
        yield Estimate(devices, count, params, state, cost, seconds)


def _seconds(cost: memory_plan.Cost, chip: Chip, devices: int, utilisation: float) -> float:
    link = chip.link if devices <= chip.linked else chip.network
    work = max(cost.flops / (utilisation * chip.peak), cost.bytes_accessed / chip.bandwidth)
    return work + sum(cost.messages.values()) / link


def _entry(config: Config, found: Estimate, first: Estimate) -> dict[str, Any]:
    """Return an entry of `plan.json`; bytes and operations are those of each device."""
    chip, cost = CHIPS[config.plan.chip], found.cost
    return {
        "devices": found.devices,
        "batch_size": found.batch,
        "parameter_bytes": found.params,
        "state_bytes": found.state,
        "temporary_bytes": cost.temporaries,
        "peak_bytes": found.state + cost.temporaries,
        "fits": found.state + cost.temporaries <= (config.plan.memory_gb * 1e9 or chip.memory),
        "flops": cost.flops,
        "bytes_accessed": cost.bytes_accessed,
        "intensity": cost.flops / cost.bytes_accessed,
        "sent_bytes": cost.messages,
        "step_seconds": found.seconds,
        "images_per_second": found.batch / found.seconds,
        "efficiency": (found.batch / found.seconds / found.devices)
        / (first.batch / first.seconds / first.devices),
    }


def _counted(devices: int) -> str:
    return f"{devices} device{'s' * (devices > 1)}"


def _print(config: Config, entries: list[dict[str, Any]]) -> None:
    mesh = f"fsdp {config.mesh.fsdp}, {config.train.batch_size} images a device, {config.plan.chip}"
    table = Table(title=f"Cost of a step on each device: {mesh}")
    table.add_column("")
    for entry in entries:
        table.add_column(_counted(entry["devices"]), justify="right")

    def row(name: str, text: Callable[[dict[str, Any]], str]) -> None:
        table.add_row(name, *(text(entry) for entry in entries))

    row("parameters, MB", lambda e: f"{e['parameter_bytes'] / 1e6:.1f}")
    row("parameters, EMA, optimizer, MB", lambda e: f"{e['state_bytes'] / 1e6:.1f}")
    row("activations and other temporaries, MB", lambda e: f"{e['temporary_bytes'] / 1e6:,.0f}")
    row("peak memory, MB", lambda e: f"{e['peak_bytes'] / 1e6:,.0f}" + ("" if e["fits"] else " TOO MUCH"))
    row("operations, GFLOP", lambda e: f"{e['flops'] / 1e9:,.1f}")
    row("operations for each byte", lambda e: f"{e['intensity']:.1f}")
    for kind in sorted({kind for entry in entries for kind in entry["sent_bytes"]}):
        row(f"{kind} sent, MB", lambda e, kind=kind: f"{e['sent_bytes'].get(kind, 0) / 1e6:,.1f}")
    row("step, ms, at most", lambda e: f"{1e3 * e['step_seconds']:.1f}")
    row("images a second, at least", lambda e: f"{e['images_per_second']:,.0f}")
    row("efficiency", lambda e: f"{e['efficiency']:.0%}")
    Console(highlight=False).print(table)
    print(
        f"assumed: {config.plan.utilisation:.0%} of {CHIPS[config.plan.chip].peak / 1e12:g} TFLOP/s, no overlap of "
        "messages and computing; memory and bytes are those of XLA's CPU program, upper bounds"
    )
