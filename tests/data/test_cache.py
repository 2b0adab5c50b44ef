"""The cache of decoded images: the same batches, written once, written anew when stale, whole or not at all."""

import os
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from microgen_jax.data import batches, decoding, open_dataset
from microgen_jax.data.sources import folder, value_range
from microgen_jax.errors import UserError
from tests.crystal.conftest import Truth, write_ang


@pytest.fixture
def maps(tmp_path, save):
    for n in range(6):
        save(tmp_path / f"maps/a/{n}.png", shape=(20 + n, 24, 3), seed=n)
        save(tmp_path / f"maps/b/{n}.png", pixels=np.full((18, 19), 12_000 * n, np.uint16))
    return tmp_path / "maps"


def some(dataset, count: int = 6) -> list:
    stream = batches(dataset.train, dataset.preparation, seed=3, batch_size=4)
    return [next(stream) for _ in range(count)]


def equal(a: list, b: list) -> bool:
    return all(np.array_equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two))


def homes(cache) -> list[str]:
    return sorted(os.listdir(cache)) if cache.exists() else []


def forbid_decoding(monkeypatch) -> None:
    def refuse(stream):
        raise AssertionError("decoded")

    monkeypatch.setattr(decoding, "read_image", refuse)
    monkeypatch.setattr(folder, "VERIFY_ALL", 0)


def test_batches_are_the_same_and_nothing_is_decoded_again(tmp_path, maps, data_config, monkeypatch):
    plain = some(open_dataset(data_config(maps)))
    data = data_config(maps, cache=str(tmp_path / "cache"))
    assert equal(plain, some(open_dataset(data)))
    forbid_decoding(monkeypatch)
    again = open_dataset(data)
    assert equal(plain, some(again))
    assert len(homes(tmp_path / "cache")) == 1
    assert {record.image.dtype.name for record in again.train} == {"uint8", "uint16"}
    assert not again.train[0].image.flags.writeable


def test_neither_split_nor_fingerprint_depend_on_the_cache(tmp_path, maps, data_config):
    plain = open_dataset(data_config(maps))
    cached = open_dataset(data_config(maps, cache=str(tmp_path / "cache")))
    assert plain.fingerprint == cached.fingerprint
    for one, two in ((plain.train, cached.train), (plain.holdout, cached.holdout)):
        assert [one.name(i) for i in range(len(one))] == [two.name(i) for i in range(len(two))]


def test_a_changed_image_is_read_anew(tmp_path, maps, data_config, save):
    data = data_config(maps, cache=str(tmp_path / "cache"), holdout=0.0)
    before = open_dataset(data).train[0].image.copy()
    pixels = save(maps / "a/0.png", seed=99)
    os.utime(maps / "a/0.png", ns=(1, 1))
    after = open_dataset(data).train[0].image
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, pixels)


def test_a_folder_that_may_not_be_written_is_left_and_read_where_it_holds_the_images(
    tmp_path, maps, data_config, save, monkeypatch
):
    data = data_config(maps, cache=str(tmp_path / "cache"))
    plain = some(dataset := open_dataset(data, write_cache=False))
    assert homes(tmp_path / "cache") == []
    assert any("holds no cache of these images" in note for note in dataset.notes)
    open_dataset(data)
    before = homes(tmp_path / "cache")
    with monkeypatch.context() as patch:
        forbid_decoding(patch)
        assert equal(plain, some(open_dataset(data, write_cache=False)))
    save(maps / "a/9.png", seed=9)
    open_dataset(data, write_cache=False)
    assert homes(tmp_path / "cache") == before


def test_only_what_is_stale_is_removed(tmp_path, maps, data_config, save):
    cache = tmp_path / "cache"
    old = open_dataset(data_config(maps, cache=str(cache)))
    mapped, (first,) = some(old), homes(cache)
    origin = first[:12]
    few = data_config(maps, cache=str(cache), pad="refuse", on_bad_file="skip", size=(22, 22))
    open_dataset(few)
    shutil.copytree(maps, tmp_path / "other")
    open_dataset(data_config(tmp_path / "other", cache=str(cache)))
    assert sum(name.startswith(origin) for name in homes(cache)) == 2
    for name, age in (("killed", 9999), ("writing", 0)):
        half = cache / f".{origin}-{name}"
        half.mkdir()
        (half / "pixels.bin").write_bytes(b"half")
        for path in (half / "pixels.bin", half):
            os.utime(path, (time.time() - age,) * 2)
    others = {name for name in homes(cache) if origin not in name}
    save(maps / "a/9.png", seed=9)
    open_dataset(data_config(maps, cache=str(cache)))
    left = set(homes(cache)) - others
    assert first not in left
    assert {name.removeprefix(f".{origin}-") for name in left if name.startswith(".")} == {"writing"}
    assert len(left) == 2
    assert others <= set(homes(cache))
    assert equal(mapped, some(old))


