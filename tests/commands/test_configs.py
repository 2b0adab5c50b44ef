"""Every file in configs/ as a whole: known fields, values within their rules, a method that can be built."""

import runpy
from pathlib import Path

import pytest

from microgen_jax import methods
from microgen_jax.config import fields

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_sound_and_builds_its_method(path):
    module = runpy.run_path(str(path))
    config = fields.freeze(module["get_config"]())
    methods.build(config, channels=config.data.channels, num_classes=3, num_conditions=0)
    assert f"--config=configs/{path.name}" in module["__doc__"]


@pytest.mark.parametrize("channels", [(64,), (64, 128), (64, 128, 192, 256)])
def test_model_channels_can_be_changed_alone(channels):
    config = fields.replace(fields.Config(), {"model.channels": channels})
    unet = methods.build(config, channels=3, num_classes=0, num_conditions=0).unet
    assert unet.attention_levels == (False,) * (len(channels) - 1) + (True,)
    assert unet.remat == (False,) * len(channels)
