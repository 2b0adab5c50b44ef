"""--mode=export: a trained run as a folder that others load, at `export/<format>/`."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save

from microgen_jax import files, networks
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.export import diffusers_scheduler, stablehlo
from microgen_jax.export.model_card import STABLEHLO, diffusers_loader, model_card
from microgen_jax.sampling.generator import Generator, open_run

FACTS = "microgen.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
_SCHEDULE = ("schedule", "timesteps", "beta_start", "beta_end", "zero_terminal_snr", "prediction")


def export(request: Request) -> None:
    """Writes the averaged weights of `sample.checkpoint` as `export.format` says.

    Raises:
      UserError: no run, an unknown format, or a model that the format cannot hold.
    """
    workdir, wanted = request.workdir, request.config.export.format
    if workdir is None:
        raise UserError("--workdir is missing: name the folder of a trained run, as in --workdir=runs/mine")
    if wanted not in FORMATS:
        known = " or ".join(FORMATS)
        raise UserError(
            f"export.format={wanted!r} is not known; {did_you_mean(wanted, list(FORMATS))}use {known}"
        )
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    if config.method != "ddpm":
        raise UserError(f"--mode=export writes diffusion models, and this run's method is {config.method}")
    if wanted == "diffusers" and config.diffusion.loss == "bce":
        raise UserError(
            "export.format=diffusers: this model gives logits (diffusion.loss=bce), which no scheduler of diffusers "
            "reads; use export.format=stablehlo"
        )
    if config.sample.autoguidance:
        raise UserError(
            "sample.autoguidance needs two sets of weights, and an export holds one; leave it empty"
        )
    files.check_writable(workdir)
    generator = open_run(config, run.resolved, workdir)
    fill = FORMATS[wanted](generator, workdir)
    if jax.process_index():
        return
    folder = workdir / "export" / wanted
    files.write_folder(folder, fill)
    print(f"written: {folder}")


def to_diffusers(generator: Generator, workdir: Path) -> Callable[[Path], None]:
    """What writes unet/, scheduler/, model_index.json and the card."""
    config, unet = generator.config, generator.method.unet
    architecture = networks.to_unet2d(unet, tuple(config.data.size))
    scheduler = diffusers_scheduler.to_ddpm_scheduler(
        **{name: getattr(config.diffusion, name) for name in _SCHEDULE},
        clip=config.sample.clip,
        clip_percentile=config.sample.clip_percentile,
        large_variance=config.sample.sampler == "ancestral_large",
    )
    state = networks.to_diffusers(jax.device_get(generator.params))
    card = model_card(generator, workdir, "diffusers", diffusers_loader(generator))

    def fill(folder: Path) -> None:
        (folder / "unet").mkdir()
        (folder / "scheduler").mkdir()
        _save(folder / "unet" / WEIGHTS, state, metadata={"format": "pt"})
        files.write_json(folder / "unet" / "config.json", architecture)
        files.write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
        files.write_json(folder / "model_index.json", _INDEX)
        files.write_json(folder / FACTS, _facts(generator))
        (folder / "README.md").write_text(card)

    return fill


def to_stablehlo(generator: Generator, workdir: Path) -> Callable[[Path], None]:
    """What writes the artifact, its weights, its loader and the card."""
    artifact = stablehlo.artifact(generator)
    weights = stablehlo.by_name(jax.device_get(generator.params))
    card = model_card(generator, workdir, "jax", STABLEHLO.format(loader=stablehlo.LOADER))

    def fill(folder: Path) -> None:
        (folder / "sampler.stablehlo").write_bytes(artifact)
        _save(folder / "weights.safetensors", weights)
        files.write_json(folder / FACTS, _facts(generator))
        (folder / "sample.py").write_text(stablehlo.LOADER)
        (folder / "README.md").write_text(card)

    return fill


FORMATS = {"diffusers": to_diffusers, "stablehlo": to_stablehlo}
_INDEX = {
    "_class_name": "DDPMPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}


def _save(path: Path, arrays: dict, metadata: dict[str, str] | None = None) -> None:
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


def _facts(generator: Generator) -> dict:
    """What the other files have no place for, and `--mode=import` reads."""
    return {
        "classes": list(generator.classes),
        "conditions": list(generator.conditions),
        "checkpoint": generator.step,
        "sample": json.loads(generator.config.sample.to_json()),
        "versions": run_config.versions(),
    }
