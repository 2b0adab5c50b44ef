"""What the config may ask of the sampler, and what is refused in one line."""

import math

import pytest

from configs import quickstart
from microgen_jax import methods
from microgen_jax.errors import UserError


def build(num_classes: int = 4, num_conditions: int = 0, **fields):
    config = quickstart.get_config()
    for name, value in fields.items():
        part, field = name.split("__")
        config[part][field] = value
    return methods.build(config, channels=3, num_classes=num_classes, num_conditions=num_conditions)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sample__steps": 0}, "steps"),
        ({"sample__steps": 1001}, "1..1000"),
        ({"sample__eta": 1.5, "sample__sampler": "ddim"}, "eta"),
        ({"sample__eta": 0.5, "sample__sampler": "heun"}, "ddim"),
        ({"sample__guidance": -1.0}, "guidance"),
        ({"sample__guidance": 2.0, "num_classes": 1}, "nothing to guide by"),
        ({"sample__guidance": 2.0, "diffusion__condition_dropout": 0.0}, "condition_dropout=0"),
        ({"sample__guidance_interval": (1.0,)}, "two noise levels"),
        ({"sample__guidance_interval": ("a", "b")}, "two noise levels"),
        ({"sample__guidance_interval": (3.0, 1.0)}, "rising"),
        ({"sample__guidance_rescale": 1.5}, r"\[0, 1\]"),
        ({"sample__autoguidance": "500"}, "other than 1"),
        (
            {"sample__autoguidance": "5", "sample__guidance": 2.0, "sample__guidance_rescale": 0.5},
            "goes with no",
        ),
        ({"sample__steps": 50, "sample__frames": 52}, "0..51"),
        ({"sample__steps": 50, "sample__frames": -1}, "0..51"),
        ({"sample__stills": (1000, 0)}, r"time \(=1000\) must lie in 0..999"),
        ({"sample__spacing": "karas"}, "karras"),
        ({"diffusion__time_sampling": "importanc"}, "importance"),
        ({"diffusion__zero_terminal_snr": True, "diffusion__prediction": "eps"}, "zero terminal SNR"),
        ({"diffusion__loss": "bce"}, "x0"),
    ],
)
def test_is_refused(fields, words):
    with pytest.raises(UserError, match=words) as error:
        build(**fields)
    assert "\n" not in str(error.value)


def test_no_interval_is_all_levels():
    assert build().sampling.guidance_interval == (0.0, math.inf)
    assert build(sample__guidance_interval=(0.5, 2)).sampling.guidance_interval == (0.5, 2)


def test_one_class_can_be_guided_by_an_earlier_checkpoint():
    build(num_classes=1, sample__guidance=2.0, sample__autoguidance="500")
