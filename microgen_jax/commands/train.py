"""--mode=train: from a config to a trained run; starting again goes on from the newest checkpoint."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from microgen_jax import data, files, methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request, may_write_cache
from microgen_jax.config.schema import Config
from microgen_jax.data import Dataset, checks, overlaps
from microgen_jax.errors import UserError, argument_of
from microgen_jax.runtime import compile_cache, distributed, lock, memory_plan, storage
from microgen_jax.runtime import mesh as meshes
from microgen_jax.sampling import batching, training_quality
from microgen_jax.training import checkpoint, loop
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.logging import Writer
from microgen_jax.training.state import TrainState
from microgen_jax.types import Batch, Method


def train_request(request: Request) -> None:
    """Train, or resume, the run of a command line; without a config file, with the run's own configuration.

    The mesh is never the run's own: it may have been trained on other devices.

    Raises:
      UserError: a wrong field, or data that cannot be used, before the workdir is touched.
    """
    workdir, config = request.workdir, request.config
    if workdir is None:
        raise UserError("--workdir", "is missing", "name the folder of this run, as in --workdir=runs/mine")
    with distributed.broadcast_errors():
        if not request.has_config and run_config.exists(workdir):
            config = dataclasses.replace(run_config.read(workdir).config, mesh=config.mesh)
            config = fields.replace(config, request.overrides)
    train(config, workdir, write_cache=may_write_cache(request, config))


def train(config: Config | ConfigDict, workdir: str | Path, *, write_cache: bool = True) -> None:
    """Train a run to `config.train.steps` updates, or resume it from its newest checkpoint.

    Ctrl-C or SIGTERM saves a checkpoint and returns; the same call goes on from there, bit for bit.

    Args:
      config: configuration, as `get_config()` of a file in configs/ returns it.
      workdir: folder of the run, or its gs:// or s3:// address.
      write_cache: whether images that were decoded may be kept in `config.data.cache`.

    Raises:
      UserError: a wrong field, or data that cannot be used, before the workdir is touched.
    """
    if storage.is_remote(str(workdir)):
        with storage.opened(str(workdir), owning=True) as folder:
            return train(config, folder, write_cache=write_cache)
    workdir = Path(workdir).expanduser()
    config = config if isinstance(config, Config) else fields.freeze(config)

    with distributed.broadcast_errors():
        # ------------------------------------------------------------------------------------------------ mesh
        files.check_writable(workdir)
        config = _with_schedule_end(config, workdir)
        batch_size, size = config.train.batch_size, tuple(config.data.size)
        with argument_of("mesh"):
            mesh = meshes.make_mesh(config.mesh.data, config.mesh.fsdp)
        with argument_of("train"):
            meshes.check_batch(batch_size, config.train.accumulate, mesh)
        methods.check(config)

        # ------------------------------------------------------------------------------------------------ data
        dataset = data.open_dataset(config.data, config.seed, write_cache=write_cache)
        resolved = run_config.resolve(dataset)
        local_rows = meshes.process_rows(batch_size, mesh)

        # ----------------------------------------------------------------------------------------------- model
        counts = {"num_classes": len(resolved.classes), "num_conditions": len(resolved.conditions)}
        method = methods.build(config, channels=resolved.channels, stages=resolved.stages, **counts)
        _refuse_grey(config, dataset)
        _check_run(workdir, config, resolved)
        _require_same_run(config, resolved)

    with ExitStack() as stack:
        # ---------------------------------------------------------------- the workdir is this run's from here on
        with distributed.broadcast_errors():
            stack.enter_context(lock.hold(workdir, distributed.is_process_0()))
            _check_run(
                workdir, config, resolved
            )  # another start may have come and gone while the data were opened
        if distributed.is_process_0():
            run_config.write(workdir, config, resolved)
            _introduce(dataset, method, mesh)
        compile_cache.use_compile_cache()

        # ------------------------------------------------------------------------------------- init or restore
        whole, by_rows = meshes.replicated(mesh), meshes.by_rows(mesh)
        split = jax.jit(lambda key: tuple(jax.random.split(key)), out_shardings=whole)
        init_key, train_key = split(jax.random.key(config.seed))
        shapes = jax.eval_shape(method.init, init_key)
        shardings = meshes.parameter_shardings(shapes, mesh)
        checkpoints = stack.enter_context(closing(Checkpoints(workdir, config.train.keep)))
        state = checkpoints.resume(checkpoint.abstract(shapes, shardings))
        if state is None:
            state = jax.jit(method.init, out_shardings=shardings)(init_key)
        start = int(state.step)
        writer = stack.enter_context(closing(Writer(workdir, start, distributed.is_process_0())))

        # --------------------------------------------------------------------------------------------- compile
        options = compile_cache.options(size)
        eval_step = jax.jit(
            method.eval_step,
            in_shardings=(shardings, by_rows, by_rows, by_rows),
            out_shardings=whole,
            compiler_options=options,
        )
        representation = dataset.preparation.representation
        generate = batching.compile_method(method, mesh, size, representation)
        quality = training_quality.watch(config, dataset, mesh) if len(dataset.holdout) else None

        def heldout(state: TrainState) -> dict[str, float]:
            stream = data.evaluation_batches(
                dataset.holdout,
                dataset.preparation,
                batch_size=batch_size,
                limit=config.train.eval_num,
                rows=local_rows,
                workers=config.data.workers,
                read_timeout=config.data.read_timeout,
            )
            totals: dict[str, Any] = {}
            for k, (batch, mask) in enumerate(distributed.local_errors_abort(stream)):
                rows = (np.arange(batch_size, dtype=np.int32) + k * batch_size)[local_rows]
                part = meshes.put_batch((batch, mask.astype(np.float32), rows), mesh)
                sums = jax.device_get(eval_step(state, *part))
                totals = {name: totals.get(name, 0.0) + np.asarray(v, float) for name, v in sums.items()}
            count = totals.pop("count")
            values = method.heldout({name: np.asarray(total / count) for name, total in totals.items()})
            for warning in method.warnings(step := int(state.step), values):
                distributed.log(f"warning: step {step}: {warning}")
            return values | (quality(state) if quality else {})

        def preview(state: TrainState) -> np.ndarray:
            parts = batching.generate_batches(
                generate,
                state.ema_params,
                batching.in_turn(config.train.sample_num, counts["num_classes"]),
                batching.not_given(config.train.sample_num, counts["num_conditions"]),
                seed=config.sample.seed,
                batch_size=config.sample.batch_size * mesh.size,
            )
            return representation.render(np.concatenate(list(parts)))

        images = batch_size * method.minibatches
        names = partial(data.names, dataset.train, seed=config.seed, batch_size=images)
        run = loop.Run(
            train_step=meshes.compiled_step(method.train_step, shardings, mesh, size),
            heldout=heldout if len(dataset.holdout) else None,
            preview=preview,
            key=train_key,
            steps=loop.Steps(
                total=config.train.steps,
                log_every=config.train.log_every,
                sample_every=config.train.sample_every,
                eval_every=config.train.eval_every if len(dataset.holdout) else 0,
                checkpoint_every=config.train.checkpoint_every,
                skip=config.train.skip_batches,
                profile=config.train.profile,
            ),
            batch_size=images,
            workdir=workdir,
            checkpoints=checkpoints,
            writer=writer,
            images=lambda k: names(k=k),
            layers=tuple(sorted(shardings.params)),
        )

        # ------------------------------------------------------------------------------------------------ loop
        done = start >= run.steps.total and not any(loop.owed(start, run.steps, writer))
        try:
            if done:
                distributed.log(f"already trained for {start} steps; raise train.steps to go on")
            else:
                _announce(config, start)
                with closing(_batches(config, dataset, mesh, images, start)) as batches:
                    loop.train(run, state, batches)
            writer.animation()
            writer.curves(method.curves)
            if not done:
                distributed.log(f"done: {checkpoints.place(checkpoints.newest())}")
        except loop.Interrupted as stopped:
            distributed.log(f"{stopped}; start the same command again to go on")
        except jax.errors.JaxRuntimeError as fault:
            if "RESOURCE_EXHAUSTED" not in str(fault):
                raise
            batch = memory_plan.batch_shapes(images, size, resolved.channels, counts["num_conditions"])
            raise _out_of_memory(run, state, batch, shardings) from fault


def _batches(config: Config, dataset: Dataset, mesh: Mesh, batch_size: int, start: int) -> Iterator[Batch]:
    """Yield batches on the devices, from number `start` on; an error of this process alone ends all of them."""
    batches = data.batches(
        dataset.train,
        dataset.preparation,
        seed=config.seed,
        batch_size=batch_size,
        start=start,
        rows=meshes.process_rows(batch_size, mesh),
        workers=config.data.workers,
        read_timeout=config.data.read_timeout,
        put=lambda batch: meshes.put_batch(batch, mesh),
    )
    return distributed.local_errors_abort(batches)


def _with_schedule_end(config: Config, workdir: Path) -> Config:
    """Return the config with the end of the learning-rate schedule that the first start had, or `train.steps`."""
    if config.train.schedule_steps:
        return config
    first = run_config.read(workdir).config if run_config.exists(workdir) else None
    end = (first and first.train.schedule_steps) or config.train.steps
    return fields.replace(config, {"train.schedule_steps": end})


def _refuse_grey(config: Config, dataset: Dataset) -> None:
    """Refuse grey images where the loss takes every pixel for black or white."""
    if config.method != "ddpm" or config.diffusion.loss != "bce":
        return
    if found := checks.grey(dataset.train, dataset.preparation):
        name, level = found
        raise UserError(
            "diffusion.loss",
            f"'bce' needs black and white images, but {name} (with data.resample={config.data.resample}) has a "
            f"pixel of {level:.3g} between black (0) and white (1)",
            "set diffusion.loss=mse, or use images of 0 and 255 with data.resample=nearest or none",
        )


def _check_run(workdir: Path, config: Config, resolved: run_config.Resolved) -> None:
    """Refuse the folder of another run."""
    if run_config.exists(workdir):
        run_config.check_resumable(workdir, config, resolved)
    elif (workdir / "checkpoints").is_dir():
        raise UserError(
            f"--workdir={workdir}",
            "has checkpoints but no config.json",
            "restore it or choose another workdir",
        )


def _require_same_run(config: Config, resolved: run_config.Resolved) -> None:
    """Refuse processes with another configuration than process 0; code first, as the fields follow from it."""
    distributed.assert_same_config(
        {
            "code": distributed.code_digest(),
            "versions": json.dumps(run_config.versions()),
            "fields": json.dumps(sorted(fields.fields())),
        }
    )
    values = {name: repr(fields.value(config, name)) for name in fields.fields()}
    distributed.assert_same_config(values | {"data set": json.dumps(asdict(resolved))})


def _introduce(dataset: Dataset, method: Method, mesh: Mesh) -> None:
    """Print what is about to be trained, on what, and where."""
    sizes = f"{len(dataset.train)} for training, {len(dataset.holdout)} held out"
    print(f"data: {dataset.kind}, {sizes}; {', '.join(dataset.classes)}")
    for note in dataset.notes:
        print(f"note: {note}")
    if copies := checks.duplicates(dataset.train, dataset.holdout):
        held, trained = copies[0]
        print(
            f"warning: {len(copies)} held-out images are training images too, such as {held} and {trained}:"
            " remove the copies, or set data.split_by"
        )
    found = overlaps.report(dataset.train, dataset.holdout)
    for kind in ("note", "warning"):
        for line in found[f"{kind}s"]:
            print(f"{kind}: {line}")
    if visible := methods.schedule_warning(method):
        print(f"warning: {visible}")
    table = Table("part", "size", "channels", "blocks", "attention", "parameters", "GFLOP an image")
    rows = method.summary()
    for row in rows:
        size = f"{row.size[0]}x{row.size[1]}" if row.size[0] else ""
        counts = [str(row.channels), str(row.blocks or ""), str(row.attention or "")]
        table.add_row(row.name, size, *counts, f"{row.params:,}", f"{row.flops / 1e9:.3f}")
    params, flops = sum(row.params for row in rows), sum(row.flops for row in rows)
    table.add_row("total", "", "", "", "", f"{params:,}", f"{flops / 1e9:.3f}")
    Console(highlight=False).print(table)
    print(
        f"devices: {mesh.shape['data']} data x {mesh.shape['fsdp']} fsdp, {jax.devices()[0].device_kind}",
        flush=True,
    )


def _announce(config: Config, step: int) -> None:
    if step:
        distributed.log(f"resuming from step {step}")
    end = config.train.schedule_steps
    if config.train.steps > end and config.train.lr_schedule == "cosine":
        distributed.log(f"note: the learning rate is 0 from step {end} on (train.schedule_steps)")


def _out_of_memory(run: loop.Run, state: TrainState, batch: Batch, shardings: TrainState) -> UserError:
    """Return what the step needs, by its own compiled program, what there is, and what to lower."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    held = f"parameters, EMA and optimizer take {memory_plan.bytes_on_device(shapes, shardings) / 1e9:.3g} GB"
    try:
        step: Any = run.train_step
        needs = step.lower(shapes, batch, run.key).compile().memory_analysis().temp_size_in_bytes
        rest = f"activations of the step {needs / 1e9:.3g} GB"
    except jax.errors.JaxRuntimeError:
        rest = "the step does not even compile in what is left"
    stats = jax.local_devices()[0].memory_stats() or {}
    there = f" (of {stats['bytes_limit'] / 1e9:.3g} GB)" if "bytes_limit" in stats else ""
    return UserError(
        "train.batch_size",
        f"out of device memory{there}: {held} of each device, {rest}",
        "lower train.batch_size (or sample.batch_size, if samples were being generated) or raise train.accumulate, "
        "set model.remat, or raise mesh.fsdp (--mode=plan says what each costs)",
    )
