"""A model as a folder of diffusers' `DDPMPipeline`, and such a folder as a model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from microgen_jax import files, networks
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError, renamed
from microgen_jax.export import diffusers_scheduler
from microgen_jax.export.model_card import diffusers_loader, model_card
from microgen_jax.export.trained_model import FACTS, TrainedModel, save_arrays
from microgen_jax.methods import DDPM
from microgen_jax.training.state import TrainState

UNET_FILE = "unet/config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
HALF_WEIGHTS = "diffusion_pytorch_model.fp16.safetensors"
_SCHEDULE = ("schedule", "timesteps", "beta_start", "beta_end", "zero_terminal_snr", "prediction")
_INDEX = {
    "_class_name": "DDPMPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}
_NUMBER, _OPTIONAL_INT = (int, float), (int, type(None))
_UNET_TYPES = {
    "down_block_types": list,
    "up_block_types": list,
    "block_out_channels": list,
    "layers_per_block": int,
    "attention_head_dim": _OPTIONAL_INT,
    "norm_num_groups": int,
    "dropout": _NUMBER,
    "add_attention": bool,
    "num_class_embeds": _OPTIONAL_INT,
    "in_channels": int,
    "out_channels": int,
    "sample_size": (int, list, type(None)),
}
_SCHEDULER_TYPES = {
    "_class_name": str,
    "num_train_timesteps": int,
    "beta_start": _NUMBER,
    "beta_end": _NUMBER,
    "sample_max_value": _NUMBER,
    "dynamic_thresholding_ratio": _NUMBER,
    "timestep_spacing": str,
}
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_FACTS_TYPES = {"classes": list, "sample": dict}


@dataclass(frozen=True)
class DiffusersFolder:
    """The checked settings of a folder; its weights are read by `read_weights`.

    Attributes:
      unet: folder of the network: `unet` of a pipeline, or a `UNet2DModel` by itself.
      architecture: fields of `config.model`, and `size`, `image_channels` and `class_rows`.
      diffusion: fields of `config.diffusion`; {} of a network by itself, which has no scheduler.
      sample: fields of `config.sample`, from our own export or from the scheduler.
      classes: names of the classes.
      is_ours: whether microgen-jax wrote the folder.
    """

    unet: Path
    architecture: dict[str, Any]
    diffusion: dict[str, Any]
    sample: dict[str, Any]
    classes: tuple[str, ...]
    is_ours: bool


def write_folder(folder: Path, model: TrainedModel) -> None:
    """Write unet/, scheduler/, model_index.json, microgen.json and the model card.

    Args:
      folder: empty folder.
      model: model to write.

    Raises:
      UserError: the model has conditions, or gives logits, which diffusers does not take.
    """
    config = model.config
    if config.diffusion.loss == "bce":
        raise UserError(
            "format",
            "'diffusers': this model gives logits (diffusion.loss=bce), which no scheduler of diffusers reads",
            "use stablehlo",
        )
    architecture = networks.to_unet2d(model.method.unet, tuple(config.data.size))
    scheduler = diffusers_scheduler.to_ddpm_scheduler(
        **{name: getattr(config.diffusion, name) for name in _SCHEDULE},
        clip=config.sample.clip,
        clip_percentile=config.sample.clip_percentile,
        large_variance=config.sample.sampler == "ancestral_large",
    )
    (folder / "unet").mkdir()
    (folder / "scheduler").mkdir()
    weights = networks.to_diffusers(jax.device_get(model.params))
    save_arrays(folder / "unet" / WEIGHTS, weights, metadata={"format": "pt"})
    files.write_json(folder / "unet" / "config.json", architecture)
    files.write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    files.write_json(folder / "model_index.json", _INDEX)
    files.write_json(folder / FACTS, model.facts())
    (folder / "README.md").write_text(model_card(model, "diffusers", diffusers_loader(model)))


def read_folder(folder: Path) -> DiffusersFolder:
    """Read a folder's settings.

    Args:
      folder: folder of a pipeline or of a `UNet2DModel`, which diffusers' `save_pretrained` or `write_folder` wrote.

    Raises:
      UserError: no such folder, a damaged file, or another architecture or schedule; names the file.
    """
    if (folder / "config.json").is_file() and not (folder / "unet").exists():
        return _read_bare(folder)
    architecture = networks.from_unet2d(_read_json(folder, UNET_FILE, _UNET_TYPES))
    scheduler = _read_json(folder, "scheduler/scheduler_config.json", _SCHEDULER_TYPES)
    facts = _read_json(folder, FACTS, _FACTS_TYPES) if (folder / FACTS).is_file() else {}
    diffusion = diffusers_scheduler.from_scheduler(scheduler)
    diffusion["loss"] = "mse"  # of the predictions that schedulers know
    sample = facts.get("sample") or diffusers_scheduler.sampling_from_scheduler(scheduler)
    return DiffusersFolder(
        folder / "unet",
        architecture,
        diffusion,
        {name: sample[name] for name in Sampling.names() if sample.get(name) is not None},
        _classes(folder, architecture["class_rows"], facts),
        bool(facts),
    )


def _read_bare(folder: Path) -> DiffusersFolder:
    """Read the settings of a `UNet2DModel` without a scheduler."""
    pipeline = folder.resolve().parent
    if (pipeline / "scheduler").is_dir():
        problem = "is the network of a pipeline, and leaves out its scheduler"
        raise UserError(str(folder), problem, f"name {pipeline} instead")
    with renamed({UNET_FILE: str(folder / "config.json")}):
        architecture = networks.from_unet2d(_read_json(folder, "config.json", _UNET_TYPES))
    classes = _classes(folder, architecture["class_rows"], {})
    return DiffusersFolder(folder, architecture, {}, {}, classes, is_ours=False)


def read_weights(folder: DiffusersFolder) -> dict[str, np.ndarray]:
    """Read the weights of the UNet, float32, by diffusers' names.

    Args:
      folder: settings, from `read_folder`.

    Raises:
      UserError: no safetensors file, or a damaged one.
    """
    path = folder.unet / WEIGHTS
    if not path.is_file():
        path = path.with_name(HALF_WEIGHTS)
    if not path.is_file():
        raise UserError(
            str(folder.unet),
            f"has no {WEIGHTS}",
            "save the model with safe_serialization=True; .bin files are pickles and are not read",
        )
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(str(path), f"is damaged or cut off ({error})", "fetch it again") from error
    if not folder.is_ours and "class_embedding.weight" in weights:
        # Their table has no row for "no class"; a row of zeros adds nothing to the time's embedding.
        weights["class_embedding.weight"] = np.pad(weights["class_embedding.weight"], ((0, 1), (0, 0)))
    return {_current_name(name): array.astype(np.float32) for name, array in weights.items()}


def to_state(method: DDPM, weights: dict[str, np.ndarray]) -> TrainState:
    """Return a fresh state around imported weights.

    Args:
      method: method with the network of the folder.
      weights: weights by diffusers' names.

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
                WEIGHTS,
                f"{name} is {found.get(name, 'missing')}, and config.json asks for {wanted.get(name, 'none')}",
                "fetch both files again",
            )
    return method.start(jax.tree.map(jnp.asarray, networks.from_diffusers(weights)))


