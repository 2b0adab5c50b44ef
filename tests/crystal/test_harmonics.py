import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy.linalg import expm
from scipy.special import sph_harm_y

from microgen_jax.crystal.harmonics import generators, harmonics, rotation_of_harmonics
from microgen_jax.crystal.orientations import from_axis_angle, random_uniform, to_matrix

DEGREES = (1, 2, 3, 4, 6)


def directions(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("degree", DEGREES)
def test_products_are_legendre_polynomials(degree: int) -> None:
    u, v = directions(40).reshape(2, 20, 3)
    products = np.sum(harmonics(degree, u) * harmonics(degree, v), axis=-1)
    expected = legendre.legval(np.sum(u * v, axis=-1), np.eye(degree + 1)[degree])
    np.testing.assert_allclose(products, expected, atol=1e-13)


@pytest.mark.parametrize("degree", DEGREES)
def test_harmonics_are_those_of_scipy(degree: int) -> None:
    vectors = directions(20)
    polar, azimuth = np.arccos(vectors[:, 2]), np.arctan2(vectors[:, 1], vectors[:, 0])
    ours = harmonics(degree, vectors) * np.sqrt((2 * degree + 1) / (4 * np.pi))
    for m in range(degree + 1):
        complex_value = sph_harm_y(degree, m, polar, azimuth) * (-1) ** m * np.sqrt(2 if m else 1)
        np.testing.assert_allclose(ours[:, degree + m], complex_value.real, atol=1e-13)
        if m:
            np.testing.assert_allclose(ours[:, degree - m], complex_value.imag, atol=1e-13)


@pytest.mark.parametrize("degree", DEGREES)
def test_rotations_act_by_orthogonal_matrices_that_the_generators_make(degree: int) -> None:
    rotation = to_matrix(random_uniform(np.random.default_rng(1), 1)[0])
    matrix = rotation_of_harmonics(degree, rotation)
    vectors = directions(20)
    turned = harmonics(degree, vectors @ rotation.T)
    np.testing.assert_allclose(turned, harmonics(degree, vectors) @ matrix.T, atol=1e-13)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * degree + 1), atol=1e-13)
    turn = np.array([0.3, -0.5, 0.2])
    about = to_matrix(from_axis_angle(turn, float(np.linalg.norm(turn))))
    exponential = expm(np.einsum("i,ick->ck", turn, generators(degree)))
    np.testing.assert_allclose(rotation_of_harmonics(degree, about), exponential, atol=1e-13)
