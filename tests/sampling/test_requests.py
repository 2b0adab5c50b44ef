"""Classes and conditions as a person asks for them."""

import numpy as np
import pytest

from microgen_jax.config.run_config import Resolved
from microgen_jax.errors import UserError
from microgen_jax.sampling import requests

RESOLVED = Resolved(
    ("all",), ("grain_diameter", "strain"), (10.0, 1.0), (2.0, 0.5), 3, "list", "0", (6.0, 0.0), (15.0, 2.0)
)
CLASSES = Resolved(("bimodal", "elongated", "equiaxed"), (), (), (), 3, "folder", "0")


def standardised(condition, num=1, dropout=0.1):
    values = requests.choose_conditions(RESOLVED, num, condition, dropout)
    requests.warn_outside(RESOLVED, np.zeros(num, np.int32), values)
    return requests.standardise(RESOLVED, values, num)


def test_values_are_standardised_and_what_is_left_out_is_not_given(capsys):
    np.testing.assert_array_equal(standardised({"grain_diameter": 12}), [[1.0, np.nan]])
    np.testing.assert_array_equal(
        standardised({"strain": 0.0, "grain_diameter": 6}, dropout=0.0), [[-2.0, -2.0]]
    )
    numpy_s = {"grain_diameter": np.float32(12), "strain": np.int64(1)}
    np.testing.assert_array_equal(standardised(numpy_s), [[1.0, 0.0]])
    assert capsys.readouterr().err == ""


def test_each_image_has_a_value_of_its_own():
    one = standardised({"grain_diameter": [8, 10, 12], "strain": 1.5}, num=3)
    np.testing.assert_array_equal(one, [[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(
        one, standardised({"grain_diameter": np.array([8, 10, 12]), "strain": 1.5}, 3)
    )
    assert one.dtype == np.float32
    assert standardised({}, num=2).shape == (2, 2)


@pytest.mark.parametrize("asked", [15.01, 5.9, -1e9])
def test_outside_the_trained_range_is_warned_of_and_done(capsys, asked):
    assert standardised({"grain_diameter": [10, asked]}, 2)[1, 0] == pytest.approx((asked - 10) / 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: condition grain_diameter=")
    assert "1 of 2" in line
    assert "6 to 15" in line


TWO_CLASSES = Resolved(
    ("elongated", "equiaxed"),
    ("aspect_ratio", "strain"),
    (2.0, 1.0),
    (1.0, 1.0),
    3,
    "list",
    "0",
    (0.9, 0.0),
    (6.0, 2.0),
    class_ranges=(((2.5, 6.0), (0.0, 2.0)), ((0.9, 1.2), None)),
)


@pytest.mark.parametrize(
    ("labels", "condition", "said"),
    [
        (
            [1, 1],
            {"aspect_ratio": 4},
            ["aspect_ratio=4 (2 of 2 images) contradicts label=equiaxed", "0.9 to 1.2"],
        ),
        ([0, 1], {"aspect_ratio": [4, 3]}, ["aspect_ratio=3 (1 of 2 images) contradicts label=equiaxed"]),
        ([0, 1], {"aspect_ratio": [1.0, 1.0]}, ["(1 of 2 images) contradicts label=elongated", "2.5 to 6"]),
        ([1, 0], {"strain": 1}, ["strain=1 (1 of 2 images) contradicts label=equiaxed", "no value of it"]),
        ([1, 1], {"aspect_ratio": 9}, ["aspect_ratio=9 (2 of 2 images) lies outside", "0.9 to 6"]),
        ([0, 1], {"aspect_ratio": [4, 1.1]}, []),
        ([0, 0], {"strain": 2}, []),
    ],
)
def test_a_condition_that_contradicts_the_class_is_warned_of_once(capsys, labels, condition, said):
    values = requests.choose_conditions(TWO_CLASSES, 2, condition, 0.1)
    requests.warn_outside(TWO_CLASSES, np.array(labels, np.int32), values)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    assert all(part in line for line in lines for part in said)


@pytest.mark.parametrize(
    ("condition", "dropout"),
    [
        ({"grain_diametr": 12}, 0.1),
        ({"grain_diameter": float("nan")}, 0.1),
        ({"grain_diameter": float("inf")}, 0.1),
        ({"grain_diameter": "12"}, 0.1),
        ({"grain_diameter": True}, 0.1),
        ({"grain_diameter": [1.0, 2.0]}, 0.1),
        ({"grain_diameter": ["8", "9", "10"]}, 0.1),
        ({"grain_diameter": [8, np.nan, 10]}, 0.1),
        ({"grain_diameter": [[8], [9], [10]]}, 0.1),
        ({"grain_diameter": 12}, 0.0),
    ],
)
def test_conditions_that_cannot_be_are_refused(condition, dropout):
    with pytest.raises(UserError) as error:
        standardised(condition, 3, dropout)
    assert error.value.where == "condition"


def test_labels_by_name_and_index_for_all_images_and_for_each():
    for label, expected in [
        (None, [0, 1, 2, 0]),
        ("", [0, 1, 2, 0]),
        ("elongated", [1, 1, 1, 1]),
        (2, [2, 2, 2, 2]),
        ("2", [2, 2, 2, 2]),
        (["equiaxed", 0, "1", np.int64(2)], [2, 0, 1, 2]),
        (np.array([0, 0, 1, 1]), [0, 0, 1, 1]),
    ]:
        labels = requests.choose_labels(CLASSES, 4, label)
        assert labels.dtype == np.int32
        assert labels.tolist() == expected


@pytest.mark.parametrize("label", ["equiaxd", 3, -1, 1.0, True, ["equiaxed"], ["equiaxed"] * 3 + [""]])
def test_labels_that_do_not_exist_are_refused(label):
    with pytest.raises(UserError) as error:
        requests.choose_labels(CLASSES, 4, label)
    assert error.value.where == "label"
