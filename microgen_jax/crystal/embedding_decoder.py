"""The orientation whose embedding is nearest to a vector: a table of starts, then Gauss-Newton and Newton steps.

With c the vector, E(g) the embedding and L_i its generators (`embedding`, eq. 3 and 5), the nearest E(g) in direction
is the one with the largest <c, E(g)>, as |E| is constant. A turn ω of the sample, g <- g exp(-ω), changes it by

  (1) b·ω + ω·Hω / 2,   b_i = <c, L_i E>,   H_ik = <c, (L_i L_k + L_k L_i) E> / 2.

The step of Gauss and Newton is b / λ, since <L_i E, L_k E> = δ_ik and c is near λ E: nothing needs solving.
Newton's is -H^-1 b and converges quadratically where c is off the manifold too; it is taken wherever H is negative
definite.

Arrays within have the pixels on their last axis, along which numpy is fastest.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from microgen_jax.crystal.orientations import conjugate, normalise
from microgen_jax.crystal.symmetry import reduce, rotations

STARTS = 1500  # entries of the table, spread over the fundamental zone
CHUNK = 1024  # pixels at once, always: a shorter rest is filled up, so that a pixel's bits do not depend on others
STEPS = 5  # exact to 1e-7 degrees from every start, on clean values
LARGEST_STEP = 0.2  # rad

_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


class Decoder:
    """A table of starts and the products of generators for one embedding.

    Args:
      embed: E of quaternions [4, n] -> [C, n], in radians.
      generators: L_x, L_y and L_z [3, C, C].
      laue_group: name of the Laue group.
    """

    def __init__(
        self,
        embed: Callable[[np.ndarray], np.ndarray],
        generators: Float64[np.ndarray, "3 C C"],
        laue_group: str,
    ) -> None:
        self.embed, self.laue_group = embed, laue_group
        self.starts = spread_orientations(STARTS, laue_group)
        vertices = embed(np.ascontiguousarray(self.starts.T))
        self.radius = float(np.linalg.norm(vertices[:, 0]))
        self._vertices = vertices.astype(np.float32)
        seconds = [(generators[i] @ generators[k] + generators[k] @ generators[i]) / 2 for i, k in _PAIRS]
        self._derivatives = (
            np.concatenate([generators, seconds]).transpose(0, 2, 1).reshape(-1, len(vertices))
        )

    def decode(
        self, values: Float64[np.ndarray, "N C"]
    ) -> tuple[Float64[np.ndarray, "N 4"], Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
        """Return orientation, length and residual, as `Embedding.decode` says.

        Args:
          values: one vector a pixel.
        """
        return in_chunks(self._decode_chunk, values)

    def _decode_chunk(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode CHUNK pixels; those without a direction give the identity, length 0 and residual 1."""
        norm = np.linalg.norm(values, axis=1)
        known = (norm > 0) & np.isfinite(norm)
        directions = np.full(values.shape, values.shape[1] ** -0.5)
        directions[known] = values[known] / norm[known, None]
        found, residual = self._nearest(directions)
        orientation = np.where(known[:, None], reduce(found, self.laue_group), [1.0, 0.0, 0.0, 0.0])
        return orientation, np.where(known, norm / self.radius, 0.0), np.where(known, residual, 1.0)

    def _nearest(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the orientation [n, 4] with the largest <c, E(g)> for unit vectors c [n, C], and the residual [n]."""
        best = np.argmax(directions.astype(np.float32) @ self._vertices, axis=1)
        found = np.ascontiguousarray(self.starts[best].T)
        directions = np.ascontiguousarray(directions.T)
        derivatives = (self._derivatives @ directions).reshape(
            9, *directions.shape
        )  # of <c, E>: rows of b and H
        for _ in range(STEPS):
            vectors = self.embed(found)
            slopes = np.einsum("kcn,cn->kn", derivatives, vectors)
            scale = np.sum(directions * vectors, axis=0) / self.radius**2
            turn = _step(slopes[:3], -slopes[3:], np.maximum(scale, 0.1 / self.radius))
            found = _turned(found, turn)
        nearest = self.embed(found) / self.radius
        cosine = np.sum(directions * nearest, axis=0)
        return found.T, np.minimum(np.linalg.norm(directions - cosine * nearest, axis=0), 1.0)


def in_chunks(
    function: Callable[[np.ndarray], tuple[np.ndarray, ...]], rows: Float64[np.ndarray, "N K"]
) -> tuple[np.ndarray, ...]:
    """Return what a function makes of rows, called with CHUNK of them at a time.

    Args:
      function: rows [CHUNK, K] -> arrays [CHUNK, ...].
      rows: rows; the last chunk is filled up with (1, 0, 0, ...).
    """
    results = []
    for first in range(0, max(len(rows), 1), CHUNK):
        part = rows[first : first + CHUNK]
        full = np.zeros((CHUNK, rows.shape[1]))
        full[:, 0] = 1
        full[: len(part)] = part
        results.append([found[: len(part)] for found in function(full)])
    return tuple(np.concatenate(parts) for parts in zip(*results))


def _step(gradient: np.ndarray, curvature: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Return Newton's step ω [3, n] where the curvature is positive definite, and gradient / plain elsewhere.

    Args:
      gradient: b [3, n].
      curvature: -H, in the order of _PAIRS [6, n].
      plain: λ [n].
    """
    xx, yy, zz, xy, xz, yz = curvature
    adjugate = (yy * zz - yz**2, xx * zz - xz**2, xx * yy - xy**2)
    off = (xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - xx * yz)  # xy, xz, yz
    determinant = xx * adjugate[0] + xy * off[0] + xz * off[1]
    sound = (xx > 0) & (adjugate[2] > 0) & (determinant > 1e-3 * plain**3)
    bx, by, bz = gradient
    newton = np.stack(
        [
            adjugate[0] * bx + off[0] * by + off[1] * bz,
            off[0] * bx + adjugate[1] * by + off[2] * bz,
            off[1] * bx + off[2] * by + adjugate[2] * bz,
        ]
    ) / np.where(sound, determinant, 1.0)
    step = np.where(sound, newton, gradient / plain)
    size = np.linalg.norm(step, axis=0)
    return step * np.minimum(1.0, LARGEST_STEP / np.maximum(size, 1e-300))


def _turned(quaternions: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return g exp(-ω) to second order in ω, of unit length [4, n].

    Args:
      quaternions: orientations g [4, n].
      turn: turn ω of the sample [3, n].
    """
    w, x, y, z = quaternions
    a, b, c = turn / 2
    moved = np.stack(
        [
            w + x * a + y * b + z * c,
            x - w * a - y * c + z * b,
            y - w * b + x * c - z * a,
            z - w * c - x * b + y * a,
        ]
    )
    return moved / np.sqrt(np.sum(moved * moved, axis=0))


def spread_orientations(count: int, laue_group: str) -> Float64[np.ndarray, "n 4"]:
    """Return about `count` orientations that cover the fundamental zone evenly, always the same.

    Super-Fibonacci spirals (Alexa 2022, CVPR, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)") cover
    SO(3); those of the least angle among their equivalents are kept.

    Args:
      count: number of orientations wanted.
      laue_group: name of the Laue group.
    """
    total = count * len(rotations(laue_group))
    position = np.arange(total) + 0.5
    near, far = np.sqrt(position / total), np.sqrt(1 - position / total)
    alpha, beta = 2 * np.pi * position / np.sqrt(2), 2 * np.pi * position / 1.533751168755204288118041
    spiral = np.stack(
        [near * np.sin(alpha), near * np.cos(alpha), far * np.sin(beta), far * np.cos(beta)], axis=1
    )
    spiral = normalise(spiral)
    largest = np.abs(spiral @ conjugate(rotations(laue_group)).T).max(axis=1)
    return spiral[spiral[:, 0] >= largest - 1e-12]
