"""What `inspect` says of a data set: images measured whole, and warnings in words."""

import numpy as np
import pytest

from microgen_jax.data import summary
from microgen_jax.data.summary_table import warnings_of
from microgen_jax.types import Record


def record(image) -> Record:
    return Record(image, 0, np.zeros(0, np.float32), "")


@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_images_of_every_depth_are_measured_as_8_bit(dtype, white):
    image = (np.linspace(0, 1, 64).reshape(8, 8, 1) * white).astype(dtype)
    (found,) = summary.whole_images([record(image)])
    assert found.dtype == np.uint8
    assert np.abs(found[..., 0] - np.linspace(0, 255, 64).reshape(8, 8)).max() <= 1


def test_images_are_measured_until_there_are_enough_pixels(monkeypatch):
    monkeypatch.setattr(summary, "MAX_PIXELS", 100)
    source = [record(np.full((8, 8, 1), n, np.uint8)) for n in range(9)]
    assert [image[0, 0, 0] for image in summary.whole_images(source)] == [0, 1]


@pytest.mark.parametrize(("split_by", "mend"), [("", "set data.split_by"), ("step", "split by 'step'")])
def test_near_copies_are_a_warning_with_its_mend(split_by, mend):
    values = {"overlaps": {"warnings": ["windows overlap"]}, "leaks": [], "split": {"by": split_by}}
    assert warnings_of(values) == ["windows overlap"]
    values["leaks"] = [{"a": "x.png", "b": "y.png", "correlation": 0.987}]
    copies, overlap = warnings_of(values)
    assert "x.png and y.png (correlation 0.987)" in copies
    assert mend in copies
    assert overlap == "windows overlap"
