"""--mode=import: a diffusers folder into a work directory that can be sampled from and fine-tuned.

The folder decides the model, the schedule and the size of the images; where no config file is named also how images are
sampled. A network by itself, without a scheduler, leaves the schedule to the config file or, where none is named, to
the command line and diffusers' defaults; what was taken is printed. Everything else is as the config says. No data are
opened: the first `--mode=train` on the workdir takes those that its config names.
"""

from pathlib import Path

from microgen_jax import files, methods
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError
from microgen_jax.export import diffusers, diffusers_scheduler
from microgen_jax.export.diffusers import DiffusersFolder
from microgen_jax.training.checkpoint import Checkpoints


def import_run(request: Request) -> None:
    """Make a workdir whose checkpoint 0 holds the folder's weights.

    Raises:
      UserError: no folder, another architecture, damaged weights, or a workdir that is in use.
    """
    workdir, named = request.workdir, request.config.import_run.folder
    if workdir is None:
        raise UserError(
            "--workdir", "is missing", "name the imported run's folder, as in --workdir=runs/mine"
        )
    if not named:
        raise UserError(
            "import_run.folder",
            "is missing",
            "name the diffusers folder, as in --config.import_run.folder=model",
        )
    if run_config.exists(workdir) or (workdir / "checkpoints").exists():
        raise UserError(f"--workdir={workdir}", "holds a run already", "choose another")
    folder = diffusers.read_folder(Path(named).expanduser())
    config = _config(request, folder)
    channels = folder.architecture["image_channels"]
    resolved = Resolved(folder.classes, (), (), (), channels, run_config.IMPORTED, "")
    files.check_writable(workdir)
    method = methods.build(config, channels=channels, num_classes=len(folder.classes), num_conditions=0)
    state = diffusers.to_state(method, diffusers.read_weights(folder))
    run_config.write(workdir, config, resolved)
    checkpoints = Checkpoints(workdir)
    try:
        checkpoints.save(0, state, None)
        checkpoints.wait()
    finally:
        checkpoints.close()
    if not folder.diffusion:
        taken = ", ".join(f"{name}={getattr(config.diffusion, name)}" for name in _default_diffusion())
        print(f"the folder has no scheduler; config.diffusion is taken to be {taken}")
    height, width = config.data.size
    print(f"imported: {workdir}; {len(folder.classes)} classes, {height}x{width} px")


def _config(request: Request, folder: DiffusersFolder) -> Config:
    """Return the requested configuration with what the folder decides.

    Raises:
      UserError: a value of the folder that the schema refuses; names the folder.
    """
    architecture = folder.architecture
    values = {f"model.{name}": value for name, value in architecture.items()}
    values = {name: value for name, value in values.items() if name in fields.fields()}
    values |= {"data.size": architecture["size"], "data.channels": architecture["image_channels"]}
    values |= {"data.representation": "image"}
    values |= {f"diffusion.{name}": value for name, value in folder.diffusion.items()}
    if not folder.diffusion and not request.has_config:
        usual = {f"diffusion.{name}": value for name, value in _default_diffusion().items()}
        values |= {name: value for name, value in usual.items() if name not in request.overrides}
    if not request.has_config:
        sample = {f"sample.{name}": value for name, value in folder.sample.items()}
        values |= {name: value for name, value in sample.items() if name not in request.overrides}
    try:
        config = fields.replace(request.config, values)
    except UserError as error:
        raise UserError(str(folder.unet), f"{error.where}: {error.problem}", error.fix) from error
    steps = min(config.sample.steps, config.diffusion.timesteps)
    return fields.replace(config, {"sample.steps": steps})


def _default_diffusion() -> dict[str, object]:
    """Return the fields of `config.diffusion` that stand for diffusers' `DDPMScheduler` with its defaults."""
    return diffusers_scheduler.from_scheduler({"_class_name": "DDPMScheduler"})
