"""--mode=train: from a config to a trained run; starting again goes on from the newest checkpoint."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from microgen_jax import data, files, methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request, may_write_cache
from microgen_jax.config.schema import Config
from microgen_jax.data import Dataset, checks
from microgen_jax.errors import UserError
from microgen_jax.evaluation import training_quality
from microgen_jax.networks import Row
from microgen_jax.runtime import compile_cache, distributed, lock, memory_plan
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling import batching
from microgen_jax.training import checkpoint, loop
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.logging import Writer
from microgen_jax.training.progress import Progress
from microgen_jax.training.state import TrainState
from microgen_jax.training.watchdog import Watch
from microgen_jax.types import Batch, Method


def train(request: Request) -> None:
    """Trains, or resumes, the run that the request describes.

    Raises:
      UserError: what the person did wrong, before the workdir is touched.
    """
    workdir = request.workdir
    if workdir is None:
        raise UserError("--workdir is missing: name the folder for this run, as in --workdir=runs/mine")
    with distributed.broadcast_errors():
        config, dataset, method, mesh = _prepare(request, workdir)
    with ExitStack() as stack:
        with distributed.broadcast_errors():
            stack.enter_context(lock.hold(workdir, distributed.is_process_0()))
            _check_run(workdir, config, dataset)
        if distributed.is_process_0():
            run_config.write(workdir, config, run_config.resolve(dataset))
        compile_cache.use_compile_cache()
        if distributed.is_process_0():
            _introduce(dataset, method, mesh)
        _run(config, workdir, dataset, method, mesh)


def _prepare(request: Request, workdir: Path) -> tuple[Config, Dataset, Method, Mesh]:
    """Everything that can be refused, before the workdir is touched."""
    config = _own(request, workdir)
    files.check_writable(workdir)
    config = _with_schedule_end(config, workdir)
    mesh = meshes.make_mesh(config.mesh.data, config.mesh.fsdp)
    meshes.check_batch(config.train.batch_size, config.train.accumulate, mesh)
    methods.check(config)

    dataset = data.open_dataset(config.data, config.seed, write_cache=may_write_cache(request, config))
    resolved = run_config.resolve(dataset)
    method = methods.build(
        config,
        channels=resolved.channels,
        num_classes=len(resolved.classes),
        num_conditions=len(resolved.conditions),
    )
    _check_levels(config, dataset)
    _check_run(workdir, config, dataset)
    _agree(config, resolved)
    return config, dataset, method, mesh


def _check_levels(config: Config, dataset: Dataset) -> None:
    """Refuses images in grey where the loss takes every pixel for black or white."""
    if config.method != "ddpm" or config.diffusion.loss != "bce":
        return
    if found := checks.grey(dataset.train, dataset.preparation):
        name, level = found
        raise UserError(
            f"diffusion.loss='bce' is for black and white alone, and {name} as the model sees it (data.resample="
            f"{config.data.resample}) holds a level of {level:.3g} between black (0) and white (1): set "
            "diffusion.loss=mse, or make the images 0 and 255 and keep them so (data.resample=nearest or none)"
        )


def _agree(config: Config, resolved: run_config.Resolved) -> None:
    """Refuses processes that were told something else than the first; code first, as the fields follow from it."""
    distributed.assert_same_config(
        {
            "code": distributed.code_digest(),
            "versions": json.dumps(run_config.versions()),
            "fields": json.dumps(sorted(fields.fields())),
        }
    )
    told = {name: repr(fields.value(config, name)) for name in fields.fields()}
    distributed.assert_same_config(told | {"data set": json.dumps(asdict(resolved))})


def _check_run(workdir: Path, config: Config, dataset: Dataset) -> None:
    """Refuses another run's folder: before it is touched, and once more when nobody else can start one there."""
    if run_config.exists(workdir):
        run_config.check_resumable(workdir, config, run_config.resolve(dataset))
    elif (workdir / "checkpoints").is_dir():
        raise UserError(
            f"--workdir={workdir} has checkpoints but no config.json; restore it or choose another"
        )


def _own(request: Request, workdir: Path) -> Config:
    """The request's configuration; where it names no config file, the one that the run was started with.

    The mesh is never the run's: it may have been trained on other devices.
    """
    if request.has_config or not run_config.exists(workdir):
        return request.config
    config = dataclasses.replace(run_config.read(workdir).config, mesh=request.config.mesh)
    return fields.replace(config, request.overrides)


def _with_schedule_end(config: Config, workdir: Path) -> Config:
    """The learning rate's schedule ends where the first start said, however far `train.steps` grows later."""
    if config.train.schedule_steps:
        return config
    first = run_config.read(workdir).config if run_config.exists(workdir) else None
    end = (first and first.train.schedule_steps) or config.train.steps
    return fields.replace(config, {"train.schedule_steps": end})


