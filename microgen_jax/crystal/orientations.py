"""Orientations as unit quaternions.

Convention, once for the whole project (that of Bunge's book, of EBSD files and of orix):

  (1) An orientation g turns *sample* coordinates of a direction into *crystal* ones: v_crystal = g v_sample.
  (2) It is stored as q = (w, x, y, z), float64, |q| = 1, with v' = q v q*; q and -q are the same orientation.
  (3) Bunge's angles (phi1, Phi, phi2), in radians, are the passive turns about Z, X', Z'':
      g = Z(phi2) X(Phi) Z(phi1), Z(a) = [[cos a, sin a, 0], [-sin a, cos a, 0], [0, 0, 1]], so that
      q = (cos(Phi/2) cos s, -sin(Phi/2) cos d, -sin(Phi/2) sin d, -cos(Phi/2) sin s),
      where s, d = (phi1 +- phi2) / 2.
  (4) `multiply(a, b)` turns by b first, then by a. Crystal symmetry acts from the left, sample symmetry from
      the right, and the misorientation from the crystal of a to that of b is b a*.

Crystal axes: z along c; x along a where the system has a axis normal to c (a of the hexagonal cell).
"""

import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.arguments import require_floats, require_unit
from microgen_jax.errors import UserError

LARGEST_EULER = 4 * np.pi + 1e-3  # rad; angles beyond it are in degrees

Quaternions = Float[np.ndarray, "*n 4"]


def normalise(quaternions: Quaternions) -> Quaternions:
    """Return unit quaternions of the half sphere w >= 0.

    Args:
      quaternions: quaternions of any length but 0 [..., 4].

    Raises:
      UserError: another shape or type, or a quaternion without a length.
    """
    require_floats("quaternions", quaternions, (4,))
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    if not np.all(length > 0):
        raise UserError("quaternions", "hold one of length 0 or NaN, which is no orientation", "leave it out")
    unit = quaternions / length
    return np.where(unit[..., :1] < 0, -unit, unit)


def multiply(a: Float[np.ndarray, "*#n 4"], b: Float[np.ndarray, "*#n 4"]) -> Quaternions:
    """Return the Hamilton product a b [..., 4]: turn by b, then by a.

    Args:
      a: quaternions of the second turn [..., 4].
      b: quaternions of the first turn [..., 4]; the leading axes broadcast.

    Raises:
      UserError: another shape or type.
    """
    require_floats("a", a, (4,))
    require_floats("b", b, (4,))
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(quaternions: Quaternions) -> Quaternions:
    """Return the inverse turns: crystal -> sample for an orientation.

    Args:
      quaternions: unit quaternions [..., 4].

    Raises:
      UserError: another shape or type.
    """
    require_floats("quaternions", quaternions, (4,))
    return quaternions * np.array([1.0, -1.0, -1.0, -1.0])


