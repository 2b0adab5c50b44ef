"""Batch k is a pure function of (seed, k), whatever reads it."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.data import Preparation, batches, checks, evaluation_batches
from microgen_jax.data.augment import DIHEDRAL
from microgen_jax.data.pipeline import prepare
from microgen_jax.data.representations import Images
from microgen_jax.errors import UserError
from microgen_jax.types import Record


class Numbered:
    """Image i holds the value i everywhere but in its top left pixel."""

    def __init__(self, count: int = 10, shape: tuple[int, int] = (6, 6)) -> None:
        self.count, self.shape, self.threads = count, shape, set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Record:
        self.threads.add(threading.current_thread().name)
        image = np.full((*self.shape, 1), index, np.uint8)
        image[0, 0] = 255
        return Record(image, index % 2, np.float32([index, np.nan]), str(index))


PREPARATION = Preparation(
    size=(4, 4), representation=Images(1), transforms=(tuple(DIHEDRAL),) * 2, mean=(4.5, 0.0), std=(2.0, 1.0)
)


def take(count: int, source=None, preparation=PREPARATION, **keywords) -> list:
    iterator = batches(
        Numbered() if source is None else source, preparation, **{"seed": 3, "batch_size": 4, **keywords}
    )
    return list(itertools.islice(iterator, count))


def same(a, b) -> bool:
    return all(x is y or np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch_size=st.integers(1, 5),
    start=st.integers(0, 30),
    workers=st.integers(1, 5),
    data=st.data(),
)
def test_batch_k_is_a_pure_function_of_seed_and_k(seed, batch_size, start, workers, data):
    """Whatever number of workers reads it, wherever the run starts, and however its rows are shared out."""
    rows = data.draw(st.lists(st.integers(0, batch_size - 1), min_size=1, unique=True).map(sorted))
    whole = take(start + 2, seed=seed, batch_size=batch_size, workers=2)[start:]
    parts = take(2, seed=seed, batch_size=batch_size, workers=workers, start=start, rows=rows)
    assert all(
        same([leaf if leaf is None else leaf[rows] for leaf in a], b)
        for a, b in zip(whole, parts, strict=True)
    )


def test_another_seed_gives_other_batches():
    assert not same(take(1)[0], take(1, seed=4)[0])


def test_every_epoch_sees_every_image_once_in_another_order():
    numbers = np.concatenate([batch.condition[:, 0] for batch in take(10)]) * 2 + 4.5
    epochs = numbers.reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_is_what_the_contract_says():
    batch = take(1)[0]
    assert (batch.image.shape, batch.image.dtype) == ((4, 4, 4, 1), np.float32)
    assert (batch.label.shape, batch.label.dtype) == ((4,), np.int32)
    assert (batch.condition.shape, batch.condition.dtype) == ((4, 2), np.float32)
    assert np.isnan(batch.condition[:, 1]).all()
    assert batch.image.min() >= -1
    assert batch.image.max() <= 1


def test_augmentation_reaches_all_allowed_elements_and_no_others():
    four = ("identity", "turn_180", "flip_x", "flip_y")
    preparation = PREPARATION._replace(size=(6, 6), transforms=(four, ("identity",)))
    corners = {0: set(), 1: set()}
    for batch in take(30, preparation=preparation):
        for image, label in zip(batch.image, batch.label):
            corners[int(label)].add(divmod(int(image.argmax()), 6))
    assert corners == {0: {(0, 0), (0, 5), (5, 0), (5, 5)}, 1: {(0, 0)}}


def test_quarter_turns_keep_a_size_that_is_not_square_and_are_left_out_where_they_do_not_fit():
    wide = PREPARATION._replace(size=(4, 6))
    assert take(1, preparation=wide)[0].image.shape == (4, 4, 6, 1)
    exact = Numbered(shape=(4, 6))
    corners = {tuple(np.argwhere(i[..., 0] == 1)[0]) for b in take(20, exact, wide) for i in b.image}
    assert corners == {(0, 0), (0, 5), (3, 0), (3, 5)}


def test_reading_happens_off_the_main_thread():
    source = Numbered()
    take(3, source, workers=2)
    assert threading.current_thread().name not in source.threads


def test_evaluation_is_one_pass_with_the_middle_window_and_a_mask():
    source = Numbered()
    found = list(evaluation_batches(source, PREPARATION, batch_size=4))
    assert [mask.tolist() for _, mask in found] == [[True] * 4, [True] * 4, [True, True, False, False]]
    images = np.concatenate([batch.image[mask] for batch, mask in found])
    expected = [prepare(source[i], PREPARATION).image for i in range(10)]
    np.testing.assert_array_equal(images, np.stack(expected))
    local = [m for _, m in evaluation_batches(source, PREPARATION, batch_size=4, rows=range(2, 4))]
    assert [mask.tolist() for mask in local] == [[True] * 2, [True] * 2, [False] * 2]


def test_evaluation_can_be_limited_to_images_spread_over_the_source():
    found = list(evaluation_batches(Numbered(), PREPARATION, batch_size=2, limit=5))
    numbers = np.concatenate([batch.condition[mask, 0] for batch, mask in found]) * 2 + 4.5
    assert numbers.tolist() == [0, 2, 4, 6, 8]


def test_evaluation_of_nothing_gives_nothing():
    assert list(evaluation_batches(Numbered(0), PREPARATION, batch_size=2)) == []


def test_an_empty_training_part_is_refused():
    with pytest.raises(UserError) as caught:
        take(1, Numbered(0))
    assert caught.value.where == "holdout"


def test_a_mistake_found_on_a_thread_arrives_as_it_is():
    with pytest.raises(UserError) as caught:
        take(1, preparation=PREPARATION._replace(representation=Images(2)))
    assert caught.value.where == "channels"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_grey_among_black_and_white_is_found(dtype):
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    image = np.zeros((3, 8, 8, 1), dtype)
    image[:, ::2] = white

    class ImageKind(list):
        name = "abc".__getitem__

    originals = ImageKind(Record(original, 0, np.zeros(0, np.float32), "") for original in image)
    preparation = Preparation((8, 8), Images(1))
    assert checks.grey(originals, preparation) is None
    image[1, 3, 5] = white // 4 if white > 1 else 0.25
    image[1, 3, 6] = white // 8 if white > 1 else 0.125
    name, level = checks.grey(originals, preparation)
    assert name == "b"
    assert level == pytest.approx(0.25, abs=0.01)
    halved = Preparation((4, 4), Images(1), resample="area")
    assert checks.grey(originals, halved) == ("a", pytest.approx(0.5))


def test_batches_are_placed_in_order_and_one_ahead():
    """The one that is given, the one that waits, and the one that is being made."""
    placed = []

    def put(batch):
        placed.append(len(placed))
        return placed[-1], batch

    stream = batches(Numbered(), PREPARATION, seed=0, batch_size=2, put=put)
    assert [next(stream)[0] for _ in range(3)] == [0, 1, 2]
    assert len(placed) <= 5
    stream.close()
