"""What a configuration may ask of the sampler, and what is refused."""

import math

import pytest

from configs import quickstart
from microgen_jax import methods
from microgen_jax.config import fields
from microgen_jax.errors import UserError


def build(num_classes: int = 4, num_conditions: int = 0, stages: tuple = (), **values):
    changed = {name.replace("__", "."): value for name, value in values.items()}
    config = fields.replace(fields.freeze(quickstart.get_config()), changed)
    counts = {"num_classes": num_classes, "num_conditions": num_conditions}
    return methods.build(config, channels=3, stages=stages, **counts)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"sample__steps": 0}, "sample.steps"),
        ({"sample__steps": 1001}, "sample.steps"),
        ({"sample__eta": 1.5, "sample__sampler": "ddim"}, "sample.eta"),
        ({"sample__eta": 0.5, "sample__sampler": "heun"}, "sample.eta"),
        ({"sample__guidance": -1.0}, "sample.guidance"),
        ({"sample__guidance": 2.0, "num_classes": 1}, "sample.guidance"),
        ({"sample__guidance": 2.0, "diffusion__condition_dropout": 0.0}, "sample.guidance"),
        ({"sample__guidance_interval": (1.0,)}, "sample.guidance_interval"),
        ({"sample__guidance_interval": ("a", "b")}, "sample.guidance_interval"),
        ({"sample__guidance_interval": (3.0, 1.0)}, "sample.guidance_interval"),
        ({"sample__guidance_rescale": 1.5}, "sample.guidance_rescale"),
        ({"sample__autoguidance": "500"}, "sample.guidance"),
        (
            {"sample__autoguidance": "5", "sample__guidance": 2.0, "sample__guidance_rescale": 0.5},
            "sample.autoguidance",
        ),
        ({"sample__steps": 50, "sample__frames": 52}, "sample.frames"),
        ({"sample__steps": 50, "sample__frames": -1}, "sample.frames"),
        ({"sample__trajectory_times": (1000, 0)}, "sample.trajectory_times"),
        ({"sample__spacing": "karas"}, "sample.spacing"),
        ({"diffusion__time_sampling": "importanc"}, "diffusion.time_sampling"),
        ({"diffusion__zero_terminal_snr": True, "diffusion__prediction": "eps"}, "diffusion.prediction"),
        ({"diffusion__loss": "bce"}, "diffusion.loss"),
    ],
)
def test_is_refused_by_the_name_of_its_field(values, where):
    with pytest.raises(UserError) as error:
        build(**values)
    assert error.value.where == where
    assert error.value.problem
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "where", "fix"),
    [
        ({"diffusion__loss": "bce"}, "diffusion.loss", "set diffusion.loss=mse"),
        ({"train__ema_widths": (0.1,)}, "train.ema_widths", "set ()"),
        ({"method": "wgan_gp", "data__size": (32, 32)}, "method", "set data.representation=image"),
    ],
)
def test_what_several_stages_do_not_have_is_refused_as_such(values, where, fix):
    stages = (("structure", ("a", "b")), ("values", ("c",)))
    with pytest.raises(UserError) as error:
        build(stages=stages, **values)
    assert (error.value.where, error.value.fix.split(", or ")[0]) == (where, fix)
    assert "stages" in error.value.problem or "orientations" in error.value.problem
    assert "data.representation" not in error.value.problem


def test_no_interval_is_all_levels():
    assert build().sampling.guidance_interval == (0.0, math.inf)
    assert build(sample__guidance_interval=(0.5, 2)).sampling.guidance_interval == (0.5, 2)


def test_one_class_can_be_guided_by_an_earlier_checkpoint():
    build(num_classes=1, sample__guidance=2.0, sample__autoguidance="500")
