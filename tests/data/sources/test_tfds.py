"""tfds with the library's own mock data; TensorFlow is never imported."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from microgen_jax.data import batches, open_dataset
from microgen_jax.data.sources.tfds import _undecoded
from microgen_jax.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")
tfds = pytest.importorskip("tensorflow_datasets")


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_prepared_data_sets_are_read_with_their_own_classes_and_test_part(
    data_config, name, shape, monkeypatch
):
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", {"train": None, "test": None, "extra": None})
    data = data_config("", name=name, channels=shape[-1], pad="background", size=(32, 32))
    with tfds.testing.mock_data(num_examples=7):
        dataset = open_dataset(data)
        assert (dataset.kind, len(dataset.train), len(dataset.holdout)) == ("tfds", 7, 7)
        assert set(dataset.classes) <= set(tfds.builder(name).info.features["label"].names)
        assert dataset.train[0].image.shape == shape
        for i in range(7):
            raw = tfds.data_source(name, split="train")[i]
            names = tfds.builder(name).info.features["label"].names
            np.testing.assert_array_equal(dataset.train[i].image, raw["image"])
            assert dataset.classes[dataset.train[i].label] == names[raw["label"]]
        batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=4))
    assert batch.image.shape == (4, 32, 32, shape[-1])
    assert "tensorflow" not in sys.modules


def test_labels_are_read_without_decoding_the_image():
    from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(9, 9, 1)), "label": tfds.features.ClassLabel(num_classes=4)}
    )
    values = {
        "image": tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[b"no image"])),
        "label": tf_feature_pb2.Feature(int64_list=tf_feature_pb2.Int64List(value=[3])),
    }
    record = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=values)).SerializeToString()
    source = SimpleNamespace(data_source=[record, b"\xff"], dataset_info=SimpleNamespace(features=features))
    skipped = {"image": tfds.decode.SkipDecoding()}
    assert _undecoded(source, 0, skipped, "mine")["label"] == 3
    with pytest.raises(UserError, match="example 1 of mine"):
        _undecoded(source, 1, skipped, "mine")
    assert "tensorflow" not in sys.modules


def test_what_is_not_prepared_says_how_to_prepare_it(data_config, tmp_path):
    with pytest.raises(UserError, match="tfds build mnist --file_format=array_record") as caught:
        open_dataset(data_config(tmp_path, name="mnist"))
    assert caught.value.where == "data.name"


@pytest.mark.parametrize(
    ("fields", "fix"), [({"name": "mnst"}, "mnist"), ({"source": "tfds"}, "data.name=mnist")]
)
def test_a_wrong_name_is_named(data_config, fields, fix):
    with pytest.raises(UserError) as caught:
        open_dataset(data_config("", **fields))
    assert caught.value.where == "data.name"
    assert fix in caught.value.fix


def test_a_file_stands_above_the_name(data_config, tmp_path):
    np.savez(tmp_path / "digits.npz", images=np.zeros((5, 16, 16), np.uint8), labels=np.arange(5) % 2)
    dataset = open_dataset(data_config(tmp_path / "digits.npz", name="mnist", channels=1))
    assert (dataset.kind, dataset.classes) == ("npz", ("0", "1"))
