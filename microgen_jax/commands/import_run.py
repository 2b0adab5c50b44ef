"""--mode=import: a diffusers folder into a work directory that can be sampled from and fine-tuned.

The folder decides the model, the schedule and the size of the images; where no config file is named also how they
are drawn, from our own export or from its scheduler. Everything else is as the config says. No data are opened: the
first `--mode=train` on the workdir takes those that its config names.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from microgen_jax import files, methods, networks
from microgen_jax.commands.export import FACTS, WEIGHTS
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError
from microgen_jax.export import diffusers_scheduler
from microgen_jax.methods import DDPM
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState


def import_run(request: Request) -> None:
    """Makes a workdir whose checkpoint 0 holds the folder's weights.

    Raises:
      UserError: no folder, another architecture, damaged weights, or a workdir that is in use.
    """
    workdir, named = request.workdir, request.config.import_run.folder
    if workdir is None:
        raise UserError(
            "--workdir is missing: name the folder for the imported run, as in --workdir=runs/mine"
        )
    if not named:
        raise UserError(
            "import_run.folder is missing: name the diffusers folder, as in --config.import_run.folder=model"
        )
    if run_config.exists(workdir) or (workdir / "checkpoints").exists():
        raise UserError(f"--workdir={workdir} holds a run already; choose another")
    folder = Path(named).expanduser()
    architecture = networks.from_unet2d(_read_json(folder, "unet/config.json"))
    facts = _read_json(folder, FACTS) if (folder / FACTS).is_file() else {}
    config = _config(request, architecture, _read_json(folder, "scheduler/scheduler_config.json"), facts)
    resolved = _resolved(architecture, facts)
    files.check_writable(workdir)
    method = methods.build(
        config, channels=resolved.channels, num_classes=len(resolved.classes), num_conditions=0
    )
    state = _state(method, _weights(folder, ours=bool(facts)))
    run_config.write(workdir, config, resolved)
    checkpoints = Checkpoints(workdir)
    checkpoints.save(0, state, None)
    checkpoints.wait()
    checkpoints.close()
    print(
        f"imported: {workdir}; {len(resolved.classes)} classes, {config.data.size[0]}x{config.data.size[1]} px"
    )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise UserError(
            f"import_run.folder={folder} has no {name}; name a folder that diffusers' save_pretrained wrote"
        )
    try:
        content = json.loads(path.read_text())
    except ValueError as fault:
        raise UserError(f"{path} is no JSON ({fault}); fetch the folder again") from fault
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold an object; fetch the folder again")
    return content


def _config(
    request: Request, architecture: dict[str, Any], scheduler: dict[str, Any], facts: dict[str, Any]
) -> Config:
    model = {name: value for name, value in architecture.items() if f"model.{name}" in fields.fields()}
    values = {f"model.{name}": value for name, value in model.items()}
    values |= {"data.size": architecture["size"], "data.channels": architecture["image_channels"]}
    named = f"import_run.folder={request.config.import_run.folder}"
    try:
        found = diffusers_scheduler.from_scheduler(scheduler)
        values |= {f"diffusion.{name}": value for name, value in found.items()}
        if not request.has_config:
            sampling = _sampling(scheduler, facts, request.overrides)
            values |= {f"sample.{name}": value for name, value in sampling.items()}
    except (TypeError, ValueError) as fault:
        raise UserError(named, f"a setting has the wrong type ({fault})") from fault
    values["diffusion.loss"] = "mse"  # of the predictions that schedulers know
    try:
        config = fields.replace(request.config, values)
    except UserError as error:
        raise UserError(named, str(error)) from error
    steps = min(config.sample.steps, config.diffusion.timesteps)
    return fields.replace(config, {"sample.steps": steps})


def _sampling(
    scheduler: dict[str, Any], facts: dict[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """How the folder's images are drawn, without what the command line says itself."""
    exported = facts.get("sample")
    found = exported if isinstance(exported, dict) else diffusers_scheduler.sampling_from_scheduler(scheduler)
    names = [name for name in Sampling.names() if f"sample.{name}" not in overrides]
    return {name: found[name] for name in names if found.get(name) is not None}


def _resolved(architecture: dict[str, Any], facts: dict[str, Any]) -> Resolved:
    """Names of the classes from our own export; numbers where the folder is somebody else's."""
    rows = architecture["class_rows"]
    names = tuple(facts.get("classes") or [f"class{i}" for i in range(max(rows, 1))])
    if facts and len(names) != max(rows - 1, 1):
        raise UserError(
            f"{FACTS} names {len(names)} classes, and the class table has {rows} rows; fetch it again"
        )
    return Resolved(names, (), (), (), architecture["image_channels"], run_config.IMPORTED, "")


def _weights(folder: Path, ours: bool) -> dict[str, np.ndarray]:
    path = folder / "unet" / WEIGHTS
    if not path.is_file():
        raise UserError(
            f"import_run.folder={folder} has no unet/{WEIGHTS}; .bin files are pickles and are not read"
        )
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as fault:
        raise UserError(f"{path} is damaged or cut off ({fault}); fetch it again") from fault
    if not ours and "class_embedding.weight" in weights:
        # Their table has no row for "no class"; a row of zeros adds nothing to the time's embedding.
        weights["class_embedding.weight"] = np.pad(weights["class_embedding.weight"], ((0, 1), (0, 0)))
    return {name: array.astype(np.float32) for name, array in weights.items()}


def _state(method: DDPM, weights: dict[str, np.ndarray]) -> TrainState:
    """A fresh state around the weights.

    Raises:
      UserError: an array is missing, is too many, or has another shape than config.json says.
    """
    params = jax.eval_shape(method.init, jax.random.key(0)).params
    empty = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), params)
    wanted = {name: array.shape for name, array in networks.to_diffusers(empty).items()}
    found = {name: array.shape for name, array in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"unet/{WEIGHTS}: {name} is {found.get(name, 'missing')}, and unet/config.json wants "
                f"{wanted.get(name, 'none')}"
            )
    return method.start(jax.tree.map(jnp.asarray, networks.from_diffusers(weights)))
