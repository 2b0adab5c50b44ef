import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.crystal.orientations import (
    conjugate,
    from_axis_angle,
    from_euler,
    from_matrix,
    multiply,
    normalise,
    random_uniform,
    rotate,
    to_euler,
    to_matrix,
)

AXES = np.eye(3)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(np.abs(np.sum(a * b, axis=-1)), 1, atol=1e-12))


def bunge_matrix(phi1: float, big_phi: float, phi2: float) -> np.ndarray:
    """Bunge 1982, eq. 2.50, entry by entry."""
    c1, s1, c, s, c2, s2 = [f(a) for a in (phi1, big_phi, phi2) for f in (np.cos, np.sin)]
    return np.array(
        [
            [c1 * c2 - s1 * s2 * c, s1 * c2 + c1 * s2 * c, s2 * s],
            [-c1 * s2 - s1 * c2 * c, -s1 * s2 + c1 * c2 * c, c2 * s],
            [s1 * s, -c1 * s, c],
        ]
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 6.28), st.floats(0, np.pi), st.floats(0, 6.28))
def test_euler_angles_are_bunges(phi1: float, big_phi: float, phi2: float) -> None:
    quaternion = from_euler(np.array([phi1, big_phi, phi2]))
    np.testing.assert_allclose(to_matrix(quaternion), bunge_matrix(phi1, big_phi, phi2), atol=1e-12)
    assert same(from_euler(to_euler(quaternion)), quaternion)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternions_survive_matrices_and_euler_angles(components: list[float]) -> None:
    quaternion = normalise(np.array(components))
    assert same(from_matrix(to_matrix(quaternion)), quaternion)
    assert np.abs(to_matrix(from_euler(to_euler(quaternion))) - to_matrix(quaternion)).max() < 1e-9


def test_orientation_turns_sample_into_crystal() -> None:
    quarter = from_euler(np.array([np.pi / 2, 0.0, 0.0]))
    np.testing.assert_allclose(rotate(quarter, AXES[0]), -AXES[1], atol=1e-12)
    np.testing.assert_allclose(rotate(conjugate(quarter), AXES[1]), -AXES[0], atol=1e-12)


@pytest.mark.parametrize("big_phi", [0.0, np.pi])
def test_euler_angles_where_two_of_them_are_one(big_phi: float) -> None:
    euler = to_euler(from_euler(np.array([1.0, big_phi, 0.4])))
    assert euler[2] == 0
    assert same(from_euler(euler), from_euler(np.array([1.0, big_phi, 0.4])))


def test_matrices_there_and_back_for_every_leading_component() -> None:
    quaternions = random_uniform(np.random.default_rng(0), 500)
    halves = np.concatenate([np.eye(4), quaternions])
    assert same(from_matrix(to_matrix(halves)), halves)
    assert np.all(from_matrix(to_matrix(halves))[:, 0] >= 0)


def test_product_is_one_turn_after_the_other() -> None:
    a, b = random_uniform(np.random.default_rng(1), 100).reshape(2, 50, 4)
    vectors = np.random.default_rng(2).standard_normal((50, 3))
    np.testing.assert_allclose(rotate(multiply(a, b), vectors), rotate(a, rotate(b, vectors)), atol=1e-12)
    np.testing.assert_allclose(to_matrix(multiply(a, b)), to_matrix(a) @ to_matrix(b), atol=1e-12)
    assert same(multiply(a, conjugate(a)), np.array([1.0, 0, 0, 0]))


def test_axis_and_angle() -> None:
    turn = from_axis_angle(np.array([0.0, 0.0, 3.0]), np.pi / 2)
    np.testing.assert_allclose(rotate(turn, AXES[0]), AXES[1], atol=1e-12)
    np.testing.assert_allclose(from_axis_angle(AXES, np.full(3, np.pi))[:, 1:], AXES, atol=1e-12)


def test_random_orientations_are_uniform() -> None:
    quaternions = random_uniform(np.random.default_rng(3), 20_000)
    moments = quaternions.T @ quaternions / len(quaternions)
    np.testing.assert_allclose(moments[1:, 1:], np.eye(3) / 4, atol=0.01)
    angle = 2 * np.arccos(quaternions[:, 0])
    assert abs(angle.mean() - (np.pi / 2 + 2 / np.pi)) < 0.02  # density (1 - cos angle) / pi
    np.testing.assert_allclose(normalise(-3 * quaternions), quaternions, atol=1e-12)