def rotate(
    quaternions: Float[np.ndarray, "*#n 4"], vectors: Float[np.ndarray, "*#n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Return q v q*: crystal coordinates of sample directions v.

    Args:
      quaternions: unit quaternions, sample -> crystal [..., 4].
      vectors: sample directions [..., 3]; the leading axes broadcast.

    Raises:
      UserError: another shape or type.
    """
    require_floats("quaternions", quaternions, (4,))
    require_floats("vectors", vectors, (3,))
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    a, b, c = np.moveaxis(vectors, -1, 0)
    p, q, r = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    turned = [a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p]
    return np.stack(turned, axis=-1)


def from_axis_angle(axis: Float[np.ndarray, "*#n 3"], angle: float | Float[np.ndarray, "*#n"]) -> Quaternions:
    """Return active turns by an angle about an axis.

    Args:
      axis: vectors of any length but 0 [..., 3].
      angle: angle of the turn in radians, right-handed.

    Raises:
      UserError: another shape or type of `axis`, or an axis without a length.
    """
    require_floats("axis", axis, (3,))
    half = np.asarray(angle)[..., None] / 2
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    if not np.all(length > 0):
        raise UserError("axis", "holds a vector of length 0 or NaN, which is no direction")
    unit = axis / length
    cosine, sine = np.broadcast_arrays(np.cos(half), np.sin(half) * unit)
    return np.concatenate([cosine[..., :1], sine], axis=-1)


def from_euler(euler: Float[np.ndarray, "*n 3"]) -> Quaternions:
    """Return the orientations of Bunge angles (eq. 3), with w >= 0.

    Args:
      euler: phi1, Phi, phi2 in radians [..., 3].

    Raises:
      UserError: another shape or type, NaN, or angles beyond two full turns, which are degrees.
    """
    require_floats("euler", euler, (3,))
    largest = np.abs(euler).max(initial=0.0)
    if not largest <= LARGEST_EULER:
        raise UserError(
            "euler",
            f"angles up to {largest:.6g} must lie within two full turns (4 pi rad)",
            "np.radians turns degrees into radians",
        )
    phi1, big_phi, phi2 = np.moveaxis(np.asarray(euler, np.float64), -1, 0)
    cosine, sine = np.cos(big_phi / 2), np.sin(big_phi / 2)
    total, difference = (phi1 + phi2) / 2, (phi1 - phi2) / 2
    quaternions = np.stack(
        [
            cosine * np.cos(total),
            -sine * np.cos(difference),
            -sine * np.sin(difference),
            -cosine * np.sin(total),
        ],
        axis=-1,
    )
    return np.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def to_euler(quaternions: Quaternions) -> Float[np.ndarray, "*n 3"]:
    """Return Bunge angles in radians: phi1, phi2 in [0, 2 pi), Phi in [0, pi]; phi2 = 0 where Phi is 0 or pi.

    Args:
      quaternions: unit quaternions [..., 4].

    Raises:
      UserError: another shape or type, or quaternions of another length.
    """
    require_unit("quaternions", quaternions, 4)
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    cosine, sine = np.hypot(w, z), np.hypot(x, y)
    total = np.where(cosine > 1e-12, np.arctan2(-z, w), 0.0)
    difference = np.where(sine > 1e-12, np.arctan2(-y, -x), 0.0)
    phi1, phi2 = total + difference, total - difference
    phi1 = np.where(sine > 1e-12, np.where(cosine > 1e-12, phi1, 2 * difference), 2 * total)
    phi2 = np.where((sine > 1e-12) & (cosine > 1e-12), phi2, 0.0)
    return np.stack([phi1 % (2 * np.pi), 2 * np.arctan2(sine, cosine), phi2 % (2 * np.pi)], axis=-1)


def to_matrix(quaternions: Quaternions) -> Float[np.ndarray, "*n 3 3"]:
    """Return the rotation matrices g, v_crystal = g v_sample [..., 3, 3].

    Args:
      quaternions: unit quaternions [..., 4].

    Raises:
      UserError: another shape or type, or quaternions of another length.
    """
    require_unit("quaternions", quaternions, 4)
    matrices = matrix_elements(np.moveaxis(quaternions, -1, 0))
    return np.ascontiguousarray(np.moveaxis(matrices, (0, 1), (-2, -1)))


def matrix_elements(components: Float[np.ndarray, "4 *n"]) -> Float[np.ndarray, "3 3 *n"]:
    """Return the rotation matrices of unit quaternions with the elements first; row i is crystal axis i.

    Args:
      components: w, x, y and z of unit quaternions [4, ...].
    """
    w, x, y, z = components
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def from_matrix(matrices: Float[np.ndarray, "*n 3 3"]) -> Quaternions:
    """Return the orientations of proper rotation matrices, w >= 0.

    The matrix of the products 4 q_i q_j is linear in g; its row with the largest diagonal is the stable one
    (Shepperd 1978, doi:10.2514/3.55767b).

    Args:
      matrices: proper rotations [..., 3, 3].

    Raises:
      UserError: another shape or type, or matrices that are no proper rotations.
    """
    require_floats("matrices", matrices, (3, 3))
    away = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max(initial=0.0)
    if not (away < 1e-3 and np.all(np.linalg.det(matrices) > 0)):
        raise UserError("matrices", "hold one that is no proper rotation: rows of length 1, determinant 1")
    g = np.asarray(matrices, np.float64)
    skew = [g[..., 2, 1] - g[..., 1, 2], g[..., 0, 2] - g[..., 2, 0], g[..., 1, 0] - g[..., 0, 1]]
    products = np.empty((*g.shape[:-2], 4, 4))
    products[..., 1:, 1:] = g + np.swapaxes(g, -1, -2)
    products[..., 0, 1:] = products[..., 1:, 0] = np.stack(skew, axis=-1)
    trace = np.trace(g, axis1=-2, axis2=-1)
    products[..., 0, 0] = 1 + trace
    for i in range(3):
        products[..., i + 1, i + 1] = 1 + 2 * g[..., i, i] - trace
    best = np.argmax(np.diagonal(products, axis1=-2, axis2=-1), axis=-1)
    return normalise(np.take_along_axis(products, best[..., None, None], axis=-2)[..., 0, :])


def random_uniform(rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 4"]:
    """Return orientations uniform on SO(3), w >= 0 (Shoemake 1992, "Uniform random rotations").

    Args:
      rng: source of the random numbers.
      count: number of orientations.
    """
    u, azimuth1, azimuth2 = rng.random((3, count))
    near, far = np.sqrt(1 - u), np.sqrt(u)
    a, b = 2 * np.pi * azimuth1, 2 * np.pi * azimuth2
    return normalise(
        np.stack([far * np.cos(b), near * np.sin(a), near * np.cos(a), far * np.sin(b)], axis=-1)
    )
