"""Every name that a config chooses from a list: a misspelt one is answered with the nearest, in one line."""

import runpy

import numpy as np
import pytest
from ml_collections import ConfigDict

from microgen_jax import data, methods
from microgen_jax.commands.export import export
from microgen_jax.commands.plan import plan
from microgen_jax.config import settings
from microgen_jax.config.command_line import Request
from microgen_jax.crystal.symmetry import laue_group
from microgen_jax.errors import UserError
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.sampling import generator
from microgen_jax.training.checkpoint import Checkpoints
from tests.command_line import ROOT

FREE = {  # paths, columns, patterns, names that a person chose, and texts of a grammar of their own
    *(f"data.{name}" for name in ("root", "name", "key", "value_range", "ipf_direction", "cache")),
    *(f"data.{name}" for name in ("filename_pattern", "label_by", "split_by")),
    *(f"sample.{name}" for name in ("label", "condition", "name")),
    *(f"evaluate.{name}" for name in ("real", "generated", "inception_weights")),
    "export.folder",
}


def build(config: ConfigDict, tmp_path) -> None:
    methods.build(config, channels=3, num_classes=3, num_conditions=0)


def check(config: ConfigDict, tmp_path) -> None:
    settings.check(config)


def open_arrays(config: ConfigDict, tmp_path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 64, 64), np.uint8))
    config.data.update(source=config.data.source.replace("auto", "npz"), root=str(tmp_path / "a.npz"))
    data.open_dataset(config.data)


def ask(command):
    return lambda config, tmp_path: command(Request(config, {}, True, tmp_path))


class Two(Checkpoints):
    """Two checkpoints, and no folder."""

    def __init__(self):
        pass

    def steps(self) -> list[int]:
        return [2, 4]

    def best(self) -> int:
        return 2


def choose(field: str):
    return lambda config, tmp_path: generator._choose(Two(), config.sample[field], tmp_path, field)


MISSPELT = {
    "method": ("wgan_pg", "wgan_gp", check),
    "train.lr_schedule": ("cosin", "cosine", check),
    "model.dtype": ("bfloat", "bfloat16", build),
    "diffusion.schedule": ("sigmoidal", "sigmoid", build),
    "diffusion.prediction": ("epsilon", "eps", build),
    "diffusion.loss": ("hubber", "huber", build),
    "diffusion.weighting": ("minsnr", "min_snr", build),
    "diffusion.time_sampling": ("stratifed", "stratified", build),
    "sample.sampler": ("ancestrall", "ancestral", build),
    "sample.spacing": ("karas", "karras", build),
    "sample.checkpoint": ("newst", "newest", choose("checkpoint")),
    "sample.autoguidance": ("bestt", "best", choose("autoguidance")),
    "data.source": ("foldr", "folder", open_arrays),
    "data.layout": ("NWHC", "NHWC", open_arrays),
    "data.resample": ("strech", "stretch", open_arrays),
    "data.pad": ("reflct", "reflect", open_arrays),
    "data.symmetry": ("orthotrop", "orthotropic", open_arrays),
    "data.ebsd": ("quaternion", "quaternions", open_arrays),
    "data.colour_key": ("tls", "tsl", open_arrays),
    "data.window": ("gird", "grid", open_arrays),
    "data.fill_unindexed": ("nearst", "nearest", open_arrays),
    "data.on_bad_file": ("rase", "raise", open_arrays),
    "data.laue_group": ("m-3mm", "m-3m", lambda config, tmp_path: laue_group(config.data.laue_group)),
    "evaluate.laue_group": ("6/mm", "6/mmm", lambda config, tmp_path: laue_group(config.evaluate.laue_group)),
    "evaluate.inception_preprocessing": (
        "pytorchh",
        "pytorch",
        lambda config, tmp_path: features.open_networks(
            inception_preprocessing=config.evaluate.inception_preprocessing
        ),
    ),
    "plan.chip": ("h2000", "h200", ask(plan)),
    "export.format": ("difusers", "diffusers", ask(export)),
}


def default() -> ConfigDict:
    return runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()


def test_every_text_is_free_or_misspelt_here():
    config = default()
    texts = {name for name in settings.names(config) if isinstance(settings.value(config, name), str)}
    assert texts == FREE | MISSPELT.keys()


@pytest.mark.parametrize("field", MISSPELT)
def test_the_nearest_is_said(field, tmp_path):
    misspelt, right, read = MISSPELT[field]
    config = default()
    config.data.channels = 1
    settings.put(config, field, misspelt)
    with pytest.raises(UserError, match=rf"(?i){misspelt}'.*did you mean '?{right}\b"):
        read(config, tmp_path)
