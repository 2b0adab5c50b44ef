"""Every file in configs/ as a whole: known fields, values that can be, a method that can be built."""

import runpy
from pathlib import Path

import pytest

from microgen_jax import methods
from microgen_jax.config import settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def leaves(tree: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_sound_and_builds_its_method(path):
    module = runpy.run_path(str(path))
    config, default = module["get_config"](), runpy.run_path(str(ROOT / "configs/default.py"))["get_config"]()
    assert leaves(config.to_dict()) == leaves(default.to_dict())
    settings.check(config)
    methods.build(config, channels=config.data.channels, num_classes=3, num_conditions=0)
    assert f"--config=configs/{path.name}" in module["__doc__"]


def test_the_configs_that_the_readers_speak_of_are_there():
    names = {path.stem for path in CONFIGS}
    assert names >= {"default", "mnist", "fashion_mnist", "cifar10", "nickel64", "voronoi64", "ebsd64"}