def _introduce(dataset: Dataset, method: Method, mesh: Mesh) -> None:
    """Says what is about to be trained, on what, and where."""
    classes = ", ".join(dataset.classes)
    print(
        f"data: {dataset.kind}, {len(dataset.train)} for training, {len(dataset.holdout)} held out; {classes}"
    )
    for note in dataset.notes:
        print(f"note: {note}")
    if copies := checks.duplicates(dataset.train, dataset.holdout):
        held, trained = copies[0]
        print(
            f"warning: {len(copies)} held-out images are training images too, such as {held} and {trained}:"
            " remove the copies, or set data.split_by"
        )
    _print_parts(method.summary())
    print(
        f"devices: {mesh.shape['data']} data x {mesh.shape['fsdp']} fsdp, {jax.devices()[0].device_kind}",
        flush=True,
    )


def _print_parts(rows: list[Row]) -> None:
    table = Table("part", "size", "channels", "blocks", "attention", "parameters", "GFLOP an image")
    for row in rows:
        size = f"{row.size[0]}x{row.size[1]}" if row.size[0] else ""
        counts = [str(row.channels), str(row.blocks or ""), str(row.attention or "")]
        table.add_row(row.name, size, *counts, f"{row.params:,}", f"{row.flops / 1e9:.3f}")
    params, flops = sum(row.params for row in rows), sum(row.flops for row in rows)
    table.add_row("in all", "", "", "", "", f"{params:,}", f"{flops / 1e9:.3f}")
    Console(highlight=False).print(table)


def _run(config: Config, workdir: Path, dataset: Dataset, method: Method, mesh: Mesh) -> None:
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    with closing(Checkpoints(workdir, config.train.keep)) as checkpoints:
        state, shardings = _start(method, mesh, checkpoints, init_key)
        step = int(state.step)
        with closing(Writer(workdir, step, distributed.is_process_0())) as writer:
            steps = _steps(config, dataset)
            if step >= steps.total and not any(loop.owed(step, steps, writer)):
                writer.animation()
                writer.curves(method.curves)
                distributed.log(f"already trained for {step} steps; raise train.steps to go on")
                return
            _announce(config, step)
            functions = _functions(config, dataset, method, mesh, shardings)
            batch_size = config.train.batch_size * method.minibatches
            progress = Progress(step, config.train.steps, distributed.is_process_0())
            try:
                with closing(_batches(config, dataset, mesh, batch_size, step)) as batches:
                    loop.train(
                        functions,
                        state,
                        data.prefetch_to_device(batches, lambda batch: meshes.put_batch(batch, mesh)),
                        train_key,
                        steps,
                        batch_size,
                        checkpoints,
                        writer,
                        progress,
                        Watch(workdir, distributed.is_process_0()),
                    )
                writer.animation()
                writer.curves(method.curves)
                distributed.log(f"done: {workdir}/checkpoints/{checkpoints.newest()}")
            except loop.Interrupted as stopped:
                distributed.log(f"{stopped}; start the same command again to go on")
            except jax.errors.JaxRuntimeError as fault:
                if "RESOURCE_EXHAUSTED" not in str(fault):
                    raise
                batch = memory_plan.batch_shapes(
                    batch_size, config.data.size, dataset.preparation.channels, len(dataset.conditions)
                )
                said = _out_of_memory(functions.train_step, state, batch, train_key, shardings)
                raise UserError(said) from fault


