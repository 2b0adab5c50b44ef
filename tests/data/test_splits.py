"""The split by a hash of the group: shares, baselines, and what adding files does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.data import checks, open_dataset
from microgen_jax.data.splits import holdout_mask, position

FILES = [f"{c}/{i:04d}.png" for c in "ab" for i in range(1000)]
LABELS = [name[0] for name in FILES]
ALWAYS = [c * 1000 + i for c in (0, 1) for i in range(50)]  # so that no class is left to the two rules


def test_the_share_is_kept():
    mask, notes = holdout_mask(FILES, LABELS, 0.1)
    assert 0.08 < mask.mean() < 0.12
    assert notes == ()


def test_positions_are_what_they_always_were():
    assert position("Tension/Cu1Q1_2.png") == 0.6906154774256449


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(0, 1999), max_size=1900))
def test_adding_files_moves_none(kept):
    kept = sorted({*kept, *ALWAYS})
    few = holdout_mask([FILES[i] for i in kept], [LABELS[i] for i in kept], 0.1)[0]
    many = holdout_mask(FILES, LABELS, 0.1)[0]
    np.testing.assert_array_equal(few, many[kept])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
)
def test_no_class_is_emptied_and_no_group_is_cut(images, share):
    groups, labels = [str(g) for g, _ in images], [c for _, c in images]
    mask, notes = holdout_mask(groups, labels, share)
    for name in set(labels):
        own = [held for held, label in zip(mask, labels) if label == name]
        assert not all(own)
        assert any(own) or any(repr(name) in note for note in notes)
    for group in set(groups):
        assert len({bool(held) for held, g in zip(mask, groups) if g == group}) == 1


def test_a_class_with_one_group_stays_and_that_is_said():
    mask, notes = holdout_mask(["s", "s", "t", "u"], ["a", "a", "b", "b"], 0.5)
    assert not mask[:2].any()
    assert mask[2:].sum() == 1
    assert notes == ("class 'a' has one group: it stays in training",)


def test_nothing_is_held_out_where_nobody_wants_it():
    mask, notes = holdout_mask(["s", "t"], ["a", "a"], 0.0)
    assert not mask.any()
    assert len(notes) == 1


def test_copies_across_the_split_are_found_by_their_pixels(tmp_path, save, data_config):
    for n in range(12):
        save(tmp_path / f"a/{n}.png", seed=n // 2 if n < 4 else n)
    dataset = open_dataset(data_config(tmp_path, holdout=0.5))
    held = {dataset.holdout.name(i) for i in range(len(dataset.holdout))}
    expected = {
        (a, b) for a, b in (("a/0.png", "a/1.png"), ("a/2.png", "a/3.png")) if (a in held) != (b in held)
    }
    found = checks.duplicates(dataset.train, dataset.holdout)
    assert {tuple(sorted(pair)) for pair in found} == expected != set()
    assert all(pair[0] in held for pair in found)
    assert checks.duplicates(dataset.train, dataset.holdout, budget=9) == []