def test_a_damaged_cache_is_written_anew(tmp_path, maps, data_config):
    data = data_config(maps, cache=str(tmp_path / "cache"))
    plain = some(open_dataset(data))
    (home,) = (tmp_path / "cache").iterdir()
    for name in ("pixels.bin", "index.npz"):
        whole = (home / name).read_bytes()
        (home / name).unlink()  # as a truncated file that is still mapped would end the process
        (home / name).write_bytes(whole[: len(whole) // 2])
        assert equal(plain, some(open_dataset(data)))
        assert (home / name).read_bytes() == whole


def test_starts_at_the_same_time_do_not_meet(tmp_path, maps, data_config):
    plain = some(open_dataset(data_config(maps)))
    data = data_config(maps, cache=str(tmp_path / "cache"))
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_dataset(data), range(4)))
    assert len(homes(tmp_path / "cache")) == 1
    assert all(equal(plain, some(dataset)) for dataset in opened)


def test_a_bad_image_stops_the_writing_and_leaves_nothing(tmp_path, maps, data_config, monkeypatch):
    monkeypatch.setattr(folder, "VERIFY_ALL", 0)
    monkeypatch.setattr(value_range, "RANGE_SAMPLE", 1)
    whole = (maps / "a/4.png").read_bytes()
    (maps / "a/4.png").write_bytes(whole[:200] + bytes(100) + whole[300:])
    data = data_config(maps, cache=str(tmp_path / "cache"))
    with pytest.raises(UserError) as caught:
        open_dataset(data)
    assert caught.value.where == f"{maps}/a/4.png"
    assert homes(tmp_path / "cache") == []
    data = replace(data, on_bad_file="skip")
    cached, plain = open_dataset(data), open_dataset(data_config(maps, on_bad_file="skip"))
    assert equal(some(plain), some(cached))
    assert plain.train.failed == cached.train.failed != {}


def test_a_folder_that_cannot_be_written_is_named(tmp_path, maps, data_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        open_dataset(data_config(maps, cache=str(tmp_path / "file")))
    assert caught.value.where == "data.cache"


def test_settings_that_change_the_pixels_change_the_cache(tmp_path, data_config):
    rng = np.random.default_rng(0)
    truth = Truth(rng.random((20, 40, 3)), np.ones((20, 40), int), 0.5, (("Nickel", "m-3m"),))
    path = write_ang(tmp_path / "a", truth)
    seen = set()
    for fields in ({}, {"ipf_direction": "X"}, {"colour_key": "edax"}, {}):
        plain = open_dataset(data_config(path, **fields)).train[0].image
        cached = open_dataset(data_config(path, cache=str(tmp_path / "cache"), **fields)).train[0].image
        np.testing.assert_array_equal(plain, cached)
        seen.add(plain.tobytes())
    assert len(seen) == len(homes(tmp_path / "cache")) == 3


def test_zip_lists_and_stacks_are_cached_too(tmp_path, maps, data_config):
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        for path in sorted(maps.rglob("*.png")):
            archive.write(path, path.relative_to(maps))
    (maps / "list.csv").write_text("".join(f"a/{n}.png\n" for n in range(6)))
    np.savez(tmp_path / "stack.npz", images=np.random.default_rng(0).random((9, 20, 20)).astype("f4"))
    for root in (tmp_path / "maps.zip", maps / "list.csv", tmp_path / "stack.npz"):
        plain = some(open_dataset(data_config(root)))
        for _ in range(2):
            cached = open_dataset(data_config(root, cache=str(tmp_path / "cache")))
            assert equal(plain, some(cached))
        shutil.rmtree(tmp_path / "cache")
