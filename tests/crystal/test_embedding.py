import numpy as np
import pytest

from microgen_jax.crystal.embedding import embedding
from microgen_jax.crystal.embedding_decoder import CHUNK, spread_orientations
from microgen_jax.crystal.orientations import (
    conjugate,
    from_axis_angle,
    from_matrix,
    multiply,
    normalise,
    random_uniform,
    to_matrix,
)
from microgen_jax.crystal.symmetry import LAUE_GROUPS, misorientation_angle, rotations
from microgen_jax.data.augment import DIHEDRAL
from microgen_jax.errors import UserError

# group: degrees, channels, radius² and the largest relative error of the distance at 5 degrees, always too short.
# About an n-fold axis a chord 2 sin(nθ/2) / n stands for the arc θ: its error, (nθ)² / 24, is the bound.
FACTS = {
    "-1": ((1, 1, 1), 9, 3, 0.0004),
    "2/m": ((1, 2), 8, 4 / 3, 0.0013),
    "mmm": ((2, 2), 10, 2, 0.0013),
    "4/m": ((1, 4), 12, 111 / 100, 0.0052),
    "4/mmm": ((2, 4), 14, 133 / 100, 0.0052),
    "-3": ((1, 3), 10, 17 / 15, 0.0029),
    "-3m": ((2, 3), 12, 7 / 5, 0.0029),
    "6/m": ((1, 6), 16, 1.04275, 0.0115),
    "6/mmm": ((2, 6), 18, 1.12825, 0.0115),
    "m-3": ((3,), 7, 1, 0.0029),
    "m-3m": ((4,), 9, 27 / 20, 0.0052),
}
every_group = pytest.mark.parametrize("group", LAUE_GROUPS)


def orientations(count: int, seed: int = 0) -> np.ndarray:
    return random_uniform(np.random.default_rng(seed), count)


def exact_angle(a: np.ndarray, b: np.ndarray, group: str) -> np.ndarray:
    """Misorientation angle in degrees, by the sine of its half, which is exact for small angles."""
    between = multiply(conjugate(rotations(group))[:, None], multiply(b, conjugate(a)).reshape(1, -1, 4))
    return np.degrees(2 * np.arcsin(np.minimum(np.linalg.norm(between[..., 1:], axis=-1).min(axis=0), 1)))


