"""Orientations as points of a Euclidean space: one embedding for each Laue group.

An orientation has many equivalents S g, angles and quaternions jump between them, and their means are no
orientations. The embedding adds up spherical harmonics of crystal axes, seen in sample coordinates:

  (1) E(g) = w_1 Σ_j c_1j Y_l1(g^-1 a_1j)  ⊕  w_2 Σ_j c_2j Y_l2(g^-1 a_2j)  ⊕ ...

where Y_l is the vector of the 2l + 1 real harmonics with <Y_l(u), Y_l(v)> = P_l(u·v). Each block of 2l + 1 channels
is a function on the crystal's sphere that the rotations of the Laue group leave alone, and only they leave all blocks
alone. Hence

  (2) E(S g) = E(g), and E differs where orientations are not equivalent;
  (3) E(g R^-1) = D(R) E(g) with D orthogonal: turns of the sample are linear;
  (4) |E(g)| is the same everywhere (`radius`);
  (5) |E(g) - E(h)| = `per_radian` θ (1 - O(θ²)) in every direction, θ being the misorientation angle: the weights w
      solve Σ_b w_b² <L_i h_b, L_k h_b> = δ_ik, h_b being block b of E(1) before weighting and L_i = dD/dω_i the
      generators; then all channels are scaled alike.

The blocks are the fewest and lowest for which all of this holds. For m-3m, E is the traceless part of the sum of
a⊗a⊗a⊗a over the cube axes, and |E(g) - E(h)|² is proportional to 3 - Σ R_ij⁴, R = h g^-1.

Sources: R. Arnold, P. E. Jupp, H. Schaeben, Statistics of ambiguous rotations, J. Multivariate Analysis 165 (2018),
doi:10.1016/j.jmva.2017.10.007; R. Hielscher, L. Lippert, Locally isometric embeddings of quotients of the rotation
group modulo finite symmetries, J. Multivariate Analysis 185 (2021), arXiv:2007.09664.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Float64

from microgen_jax.crystal.arguments import require_floats, require_unit
from microgen_jax.crystal.embedding_decoder import Decoder, in_chunks
from microgen_jax.crystal.harmonics import (
    generators,
    harmonics,
    rotation_of_harmonics,
    rows_of_harmonics,
)
from microgen_jax.crystal.orientations import from_matrix, matrix_elements, to_matrix
from microgen_jax.crystal.symmetry import laue_group as laue_group_named
from microgen_jax.errors import renamed

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
_HEXAGON = (_X, (0.5, np.sqrt(3) / 2, 0.0), (-0.5, np.sqrt(3) / 2, 0.0))  # a, a + b, b
_TRIANGLE = (_X, (-0.5, np.sqrt(3) / 2, 0.0), (-0.5, -np.sqrt(3) / 2, 0.0))  # a, b, -(a + b)

# (degree, axes a_j, coefficients c_j) of each block of equation (1)
_Block = tuple[int, tuple[tuple[float, float, float], ...], tuple[int, ...]]
_BLOCKS: dict[str, tuple[_Block, ...]] = {
    "-1": ((1, (_X,), (1,)), (1, (_Y,), (1,)), (1, (_Z,), (1,))),
    "2/m": ((1, (_Z,), (1,)), (2, (_X, _Y), (1, -1))),
    "mmm": ((2, (_Z,), (1,)), (2, (_X, _Y), (1, -1))),
    "4/m": ((1, (_Z,), (1,)), (4, (_X, _Y), (1, 1))),
    "4/mmm": ((2, (_Z,), (1,)), (4, (_X, _Y), (1, 1))),
    "-3": ((1, (_Z,), (1,)), (3, _TRIANGLE, (1, 1, 1))),
    "-3m": ((2, (_Z,), (1,)), (3, _TRIANGLE, (1, 1, 1))),
    "6/m": ((1, (_Z,), (1,)), (6, _HEXAGON, (1, 1, 1))),
    "6/mmm": ((2, (_Z,), (1,)), (6, _HEXAGON, (1, 1, 1))),
    "m-3": ((3, _TETRAHEDRON, (1, 1, 1, 1)),),
    "m-3m": ((4, (_X, _Y, _Z), (1, 1, 1)),),
}


@dataclass(frozen=True, eq=False)
class Embedding:
    """The embedding of one Laue group; made by `embedding`.

    Channels are scaled so that the largest value that any of them takes, over all orientations, is 1.

    Attributes:
      laue_group: name of the Laue group.
      degrees: degree l of the harmonics of each block.
      names: name of each channel, 'embedding:m-3m:0' and so on; in a block of degree l from m = -l to l.
      radius: |E(g)| of every orientation.
      per_radian: |E(g) - E(h)| per radian of a small misorientation.
      gains: factor of each channel, one value a degree, with which every degree fills [-1, 1]; all are 1 where there is
        one degree. `gains * E` is what a network learns most evenly: linear in the sample frame like E, and no
        longer isometric. `decode` takes E, so divide by `gains` first.
    """

    laue_group: str
    degrees: tuple[int, ...]
    names: tuple[str, ...]
    radius: float
    per_radian: float
    gains: Float64[np.ndarray, "C"]
    _decoder: Decoder

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return len(self.names)

    def embed(self, orientations: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n C"]:
        """Return E(g) (eq. 1) [..., C], in the type of the orientations.

        Args:
          orientations: unit quaternions, sample -> crystal [..., 4].

        Raises:
          UserError: another shape or type, or quaternions of another length.
        """
        require_unit("orientations", orientations, 4)
        flat = orientations.reshape(-1, 4).astype(np.float64)
        (values,) = in_chunks(lambda part: (self._decoder.embed(np.ascontiguousarray(part.T)).T,), flat)
        values = (self.per_radian * values).astype(orientations.dtype)
        return values.reshape(*orientations.shape[:-1], self.channels)

    def decode(
        self, values: Float[np.ndarray, "*n C"]
    ) -> tuple[Float64[np.ndarray, "*n 4"], Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
        """Return the orientation g whose E(g) is nearest in direction, and how near it is.

        The result of a pixel depends on that pixel alone.

        Args:
          values: embeddings, or what a network made of them [..., C].

        Returns:
          The orientation [..., 4], of its equivalents the one with the least angle of rotation; the length
          |values| / radius [...], 1 for an orientation and less for a mean of several; and the residual [...], the
          sine of the angle between values and E(g), 0 for an orientation and up to 1. Values that are all 0, or one
          of which is NaN or infinite, give the identity, length 0 and residual 1.

        Raises:
          UserError: another number of channels or another type.
        """
        require_floats("values", values, (self.channels,))
        flat = values.reshape(-1, self.channels).astype(np.float64) / self.per_radian
        orientation, length, residual = self._decoder.decode(flat)
        shape = values.shape[:-1]
        return orientation.reshape(*shape, 4), length.reshape(shape), residual.reshape(shape)

    def rotation(self, motion: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "C C"]:
        """Return D(R) of equation (3), an orthogonal matrix [C, C]: E(g R^-1) = D(R) E(g).

        Args:
          motion: proper rotation R of the sample, in sample coordinates [3, 3].

        Raises:
          UserError: another shape or type, or no proper rotation.
        """
        with renamed({"matrices": "motion"}):
            motion = to_matrix(from_matrix(motion))
        return _block_diagonal([rotation_of_harmonics(degree, motion) for degree in self.degrees])

    def dihedral(self, move: tuple[tuple[int, int], tuple[int, int]]) -> Float64[np.ndarray, "C C"]:
        """Return D(P) of a quarter turn or flip of the image, a signed permutation [C, C].

        A flip of the image is half a turn of the sample about an axis in its plane.

        Args:
          move: how x and y move, a value of `data.augment.DIHEDRAL`.

        Raises:
          UserError: a move that is none of the eight.
        """
        matrix = np.eye(3)
        matrix[:2, :2] = move
        matrix[2, 2] = round(np.linalg.det(matrix[:2, :2]))
        with renamed({"motion": "move"}):
            return np.rint(self.rotation(matrix)) + 0.0


@cache
def embedding(laue_group: str) -> Embedding:
    """Return the embedding of a Laue group.

    Args:
      laue_group: any name that `symmetry.laue_group` knows.

    Raises:
      UserError: no such group.
    """
    group = laue_group_named(laue_group)
    if group != laue_group:
        return embedding(group)
    degrees = tuple(degree for degree, _, _ in _BLOCKS[group])
    axes = tuple(_unit(np.array(axes)) for _, axes, _ in _BLOCKS[group])
    plain = [np.array(coefficients, float) for _, _, coefficients in _BLOCKS[group]]
    weights = _isometric_weights(degrees, axes, plain)
    coefficients = tuple(weight * factors for weight, factors in zip(weights, plain))
    decoder = Decoder(
        embed=lambda quaternions: _sums(quaternions, degrees, axes, coefficients),
        generators=np.stack([_block_diagonal(parts) for parts in zip(*map(generators, degrees))]),
        laue_group=group,
    )
    largest = _largest_values(degrees, decoder)
    return Embedding(
        laue_group=group,
        degrees=degrees,
        names=tuple(f"embedding:{group}:{i}" for i in range(len(largest))),
        radius=decoder.radius / largest.max(),
        per_radian=1 / largest.max(),
        gains=largest.max() / largest,
        _decoder=decoder,
    )


def _sums(quaternions: np.ndarray, degrees: tuple, axes: tuple, coefficients: tuple) -> np.ndarray:
    """Return equation (1) of quaternions [4, n] as [C, n]: g^-1 a is the sum of a's parts of the rows of g."""
    matrices = matrix_elements(quaternions)
    blocks = []
    for degree, block_axes, factors in zip(degrees, axes, coefficients):
        directions = np.moveaxis(np.tensordot(block_axes, matrices, axes=1), 1, 0)
        values = rows_of_harmonics(degree, directions)
        blocks.append(sum(factor * values[:, j] for j, factor in enumerate(factors)))
    return np.concatenate(blocks)


