"""--mode=plan: what a config would cost on machines that are not here, before anyone pays for them.

The step is compiled for meshes of pretended CPU devices, without data. With F operations, A bytes accessed and M
bytes sent by each device, peak P, memory bandwidth H, link L, and u = `plan.utilisation`,

    step time = max(F / (u P), A / H) + M / L        nothing of the sending hidden: an upper bound
    efficiency = step time of one device / step time, the batch growing with the devices

A and the temporaries are those of XLA's CPU program (which keeps bfloat16 activations in float32 in places and fuses
less), and so are bounds from above. P, H and L are the makers' published figures, dense, for bfloat16.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from microgen_jax import files, methods
from microgen_jax.config.command_line import Request
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.runtime import compile_cache, memory_plan
from microgen_jax.runtime import mesh as meshes
from microgen_jax.types import Method


class Chip(NamedTuple):
    """Published figures of one device.

    Attributes:
      peak: bfloat16 operations a second.
      memory: bytes.
      bandwidth: of the memory, bytes a second.
      link: to the devices of its host or slice, bytes a second one way.
      network: to other hosts, bytes a second one way.
      together: devices that the link joins.
    """

    peak: float
    memory: float
    bandwidth: float
    link: float
    network: float
    together: int


CHIPS = {
    "a100": Chip(312e12, 80e9, 2.04e12, 300e9, 25e9, 8),
    "h100": Chip(989e12, 80e9, 3.35e12, 450e9, 50e9, 8),
    "h200": Chip(989e12, 141e9, 4.8e12, 450e9, 50e9, 8),
    "tpu_v4": Chip(275e12, 32e9, 1.23e12, 150e9, 150e9, 4096),
    "tpu_v5e": Chip(197e12, 16e9, 0.82e12, 100e9, 100e9, 256),
    "tpu_v5p": Chip(459e12, 95e9, 2.77e12, 300e9, 300e9, 8960),
    "tpu_v6e": Chip(918e12, 32e9, 1.64e12, 224e9, 224e9, 256),
}


class Plan(NamedTuple):
    """What one mesh costs; bytes and operations of each device, seconds of a step."""

    devices: int
    batch: int
    params: int
    state: int
    cost: memory_plan.Cost
    seconds: float


def plan(request: Request) -> None:
    """Prints what each number of devices in `plan.devices` would cost, and writes `plan.json` with --workdir.

    Raises:
      UserError: a chip or a mesh that cannot be.
    """
    config = request.config
    _check(config)
    _pretend(max(2, *config.plan.devices))
    compile_cache.use_compile_cache()
    method = methods.build(
        config,
        channels=config.plan.channels,
        num_classes=config.plan.classes,
        num_conditions=config.plan.conditions,
    )
    plans = []
    for found in _plans(config, method):
        plans.append(found)
        print(f"compiled for {_counted(found.devices)}", flush=True)
    _print(config, plans)
    if request.workdir is not None:
        files.write_json(request.workdir / "plan.json", [_entry(config, p, plans[0]) for p in plans])


def _pretend(devices: int) -> None:
    """Makes one CPU many devices, two at least: a single one has forms of layers of its own.

    Where JAX has started already (in a notebook, say) it stays as it is.
    """
    with suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)


def _check(config: Config) -> None:
    chip, fsdp = config.plan.chip, config.mesh.fsdp
    if chip not in CHIPS:
        raise UserError(
            f"plan.chip={chip!r} is not known; {did_you_mean(chip, list(CHIPS))}there are: {', '.join(CHIPS)}"
        )
    if not config.plan.devices:
        raise UserError(f"plan.devices={config.plan.devices} must name one number of devices or more")
    if not 0 < config.plan.utilisation <= 1:
        raise UserError(f"plan.utilisation={config.plan.utilisation} must be above 0 and at most 1")
    for devices in config.plan.devices:
        if devices > 1 and devices % fsdp:
            raise UserError(f"mesh.fsdp={fsdp} does not divide plan.devices={devices}; choose a divisor")


def _plans(config: Config, method: Method) -> Iterator[Plan]:
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = jax.eval_shape(method.init, key)
    size, channels = config.data.size, config.plan.channels
    for devices in config.plan.devices:
        fsdp = min(config.mesh.fsdp, devices)
        mesh = meshes.make_mesh(devices // fsdp, fsdp)
        shardings = meshes.parameter_shardings(shapes, mesh)
        count = config.train.batch_size * method.minibatches * devices
        batch = memory_plan.batch_shapes(count, size, channels, config.plan.conditions)
        step = meshes.compiled_step(method.train_step, shardings, mesh, size)
        cost = memory_plan.step_cost(step.trace(shapes, batch, key), devices)
        params = memory_plan.bytes_on_device(shapes.params, shardings.params)
        state = memory_plan.bytes_on_device(shapes, shardings)
        seconds = _seconds(cost, CHIPS[config.plan.chip], devices, config.plan.utilisation)
        yield Plan(devices, count, params, state, cost, seconds)


def _seconds(cost: memory_plan.Cost, chip: Chip, devices: int, utilisation: float) -> float:
    link = chip.link if devices <= chip.together else chip.network
    work = max(cost.flops / (utilisation * chip.peak), cost.bytes_accessed / chip.bandwidth)
    return work + sum(cost.messages.values()) / link


def _entry(config: Config, found: Plan, first: Plan) -> dict:
    """Stable names; bytes, operations and seconds of each device."""
    chip, cost = CHIPS[config.plan.chip], found.cost
    return {
        "devices": found.devices,
        "batch_size": found.batch,
        "parameter_bytes": found.params,
        "state_bytes": found.state,
        "temporary_bytes": cost.temporaries,
        "peak_bytes": found.state + cost.temporaries,
        "fits": found.state + cost.temporaries <= chip.memory,
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


def _print(config: Config, plans: list[Plan]) -> None:
    mesh = f"fsdp {config.mesh.fsdp}, {config.train.batch_size} images a device, {config.plan.chip}"
    table = Table(title=f"Of each device: {mesh}")
    entries = [_entry(config, found, plans[0]) for found in plans]
    table.add_column("")
    for entry in entries:
        table.add_column(_counted(entry["devices"]), justify="right")

    def row(name: str, text) -> None:
        table.add_row(name, *(text(entry) for entry in entries))

    row("parameters, MB", lambda e: f"{e['parameter_bytes'] / 1e6:.1f}")
    row("parameters, EMA, optimizer, MB", lambda e: f"{e['state_bytes'] / 1e6:.1f}")
    row("activations and other temporaries, MB", lambda e: f"{e['temporary_bytes'] / 1e6:,.0f}")
    row("peak memory, MB", lambda e: f"{e['peak_bytes'] / 1e6:,.0f}" + ("" if e["fits"] else " TOO MUCH"))
    row("operations, GFLOP", lambda e: f"{e['flops'] / 1e9:,.1f}")
    row("operations a byte", lambda e: f"{e['intensity']:.1f}")
    for kind in sorted({kind for entry in entries for kind in entry["sent_bytes"]}):
        row(f"{kind} sent, MB", lambda e, kind=kind: f"{e['sent_bytes'].get(kind, 0) / 1e6:,.1f}")
    row("step, ms, at most", lambda e: f"{1e3 * e['step_seconds']:.1f}")
    row("images a second, at least", lambda e: f"{e['images_per_second']:,.0f}")
    row("efficiency", lambda e: f"{e['efficiency']:.0%}")
    Console(highlight=False).print(table)
    print(
        f"assumed: {config.plan.utilisation:.0%} of {CHIPS[config.plan.chip].peak / 1e12:g} TFLOP/s, sending not "
        "hidden behind computing; memory and bytes are those of XLA's CPU program, bounds from above"
    )