def distances(group: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of the embeddings in degrees."""
    e = embedding(group)
    return np.degrees(np.linalg.norm(e.embed(a) - e.embed(b), axis=-1) / e.per_radian)


@every_group
def test_channels_and_scale(group: str) -> None:
    e = embedding(group)
    degrees, channels, squared_radius, _ = FACTS[group]
    assert (e.degrees, e.channels) == (degrees, channels)
    assert e.names == tuple(f"embedding:{group}:{i}" for i in range(channels))
    values = e.embed(orientations(60_000))
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), e.radius, rtol=1e-12)
    np.testing.assert_allclose(e.radius**2, squared_radius, atol=1e-4)
    assert 0.95 < np.abs(values).max() <= 1 + 1e-12
    largest = np.abs(values * e.gains).max(axis=0)
    blocks = np.split(largest, np.cumsum([2 * degree + 1 for degree in degrees])[:-1])
    assert all(0.9 < block.max() <= 1 + 1e-12 for block in blocks)


@every_group
def test_equivalents_are_equal(group: str) -> None:
    e, g = embedding(group), orientations(50)
    for symmetry in rotations(group):
        np.testing.assert_allclose(e.embed(multiply(symmetry, g)), e.embed(g), atol=1e-12)
    np.testing.assert_allclose(e.embed(-g), e.embed(g), atol=1e-15)


@every_group
def test_turns_of_the_sample_are_linear(group: str) -> None:
    e, g = embedding(group), orientations(50)
    for motion in orientations(4, seed=1):
        matrix = e.rotation(to_matrix(motion))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(e.channels), atol=1e-12)
        np.testing.assert_allclose(e.embed(multiply(g, conjugate(motion))), e.embed(g) @ matrix.T, atol=1e-12)


@every_group
@pytest.mark.parametrize("name", DIHEDRAL)
def test_dihedral_moves_are_signed_permutations(group: str, name: str) -> None:
    e, g = embedding(group), orientations(50)
    matrix = e.dihedral(DIHEDRAL[name])
    assert set(np.unique(matrix)) <= {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(np.abs(matrix).sum(axis=0), 1)
    motion = np.eye(3)
    motion[:2, :2] = DIHEDRAL[name]
    motion[2, 2] = np.linalg.det(motion)
    moved = multiply(g, conjugate(from_matrix(motion)))
    np.testing.assert_allclose(e.embed(moved), e.embed(g) @ matrix.T, atol=1e-12)


@every_group
def test_small_distances_are_misorientations_in_every_direction(group: str) -> None:
    g = orientations(400)
    axes = np.concatenate([np.random.default_rng(1).normal(size=(397, 3)), np.eye(3)])
    bound = FACTS[group][3]
    for degrees in (1, 5, 10):
        turned = multiply(from_axis_angle(axes, np.radians(degrees)), g)
        error = distances(group, turned, g) / degrees - 1
        assert -bound * (degrees / 5) ** 2 < error.min()
        assert error.max() < 1e-9
        assert error.min() < -0.5 * bound * (degrees / 5) ** 2  # the bound is no looser than need be


@every_group
def test_only_equivalents_have_no_distance(group: str) -> None:
    a, b = orientations(200_000).reshape(2, -1, 4)
    share = distances(group, a, b) / np.degrees(misorientation_angle(a, b, group))
    assert share.min() > 0.5
    assert share.max() < 1 + 1e-9


def test_cubic_distance_is_the_sum_of_fourth_powers() -> None:
    a, b = orientations(40).reshape(2, 20, 4)
    turns = to_matrix(multiply(b, conjugate(a)))
    e = embedding("m-3m")
    squared = np.sum((e.embed(a) - e.embed(b)) ** 2, axis=-1)
    np.testing.assert_allclose(squared, e.per_radian**2 / 4 * (3 - np.sum(turns**4, axis=(1, 2))), atol=1e-12)


@every_group
def test_decoding_gives_the_orientation_back(group: str) -> None:
    e = embedding(group)
    axis_turns = [
        from_axis_angle(np.array(axis, float), np.radians(np.arange(0.0, 360, 15)))
        for axis in ((0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 2, 3))
    ]  # zone boundaries and symmetry axes are among them
    g = np.concatenate([orientations(4000), *axis_turns])
    decoded, length, residual = e.decode(e.embed(g))
    assert exact_angle(decoded, g, group).max() < 1e-9
    np.testing.assert_allclose(length, 1, atol=1e-12)
    assert residual.max() < 1e-12
    largest = np.abs(multiply(rotations(group)[:, None], decoded)[..., 0]).max(axis=0)
    np.testing.assert_allclose(decoded[:, 0], largest, atol=1e-12)


@every_group
def test_noise_is_decoded_to_the_nearest_of_all_orientations(group: str) -> None:
    e, grid = embedding(group), spread_orientations(8000, group)
    rng = np.random.default_rng(2)
    clean = e.embed(orientations(300))
    noisy = clean + rng.normal(size=clean.shape) * 0.3 * e.radius / np.sqrt(e.channels)
    decoded, length, residual = e.decode(noisy)
    found = np.sum(noisy * e.embed(decoded), axis=1)
    assert np.all(found >= (noisy @ e.embed(grid).T).max(axis=1) - 1e-9)
    np.testing.assert_allclose(length, np.linalg.norm(noisy, axis=1) / e.radius)
    cosine = found / np.linalg.norm(noisy, axis=1) / e.radius
    np.testing.assert_allclose(residual, np.sqrt(1 - cosine**2), atol=1e-9)
    again, _, _ = e.decode(0.01 * noisy)
    assert exact_angle(again, decoded, group).max() < 1e-6


def test_noise_of_a_tenth_on_cubic_channels_of_scale_0_55_costs_two_degrees() -> None:
    e, g = embedding("m-3m"), orientations(10_000)
    scale = 0.55 * np.sqrt(e.channels) / e.radius
    noise = 0.1 * np.random.default_rng(3).normal(size=(len(g), e.channels))
    decoded, _, residual = e.decode(e.embed(g) + noise / scale)
    assert abs(np.median(exact_angle(decoded, g, "m-3m")) - 2.07) < 0.1
    assert 0.1 < residual.mean() < 0.15


@every_group
def test_the_mean_of_two_embeddings_is_the_orientation_midway(group: str) -> None:
    e, a = embedding(group), orientations(200)
    axes = np.random.default_rng(4).normal(size=(200, 3))
    middle, b = (multiply(from_axis_angle(axes, np.radians(angle)), a) for angle in (5, 10))
    decoded, length, _ = e.decode((e.embed(a) + e.embed(multiply(rotations(group)[-1], b))) / 2)
    assert exact_angle(decoded, middle, group).max() < 0.05
    assert np.all(length < 1)


def test_shapes_and_types() -> None:
    e = embedding("6/mmm")
    g = orientations(6).reshape(2, 3, 4)
    single = e.embed(g.astype(np.float32))
    assert (single.shape, single.dtype) == ((2, 3, 18), np.float32)
    decoded, length, residual = e.decode(single)
    assert (decoded.shape, length.shape, residual.shape) == ((2, 3, 4), (2, 3), (2, 3))
    assert exact_angle(decoded, g, "6/mmm").max() < 2e-4
    assert e.embed(g[0, 0]).shape == (18,)
    assert e.decode(single[0, 0])[0].shape == (4,)
    empty = e.decode(np.zeros((0, 5, 18)))
    assert [part.shape for part in empty] == [(0, 5, 4), (0, 5), (0, 5)]
    assert embedding("622") is e


def test_a_pixel_is_decoded_alike_in_any_company() -> None:
    e = embedding("4/mmm")
    values = e.embed(orientations(CHUNK + 100)) + 0.1 * np.random.default_rng(5).normal(
        size=(CHUNK + 100, e.channels)
    )
    together = e.decode(values)
    for rows in (slice(0, 1), slice(7, 20), slice(CHUNK - 3, CHUNK + 5)):
        for whole, part in zip(together, e.decode(values[rows])):
            np.testing.assert_array_equal(whole[rows], part)


def test_values_without_a_direction_give_the_identity() -> None:
    e = embedding("m-3m")
    values = e.embed(orientations(5))
    clean = e.decode(values[4:])
    values[0], values[1, 2], values[2, 0], values[3, 8] = 0, np.nan, np.inf, -np.inf
    decoded, length, residual = e.decode(values)
    np.testing.assert_array_equal(decoded[:4], np.tile([1.0, 0, 0, 0], (4, 1)))
    np.testing.assert_array_equal(length[:4], 0)
    np.testing.assert_array_equal(residual[:4], 1)
    np.testing.assert_array_equal(decoded[4:], clean[0])


def test_wrong_arguments_are_refused() -> None:
    e = embedding("m-3m")
    calls = (
        (lambda: embedding("m-4m"), "laue_group", "m-4m"),
        (lambda: e.embed(2 * normalise(orientations(3))), "orientations", "length 1"),
        (lambda: e.decode(np.zeros((3, 8))), "values", "[3, 8]"),
        (lambda: e.rotation(-np.eye(3)), "motion", "no proper rotation"),
        (lambda: e.dihedral(((1, 1), (0, 1))), "move", "no proper rotation"),
    )
    for call, where, problem in calls:
        with pytest.raises(UserError) as error:
            call()
        assert error.value.where == where
        assert problem in error.value.problem


def test_decoding_takes_six_embeddings_a_pixel_however_noisy(monkeypatch) -> None:
    """Five steps and the residual, after one product with the table of starts."""
    e, embedded = embedding("6/mmm"), []

    def embed(matrices, embed=e._decoder.embed):
        embedded.append(len(matrices))
        return embed(matrices)

    monkeypatch.setattr(e._decoder, "embed", embed)
    e.decode(np.random.default_rng(6).normal(size=(3 * CHUNK, e.channels)))
    assert sum(embedded) == 6 * 3 * CHUNK
    assert len(e._decoder.starts) < 1600