def _isometric_weights(degrees: tuple, axes: tuple, coefficients: list) -> np.ndarray:
    """Return w_b with Σ_b w_b² <L_i h_b, L_k h_b> = δ_ik (eq. 5)."""
    metrics = []
    for degree, axis, factor in zip(degrees, axes, coefficients):
        tangents = generators(degree) @ (factor @ harmonics(degree, axis))
        metrics.append((tangents @ tangents.T).ravel())
    squares = np.linalg.lstsq(np.stack(metrics, axis=1), np.eye(3).ravel(), rcond=None)[0]
    return np.sqrt(squares)


def _largest_values(degrees: tuple, decoder: Decoder) -> np.ndarray:
    """Return the largest |value| that any channel of the same degree takes, for each channel.

    The orientation at which a channel is largest is the one that its unit vector decodes to.
    """
    channel_degree = np.repeat(degrees, [2 * degree + 1 for degree in degrees])
    units = np.concatenate([np.eye(len(channel_degree)), -np.eye(len(channel_degree))])
    found = np.abs(decoder.embed(decoder.decode(units)[0].T)).max(axis=1)
    return np.array([found[channel_degree == degree].max() for degree in channel_degree])


def _block_diagonal(blocks: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    ends = np.cumsum([len(block) for block in blocks])
    out = np.zeros((ends[-1], ends[-1]))
    for block, end in zip(blocks, ends):
        out[end - len(block) : end, end - len(block) : end] = block
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
