"""The allowed transforms, derived in `augment`, against colours of random orientations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.orientations import conjugate, from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.symmetry import misorientation_angle, reduce
from microgen_jax.data import augment
from microgen_jax.errors import UserError

HALF_TURNS = {"flip_x": (0, 1, 0), "flip_y": (1, 0, 0), "transpose": (1, 1, 0), "antitranspose": (1, -1, 0)}
QUARTERS = {"identity": 0, "turn_90": 1, "turn_180": 2, "turn_270": 3}


def sample_motion(element: str) -> np.ndarray:
    """The rotation of the sample that moves an image by `element`: a flip is a half turn about an in-plane axis."""
    if element in QUARTERS:
        (_, _), (down, _) = augment.DIHEDRAL[element]
        sense = 1 if down >= 0 else -1
        angle = np.pi / 2 * (QUARTERS[element] if element == "turn_180" else sense * (QUARTERS[element] % 2))
        return from_axis_angle(np.array([0.0, 0.0, 1.0]), np.array(angle))
    axis = np.array(HALF_TURNS[element], float)
    return from_axis_angle(axis / np.linalg.norm(axis), np.array(np.pi))


ELEMENTS = st.sampled_from(list(augment.DIHEDRAL))
DIRECTIONS = st.tuples(*[st.integers(-2, 2)] * 3).filter(any)


@settings(max_examples=60, deadline=None)
@given(element=ELEMENTS, direction=DIRECTIONS, seed=st.integers(0, 99))
def test_an_element_is_allowed_exactly_where_it_leaves_ipf_colours_true(element, direction, seed):
    """Colours stay true if and only if P d = ±d."""
    field = random_uniform(np.random.default_rng(seed), 6 * 5).reshape(6, 5, 4)
    vector = np.array(direction, float)
    colours = ipf_colour(field.reshape(-1, 4), vector, "m-3m").reshape(6, 5, 3)
    turned = multiply(field, conjugate(sample_motion(element)))
    moved = augment.apply(turned, element)
    expected = ipf_colour(moved.reshape(-1, 4), vector, "m-3m").reshape(moved.shape[:2] + (3,))
    true = np.abs(expected.astype(int) - augment.apply(colours, element)).max() <= 1
    assert true == (element in augment.allowed(",".join(map(str, direction)), "all"))


@settings(max_examples=60, deadline=None)
@given(first=ELEMENTS, second=ELEMENTS, height=st.integers(1, 6), width=st.integers(1, 6))
def test_augmentation_is_a_group_action(first, second, height, width):
    """Moving by P and then by Q moves by QP, and some element undoes each."""
    image = np.arange(height * width * 9, dtype=np.int32).reshape(height, width, 9)
    product = np.array(augment.DIHEDRAL[second]) @ augment.DIHEDRAL[first]
    (name,) = (n for n, matrix in augment.DIHEDRAL.items() if np.array_equal(matrix, product))
    for xyz in (False, True):
        twice = augment.apply(augment.apply(image, first, ipf_xyz=xyz), second, ipf_xyz=xyz)
        np.testing.assert_array_equal(twice, augment.apply(image, name, ipf_xyz=xyz))
        back = [augment.apply(twice, inverse, ipf_xyz=xyz) for inverse in augment.DIHEDRAL]
        assert any(b.shape == image.shape and np.array_equal(b, image) for b in back)


@given(direction=DIRECTIONS, symmetry=st.sampled_from(list(augment.PROCESS)))
def test_the_allowed_elements_are_a_group(direction, symmetry):
    allowed = augment.allowed(",".join(map(str, direction)), symmetry)
    matrices = [np.array(augment.DIHEDRAL[element]) for element in allowed]
    products = {(a @ b).tobytes() for a in matrices for b in matrices}
    assert products == {matrix.tobytes() for matrix in matrices}


@pytest.mark.parametrize("element", augment.DIHEDRAL)
def test_a_stack_of_three_directions_stays_true_when_its_channels_move_along(element):
    field = random_uniform(np.random.default_rng(1), 12).reshape(3, 4, 4)

    def stack(q: np.ndarray) -> np.ndarray:
        maps = [ipf_colour(q.reshape(-1, 4), d, "m-3m").reshape(*q.shape[:2], 3) for d in "XYZ"]
        return np.concatenate(maps, axis=-1)

    moved = augment.apply(multiply(field, conjugate(sample_motion(element))), element)
    got = augment.apply(stack(field), element, ipf_xyz=True)
    assert np.abs(stack(moved).astype(int) - got).max() <= 1


@pytest.mark.parametrize("group", ["m-3m", "6/mmm", "2/m"])
@pytest.mark.parametrize("element", augment.DIHEDRAL)
def test_orientations_move_with_the_sample(element, group):
    field = reduce(random_uniform(np.random.default_rng(2), 12), group).reshape(3, 4, 4)
    labels = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    window = np.concatenate([field, labels], axis=-1, dtype=np.float32)
    got = augment.apply(window, element, orientations=True)
    expected = augment.apply(multiply(field, conjugate(sample_motion(element))), element)
    assert misorientation_angle(got[..., :4].astype(np.float64), expected, group).max() < 1e-3
    np.testing.assert_array_equal(got[..., 4:], augment.apply(labels, element))


@pytest.mark.parametrize("element", augment.DIHEDRAL)
def test_apply_moves_a_pixel_as_the_matrix_says(element):
    image = np.zeros((5, 7, 1))
    x, y = 2, -1  # from the centre
    image[2 + y, 3 + x] = 1
    moved = augment.apply(image, element)
    u, v = np.array(augment.DIHEDRAL[element]) @ (x, y)
    assert moved[moved.shape[0] // 2 + v, moved.shape[1] // 2 + u] == 1
    assert moved.sum() == 1


def test_the_groups_are_those_of_the_design():
    everything, four = set(augment.DIHEDRAL), {"identity", "turn_180", "flip_x", "flip_y"}
    assert set(augment.allowed("Z", "all")) == everything
    assert set(augment.allowed("X", "all")) == set(augment.allowed("Y", "all")) == four
    assert set(augment.allowed("", "orthotropic")) == four
    assert set(augment.allowed("Z", "monoclinic")) == {"identity", "turn_180"}
    assert augment.allowed("Z", "none") == ("identity",)


def test_one_symmetry_per_class():
    groups = augment.allowed_by_class(
        ("Shear", "Tension", "Rest"), "Z", "Shear=monoclinic, Tension=orthotropic"
    )
    assert [len(group) for group in groups] == [2, 4, 1]
    assert [len(g) for g in augment.allowed_by_class(("Shear", "Rest"), "Z", "all,Shear=none")] == [1, 8]


@pytest.mark.parametrize(
    ("where", "direction", "symmetry"),
    [("ipf_direction", "W", "all"), ("ipf_direction", "0,0,0", "all"), ("ipf_direction", "nan,0,0", "all"),
     ("symmetry", "Z", "orthotropc"), ("symmetry", "Z", "Sheer=none"), ("symmetry", "Z", "Shear=nine")],
)  # fmt: skip
def test_mistakes_are_named(where, direction, symmetry):
    with pytest.raises(UserError) as caught:
        augment.allowed_by_class(("Shear",), direction, symmetry)
    assert caught.value.where == where