def _current_name(name: str) -> str:
    """Return what diffusers calls an array since 0.17; before, its attention had other names."""
    module, _, kind = name.rpartition(".")
    parent, _, part = module.rpartition(".")
    if ".attentions." in name and part in _OLD_ATTENTION:
        return f"{parent}.{_OLD_ATTENTION[part]}.{kind}"
    return name


def _read_json(folder: Path, name: str, types: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON file with the types of its entries checked."""
    path = folder / name
    if not path.is_file():
        fix = "name a folder that diffusers' save_pretrained wrote"
        raise UserError(str(folder), f"has no {name}", fix)
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(str(path), f"is not JSON ({error})", "fetch the folder again") from error
    if not isinstance(content, dict):
        raise UserError(str(path), "must hold an object", "fetch the folder again")
    for key, kind in types.items():
        if key in content and not isinstance(content[key], kind):
            raise UserError(str(path), f"{key}={content[key]!r} has the wrong type", "fetch it again")
    return content


def _classes(folder: Path, rows: int, facts: dict[str, Any]) -> tuple[str, ...]:
    """Return the names in our own export, and numbers where the folder is somebody else's."""
    names = tuple(facts.get("classes") or [f"class{i}" for i in range(max(rows, 1))])
    if facts and len(names) != max(rows - 1, 1):
        problem = f"names {len(names)} classes, and the class table has {rows} rows"
        raise UserError(str(folder / FACTS), problem, "fetch it again")
    return names
