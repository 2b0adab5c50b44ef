import numpy as np
import pytest

from microgen_jax.crystal.orientations import (
    conjugate,
    from_axis_angle,
    from_matrix,
    multiply,
    random_uniform,
)
from microgen_jax.crystal.symmetry import (
    LAUE_GROUPS,
    laue_group,
    laue_group_of_channel,
    laue_group_of_space_group,
    laue_group_of_tsl,
    misorientation_angle,
    reduce,
    rotations,
    twofold_axis,
)
from microgen_jax.errors import UserError

ORDERS = dict(zip(LAUE_GROUPS, (1, 2, 4, 4, 8, 3, 6, 6, 12, 12, 24)))
LARGEST = {"m-3m": 62.80, "6/mmm": 93.84, "4/mmm": 98.42, "mmm": 120.0}  # degrees, Grimmer 1974


@pytest.mark.parametrize("group", LAUE_GROUPS)
def test_group_is_closed_and_of_its_order(group: str) -> None:
    elements = rotations(group)
    assert len(elements) == ORDERS[group]
    np.testing.assert_allclose(elements[0], [1, 0, 0, 0])
    products = multiply(elements[:, None], elements[None]).reshape(-1, 4)
    nearest = np.abs(products @ elements.T)
    assert np.all(nearest.max(axis=1) > 1 - 1e-12)
    assert np.all(np.sum(nearest > 1 - 1e-9, axis=1) == 1)


@pytest.mark.parametrize("group", LAUE_GROUPS)
def test_misorientation_sees_no_symmetry_and_no_order(group: str) -> None:
    a, b = random_uniform(np.random.default_rng(0), 60).reshape(2, 30, 4)
    elements = rotations(group)
    expected = misorientation_angle(a, b, group)
    for element in elements:
        np.testing.assert_allclose(misorientation_angle(multiply(element, a), b, group), expected, atol=1e-7)
    np.testing.assert_allclose(misorientation_angle(b, a, group), expected, atol=1e-7)
    np.testing.assert_allclose(misorientation_angle(a, reduce(a, group), group), 0, atol=1e-5)


def test_misorientation_is_the_least_over_all_pairs_of_equivalents() -> None:
    a, b = random_uniform(np.random.default_rng(1), 2)
    s = rotations("m-3")
    w = np.abs(multiply(multiply(s[:, None], multiply(b, conjugate(a))), s[None])[..., 0])
    np.testing.assert_allclose(misorientation_angle(a, b, "m-3"), 2 * np.arccos(w.max()), atol=1e-9)


@pytest.mark.parametrize("group", LARGEST)
def test_largest_misorientation(group: str) -> None:
    a, b = random_uniform(np.random.default_rng(2), 40_000).reshape(2, -1, 4)
    angle = np.degrees(misorientation_angle(a, b, group))
    assert LARGEST[group] - 3 < angle.max() <= LARGEST[group] + 0.01
    if group == "m-3m":
        assert abs(angle.mean() - 40.74) < 0.2  # Mackenzie 1958


def test_sigma_3_is_60_degrees() -> None:
    twin = from_axis_angle(np.array([1.0, 1.0, 1.0]), np.pi / 3)
    about_110 = from_axis_angle(np.array([1.0, 1.0, 0.0]), np.radians(70.5288))
    identity = np.array([1.0, 0, 0, 0])
    for sigma_3 in (twin, about_110):
        np.testing.assert_allclose(np.degrees(misorientation_angle(identity, sigma_3, "m-3m")), 60, atol=1e-4)


def test_names_in_files() -> None:
    assert [laue_group_of_channel(i) for i in range(1, 12)] == list(LAUE_GROUPS)
    assert [laue_group_of_tsl(s) for s in (43, "62", 22, "20", 21, 1)] == [
        "m-3m",
        "6/mmm",
        "mmm",
        "2/m",
        "2/m",
        "-1",
    ]
    assert [laue_group_of_space_group(n) for n in (2, 3, 194, 195, 206, 225)] == [
        "-1",
        "2/m",
        "6/mmm",
        "m-3",
        "m-3",
        "m-3m",
    ]
    assert [laue_group(s) for s in ("m3m", "432", "-43m", " 6/m m m", "321")] == [
        "m-3m",
        "m-3m",
        "m-3m",
        "6/mmm",
        "-3m",
    ]


def test_unknown_names_are_refused_in_one_line() -> None:
    calls = (laue_group, laue_group_of_tsl, laue_group_of_channel, laue_group_of_space_group)
    wheres = ("laue_group", "symmetry", "number", "number")
    for call, wrong, where in zip(calls, ("6/mmmm", 99, 12, 0), wheres):
        with pytest.raises(UserError) as error:
            call(wrong)
        assert error.value.where == where
        assert str(wrong) in error.value.problem


@pytest.mark.parametrize(
    ("point_group", "space_group", "image_of_a", "image_of_b", "axis"),
    [
        ("321", 150, (0, 1), (1, 0), ""),  # (y, x, -z), International Tables A
        ("312", 149, (0, -1), (-1, 0), "a*"),  # (-y, -x, -z)
    ],
)
def test_twofold_axes_of_trigonal_settings(point_group, space_group, image_of_a, image_of_b, axis) -> None:
    cell = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])  # a and b, x along a
    plane = np.linalg.solve(cell, np.array([image_of_a, image_of_b]) @ cell).T
    turn = from_matrix(np.block([[plane, np.zeros((2, 1))], [np.zeros((1, 2)), -1.0]]))
    among = np.abs(rotations("-3m") @ turn).max() > 1 - 1e-9
    assert among == (axis == "")
    assert twofold_axis(point_group) == twofold_axis(space_group=space_group) == axis
