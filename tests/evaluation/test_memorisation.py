"""Planted copies are found under every transform and at every place; strangers are not."""

import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.errors import UserError
from microgen_jax.evaluation import memorisation


def tiles(start: int, count: int, size: int = 32) -> np.ndarray:
    return np.stack([polycrystal(5, start + i, size).image for i in range(count)])


def turns(images: np.ndarray) -> np.ndarray:
    """Identity, half a turn and the two flips."""
    return np.stack([images, images[:, ::-1, ::-1], images[:, :, ::-1], images[:, ::-1]])


def one(found) -> memorisation.Nearest:
    return memorisation.Nearest(*(np.concatenate(parts) for parts in zip(*found)))


@pytest.fixture(scope="module")
def training() -> list[np.ndarray]:
    return list(tiles(0, 40))


def test_turned_copies_are_found_with_their_transform(training: list[np.ndarray]) -> None:
    copies = np.stack([training[3], training[7][::-1, ::-1], training[9][:, ::-1], training[11][::-1]])
    noisy = np.clip(copies.astype(int) + np.random.default_rng(0).integers(-6, 7, copies.shape), 0, 255)
    found = one(memorisation.nearest([turns(noisy.astype(np.uint8))], training, (32, 32)))
    assert found.image.tolist() == [3, 7, 9, 11]
    assert found.variant.tolist() == [0, 1, 2, 3]
    assert (found.distance < 0.1).all()


def test_transforms_that_are_not_allowed_are_not_used(training: list[np.ndarray]) -> None:
    copy = training[7][None, ::-1, ::-1]
    allowed = np.ones((40, 4), bool)
    allowed[7, 1:] = False
    assert (
        one(memorisation.nearest([turns(copy)], training, (32, 32), allowed)).distance[0] > memorisation.COPY
    )


def test_strangers_are_no_copies(training: list[np.ndarray]) -> None:
    found = one(memorisation.nearest([turns(tiles(100, 20))], training, (32, 32)))
    assert (found.distance > memorisation.COPY).all()
    assert 0.5 < np.median(found.distance) < 1.1


def test_prescreen_finds_what_comparing_everything_finds(training: list[np.ndarray]) -> None:
    new = turns(tiles(100, 20))
    found = one(memorisation.nearest([new[:, :8], new[:, 8:]], training, (32, 32)))
    spread = memorisation.pixel_spread(training)
    every = np.array(
        [
            [memorisation.distances_to(variant, np.broadcast_to(p, variant.shape), spread) for variant in new]
            for p in training
        ]
    )
    least = every.min(axis=(0, 1))
    assert np.mean(found.distance <= least + 1e-6) > 0.7
    np.testing.assert_allclose(found.distance, least, rtol=0.05)


def test_crops_of_larger_images_are_found_at_any_place() -> None:
    originals = list(tiles(0, 3, 96))
    places = [(0, 13, 41), (1, 64, 0), (2, 5, 27)]
    crops = np.stack([originals[p][y : y + 32, x : x + 32] for p, y, x in places])
    found = one(memorisation.nearest([turns(crops)], originals, (32, 32)))
    assert [(int(p), *map(int, c)) for p, c in zip(found.image, found.corner)] == places
    np.testing.assert_allclose(found.distance, 0, atol=1e-6)


def test_best_shift_is_the_least_of_all_windows() -> None:
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 256, (5, 7, 2), dtype=np.uint8)
    original = rng.integers(0, 256, (9, 12, 2), dtype=np.uint8)
    errors = {
        (y, x): np.mean((tile.astype(float) - original[y : y + 5, x : x + 7]) ** 2)
        for y in range(5)
        for x in range(6)
    }
    error, corner = memorisation.best_shift(tile, original)
    assert corner == min(errors, key=errors.get)
    assert error == pytest.approx(errors[corner])


def test_unrelated_noise_is_at_distance_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = one(memorisation.nearest([noise[None, :1]], [noise[1]], (32, 32)))
    assert found.distance[0] == pytest.approx(1, abs=0.03)


def test_images_smaller_than_a_tile_are_refused() -> None:
    with pytest.raises(UserError) as error:
        next(memorisation.nearest([], [np.zeros((8, 7, 1), np.uint8)], (8, 8)))
    assert error.value.where == "images"