def _out_of_memory(
    step: Callable, state: TrainState, batch: Batch, key: jax.Array, shardings: TrainState
) -> str:
    """What the step needs, by its own compiled program, what there is, and what to lower."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    held = f"parameters, EMA and optimizer take {memory_plan.bytes_on_device(shapes, shardings) / 1e9:.3g} GB"
    try:
        needs = step.lower(shapes, batch, key).compile().memory_analysis().temp_size_in_bytes
        rest = f"activations of the step {needs / 1e9:.3g} GB"
    except jax.errors.JaxRuntimeError:
        rest = "the step does not even compile in what is left"
    stats = jax.local_devices()[0].memory_stats() or {}
    there = f" (there are {stats['bytes_limit'] / 1e9:.3g} GB)" if "bytes_limit" in stats else ""
    return (
        f"out of device memory{there}: {held} of each device, {rest}; lower train.batch_size (or "
        "sample.batch_size, if it was drawing) or raise train.accumulate, set model.remat, or raise mesh.fsdp "
        "(--mode=plan says what each costs)"
    )


def _announce(config: Config, step: int) -> None:
    if step:
        distributed.log(f"resuming from step {step}")
    end = config.train.schedule_steps
    if config.train.steps > end and config.train.lr_schedule == "cosine":
        distributed.log(f"note: the learning rate is 0 from step {end} on (train.schedule_steps)")


def _batches(config: Config, dataset: Dataset, mesh: Mesh, batch_size: int, start: int) -> Iterator[Batch]:
    batches = data.batches(
        dataset.train,
        dataset.preparation,
        seed=config.seed,
        batch_size=batch_size,
        start=start,
        rows=meshes.process_rows(batch_size, mesh),
        workers=config.data.workers,
        read_timeout=config.data.read_timeout,
    )
    return distributed.local_errors_abort(batches)


def _start(
    method: Method, mesh: Mesh, checkpoints: Checkpoints, key: jax.Array
) -> tuple[TrainState, TrainState]:
    """The newest whole checkpoint's state, or a fresh one, laid over the mesh; and how it lies there."""
    shapes = jax.eval_shape(method.init, key)
    shardings = meshes.parameter_shardings(shapes, mesh)
    state = checkpoints.resume(checkpoint.abstract(shapes, shardings))
    if state is None:
        state = jax.jit(method.init, out_shardings=shardings)(key)
    return state, shardings


def _steps(config: Config, dataset: Dataset) -> loop.Steps:
    train = config.train
    return loop.Steps(
        train.steps,
        train.log_every,
        train.sample_every,
        train.eval_every if len(dataset.holdout) else 0,
        train.checkpoint_every,
        tuple(train.skip_batches),
    )


def _functions(
    config: Config, dataset: Dataset, method: Method, mesh: Mesh, shardings: TrainState
) -> loop.Functions:
    train_step = meshes.compiled_step(method.train_step, shardings, mesh, config.data.size)
    heldout = None
    if len(dataset.holdout):
        loss = _heldout(config, dataset, method, mesh, shardings)
        watch = training_quality.watch(config, dataset, mesh)
        heldout = loss if watch is None else lambda state: loss(state) | watch(state)
    images = partial(
        data.names,
        dataset.train,
        seed=config.seed,
        batch_size=config.train.batch_size * method.minibatches,
    )
    return loop.Functions(
        train_step,
        heldout,
        _preview(config, dataset, method, mesh),
        lambda k: images(k=k),
        tuple(sorted(shardings.params)),
    )


def _heldout(
    config: Config, dataset: Dataset, method: Method, mesh: Mesh, shardings: TrainState
) -> Callable[[TrainState], dict[str, float]]:
    whole, rows = meshes.replicated(mesh), meshes.by_rows(mesh)
    eval_step = jax.jit(
        method.eval_step,
        in_shardings=(shardings, rows, rows, rows),
        out_shardings=whole,
        compiler_options=compile_cache.options(config.data.size),
    )
    size = config.train.batch_size

    def batches() -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
        mine = meshes.process_rows(size, mesh)
        stream = data.evaluation_batches(
            dataset.holdout,
            dataset.preparation,
            batch_size=size,
            limit=config.train.eval_num,
            rows=mine,
            workers=config.data.workers,
            read_timeout=config.data.read_timeout,
        )
        for k, (batch, mask) in enumerate(distributed.local_errors_abort(stream)):
            yield batch, mask.astype(np.float32), (np.arange(size, dtype=np.int32) + k * size)[mine]

    def heldout(state: TrainState) -> dict[str, float]:
        totals: dict[str, np.ndarray] = {}
        for part in batches():
            sums = jax.device_get(eval_step(state, *meshes.put_batch(part, mesh)))
            totals = {name: totals.get(name, 0.0) + np.asarray(value, float) for name, value in sums.items()}
        count = totals.pop("count")
        values = method.heldout({name: np.asarray(value / count) for name, value in totals.items()})
        for warning in method.warnings(step := int(state.step), values):
            distributed.log(f"warning: step {step}: {warning}")
        return values

    return heldout


def _preview(
    config: Config, dataset: Dataset, method: Method, mesh: Mesh
) -> Callable[[TrainState], np.ndarray]:
    generate = batching.compile_batch(method.generate, mesh, config.data.size)
    label = batching.in_turn(config.train.sample_num, len(dataset.classes))
    value = batching.not_given(config.train.sample_num, len(dataset.conditions))

    def preview(state: TrainState) -> np.ndarray:
        batch_size = config.sample.batch_size * mesh.size
        parts = batching.generate_batches(
            generate, state.ema_params, label, value, seed=config.sample.seed, batch_size=batch_size
        )
        return batching.to_display(np.concatenate(list(parts)), config.data)

    return preview
