"""The built-in polycrystals as grain boundaries."""

import numpy as np
import pytest

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.data import open_dataset
from microgen_jax.errors import UserError


def opened(channels: int):
    return open_dataset(DataConfig(size=(24, 24), count=8, channels=channels))


def test_lines_lie_where_grains_meet():
    dataset = opened(1)
    for n in range(4):
        image = dataset.train[n].image
        grains = polycrystal(0, n, 24, kind=dataset.classes[n % 4]).grains
        across = grains[:, :-1] != grains[:, 1:]
        assert image.shape == (24, 24, 1)
        assert set(np.unique(image)) == {0, 255}
        assert (image[:, :-1, 0][across] == 0).all()
    assert opened(3).fingerprint != dataset.fingerprint


def test_lines_have_no_ipf_direction_and_all_eight_transforms():
    transforms = dict(zip(opened(1).classes, opened(1).preparation.transforms))
    assert len(transforms["equiaxed"]) == 8
    assert len(transforms["elongated"]) == 4


def test_other_channels_are_refused():
    with pytest.raises(UserError) as caught:
        opened(2)
    assert caught.value.where == "data.channels"
