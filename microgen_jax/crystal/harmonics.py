"""Real spherical harmonics of unit vectors and how rotations act on them.

Y_l is the vector of the 2l + 1 real harmonics of degree l, from m = -l (sine) over 0 to l (cosine), normalised so that

  (1) <Y_l(u), Y_l(v)> = P_l(u·v)                                  (addition theorem),
  (2) Y_lm(v) = sqrt((2 - δ_m0) (l - m)! / (l + m)!) P_l^(m)(z) Re (x + iy)^m  for m >= 0, and Im for -m,

with P_l^(m) the m-th derivative of the Legendre polynomial (without the sign of Condon and Shortley). A rotation R acts
by an orthogonal matrix, Y_l(R v) = D(R) Y_l(v), and L_i = dD(exp ω)/dω_i at 0.
"""

from functools import cache
from math import factorial

import numpy as np
from jaxtyping import Float, Float64
from numpy.polynomial import legendre, polynomial


@cache
def _polynomials(degree: int) -> Float64[np.ndarray, "_ _"]:
    """Return coefficients of z^k [m, k] of the factors of equation (2)."""
    legendre_series = legendre.leg2poly(np.eye(degree + 1)[degree])
    table = np.zeros((degree + 1, degree + 1))
    for m in range(degree + 1):
        derivative = polynomial.polyder(legendre_series, m)
        norm = np.sqrt((2 - (m == 0)) * factorial(degree - m) / factorial(degree + m))
        table[m, : len(derivative)] = norm * derivative
    return table


def harmonics(degree: int, vectors: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n C"]:
    """Return Y_l of unit vectors (eq. 2).

    Args:
      degree: degree l.
      vectors: unit vectors [..., 3].
    """
    return np.moveaxis(rows_of_harmonics(degree, np.moveaxis(vectors, -1, 0)), 0, -1)


def rows_of_harmonics(degree: int, components: Float[np.ndarray, "3 *n"]) -> Float64[np.ndarray, "C *n"]:
    """Return Y_l of unit vectors (eq. 2), a row for each m: numpy is fastest along the last axis.

    Args:
      degree: degree l.
      components: x, y and z of unit vectors [3, ...].
    """
    x, y, z = components
    powers = np.empty((degree + 1, *z.shape))
    powers[0] = 1
    for k in range(degree):
        powers[k + 1] = powers[k] * z
    along_z = (_polynomials(degree) @ powers.reshape(degree + 1, -1)).reshape(powers.shape)
    values = np.empty((2 * degree + 1, *z.shape))
    values[degree] = along_z[0]
    real, imaginary = x, y
    for m in range(1, degree + 1):
        values[degree + m] = along_z[m] * real
        values[degree - m] = along_z[m] * imaginary
        if m < degree:
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
    return values


def rotation_of_harmonics(degree: int, rotation: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "C C"]:
    """Return D(R) with Y_l(R v) = D(R) Y_l(v).

    Args:
      degree: degree l.
      rotation: proper rotation R.
    """
    directions = _directions(degree)
    before, after = harmonics(degree, directions), harmonics(degree, directions @ rotation.T)
    return np.linalg.lstsq(before, after, rcond=None)[0].T


@cache
def generators(degree: int) -> Float64[np.ndarray, "3 C C"]:
    """Return L_x, L_y and L_z, antisymmetric.

    L_z turns cos mφ and sin mφ into each other; the others are the same about another axis.

    Args:
      degree: degree l.
    """
    about_z = np.zeros((2 * degree + 1, 2 * degree + 1))
    for m in range(1, degree + 1):
        about_z[degree + m, degree - m] = -m
        about_z[degree - m, degree + m] = m
    cycle = rotation_of_harmonics(degree, np.roll(np.eye(3), 1, axis=0))  # x -> y -> z -> x
    about_x = cycle @ about_z @ cycle.T
    return np.stack([about_x, cycle @ about_x @ cycle.T, about_z])


@cache
def _directions(degree: int) -> Float64[np.ndarray, "n 3"]:
    """Return directions, evenly spread on a spiral, that tell the harmonics of a degree apart."""
    count = 6 * (2 * degree + 1)
    z = 1 - (2 * np.arange(count) + 1) / count
    azimuth = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)
