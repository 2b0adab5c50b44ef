"""A network's shape as diffusers' configuration, there and back."""

import jax.numpy as jnp
import pytest

from microgen_jax.errors import UserError
from microgen_jax.networks import UNet, from_unet2d, to_unet2d


def unet(**changes) -> UNet:
    fields = {
        "out_channels": 3,
        "channels": (32, 64, 96),
        "blocks_per_level": 1,
        "attention_levels": (False, True, False),
        "mid_attention": False,
        "head_dim": 16,
        "norm_groups": 8,
        "dropout": 0.1,
        "dtype": jnp.float32,
        "remat": (False, False, False),
    }
    return UNet(**(fields | changes))


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("size", [(32, 32), (32, 64)])
def test_there_and_back(num_classes, size):
    network = unet(num_classes=num_classes)
    back = from_unet2d(to_unet2d(network, size))
    assert back.pop("size") == size
    assert back.pop("image_channels") == 3
    assert back.pop("class_rows") == (5 if num_classes else 0)
    assert all(getattr(network, name) == value for name, value in back.items())


def test_settings_left_out_are_those_of_diffusers():
    back = from_unet2d({"sample_size": 64})
    assert back["channels"] == (224, 448, 672, 896)
    assert back["attention_levels"] == (False, True, True, True)


def test_continuous_conditions_cannot_leave():
    with pytest.raises(UserError) as error:
        to_unet2d(unet(num_conditions=2), (32, 32))
    assert error.value.where == "export.format"
