"""Class folders through `open_dataset`: layouts, image formats, bad files, and the real copper maps."""

import itertools
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from microgen_jax.data import batches, evaluation_batches, open_dataset
from microgen_jax.data.sources import folder as folder_module
from microgen_jax.data.sources import value_range
from microgen_jax.errors import UserError

COPPER = r"(?:(?P<series>Cu\dQ\d)_)?(?P<step>\d+)\.png$"


def records(dataset) -> dict[str, np.ndarray]:
    parts = (dataset.train, dataset.holdout)
    return {part.name(i): part[i].image for part in parts for i in range(len(part))}


@pytest.mark.parametrize("inner", ["", "Images/", "images/"])
@pytest.mark.parametrize("outer", ["", "Class/"])
def test_class_folders_are_found_at_any_depth(tmp_path, save, data_config, inner, outer):
    for name, count in (("Shear", 3), ("Tension", 4)):
        for n in range(count):
            save(tmp_path / f"{outer}{name}/{inner}{n}.png", seed=n)
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.classes == ("Shear", "Tension")
    assert dataset.kind == "folder"
    assert len(dataset.train) + len(dataset.holdout) == 7
    assert len(dataset.holdout) >= 2
    assert {record.label for record in dataset.train} == {0, 1}


def test_a_flat_folder_is_one_class_named_by_it(tmp_path, save, data_config):
    for n in range(3):
        save(tmp_path / f"maps/{n}.png", seed=n)
    assert open_dataset(data_config(tmp_path / "maps")).classes == ("maps",)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "tiff", "bmp", "PNG"])
def test_every_format_gives_its_pixels(tmp_path, save, data_config, suffix):
    expected = save(tmp_path / f"a/0.{suffix}")
    save(tmp_path / f"a/1.{suffix}", seed=1)
    found = records(open_dataset(data_config(tmp_path)))[f"a/0.{suffix}"]
    assert found.shape == expected.shape
    if suffix != "jpg":
        np.testing.assert_array_equal(found, expected)


def palette(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).quantize(8)


@pytest.mark.parametrize(
    ("make", "shape", "dtype"),
    [
        (lambda p: Image.fromarray(np.dstack([p, p[..., :1] // 2])), (9, 8, 3), "uint8"),
        (lambda p: Image.fromarray(p[..., 0]), (9, 8, 1), "uint8"),
        (lambda p: Image.fromarray(p[..., :2], mode="LA"), (9, 8, 1), "uint8"),
        (lambda p: Image.fromarray(p[..., 0] > 127), (9, 8, 1), "uint8"),
        (palette, (9, 8, 3), "uint8"),
        (lambda p: Image.fromarray(p[..., 0].astype(np.uint16) * 200), (9, 8, 1), "uint16"),
    ],
    ids=["rgba", "grey", "grey-alpha", "bilevel", "palette", "16-bit"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_every_mode_gives_height_width_channels(tmp_path, data_config, make, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    original = make(pixels)
    (tmp_path / "a").mkdir()
    original.save(tmp_path / "a/0.png")
    original.save(tmp_path / "a/1.png")
    dataset = open_dataset(data_config(tmp_path))
    found = dataset.train[0].image
    assert (found.shape, found.dtype.name, dataset.dtype) == (shape, dtype, dtype)
    if original.mode in ("RGBA", "L", "LA"):
        np.testing.assert_array_equal(found, pixels[..., : shape[-1]])
    if original.mode == "I;16":
        np.testing.assert_array_equal(found[..., 0], pixels[..., 0].astype(np.uint16) * 200)


def test_float_tiffs_lie_between_0_and_1(tmp_path, save, data_config):
    expected = save(tmp_path / "a/0.tif", pixels=np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    data = data_config(tmp_path, channels=1, holdout=0.0)
    np.testing.assert_array_equal(open_dataset(data).train[0].image[..., 0], expected)
    save(tmp_path / "a/0.tif", pixels=expected * 7)
    with pytest.raises(UserError, match=r"from 0 to 7: set data\.value_range"):
        open_dataset(data)


def test_further_pages_of_a_tiff_are_told(tmp_path, save, data_config):
    first = save(tmp_path / "a/0.tif")
    pages = [Image.fromarray(first)] * 2
    pages[0].save(tmp_path / "a/0.tif", save_all=True, append_images=pages)
    save(tmp_path / "a/1.tif")
    unused = open_dataset(data_config(tmp_path)).unused
    assert any("further pages" in line and "1 of 2" in line and "a/0.tif" in line for line in unused)


def test_a_row_of_metadata_may_name_a_file_that_was_left_out(tmp_path, save, data_config):
    for n in range(3):
        save(tmp_path / f"a/{n}.png")
    (tmp_path / "a/1.png").write_text("no image")
    rows = ["file,step", "0.png,5", "a/1.png,6", "a/2.png,7"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    data = data_config(tmp_path, on_bad_file="skip", conditions=("step",), holdout=0.0)
    assert open_dataset(data).train.conditions[:, 0].tolist() == [5, 7]
    (tmp_path / "metadata.csv").write_text("\n".join([*rows, "a/3.png,8"]))
    with pytest.raises(UserError, match=r"'a/3\.png' names no image"):
        open_dataset(data)


def truncated(path, save):
    save(path)
    path.write_bytes(path.read_bytes()[:-40])


def broken_inside(path, save):
    save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


def test_padding_is_said(tmp_path, save, data_config):
    save(tmp_path / "a/0.png")
    save(tmp_path / "a/1.png", (8, 40, 3))
    assert (
        "1 of 2 images are smaller than data.size: padded (reflect)"
        in open_dataset(data_config(tmp_path)).notes
    )


@pytest.mark.parametrize("build", [
    lambda root, save: None,
    lambda root, save: (root / "root").mkdir(),
    lambda root, save: save(root / "root/loose.png") is save(root / "root/a/0.png"),
    lambda root, save: save(root / "root/a/0.png") is (root / "root/b").mkdir(),
    lambda root, save: save(root / "root/a/0.png") is (root / "root/b/Images").mkdir(parents=True),
    lambda root, save: save(root / "root").fill(0),
], ids=["absent", "empty", "loose", "empty-class", "empty-images", "no-suffix"])  # fmt: skip
def test_a_root_that_cannot_be_used_is_said_in_one_line(tmp_path, data_config, save, build):
    if build.__code__.co_consts and "root" in build.__code__.co_consts:
        (tmp_path / "root").write_text("text")
    else:
        build(tmp_path, save)
    with pytest.raises(UserError, match="root") as caught:
        open_dataset(data_config(tmp_path / "root"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("data.source", {"source": "foldr"}), ("data.on_bad_file", {"on_bad_file": "skp"}),
        ("data.resample", {"resample": "stretc"}), ("data.holdout", {"holdout": 1.0}),
        ("a/0.png", {"pad": "refuse", "size": (64, 64)}), ("a/0.png", {"channels": 1}), ("a/0.png", {"channels": 4}),
        ("data.conditions", {"conditions": ("step",)}), ("data.filename_pattern", {"filename_pattern": "(?P<step"}),
        ("data.filename_pattern", {"filename_pattern": "x"}),
        ("data.filename_pattern", {"filename_pattern": r"(?P<step>\d\d)"}),
        ("data.split_by", {"filename_pattern": r"(?P<step>\d)", "split_by": "stp"}),
        ("data.label_by", {"filename_pattern": r"(?P<step>\d)", "label_by": "stp"}),
        ("data.conditions", {"filename_pattern": r"(?P<c>\w)/", "conditions": ("c",)}),
        ("data.size", {"size": (0, 4)}), ("data.size", {"size": (4,)}), ("data.root", {"source": "ebsd"}),
        ("data.window", {"window": "grid", "resample": "nearest"}), ("data.symmetry", {"symmetry": "orthotrop"}),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_named(tmp_path, save, data_config, where, fields):
    for n in range(3):
        save(tmp_path / f"a/{n}.png", seed=n)
    with pytest.raises(UserError) as caught:
        open_dataset(data_config(tmp_path, **fields))
    assert caught.value.where.removeprefix(f"{tmp_path}/") == where


def test_a_big_folder_is_checked_by_header_and_end_and_stands_in_for_what_fails_later(
    tmp_path, save, data_config, monkeypatch
):
    monkeypatch.setattr(folder_module, "VERIFY_ALL", 2)
    monkeypatch.setattr(value_range, "RANGE_SAMPLE", 2)
    for n in range(6):
        save(tmp_path / f"a/{n}.png", seed=n)
        save(tmp_path / f"b/{n}.png", seed=n + 9)
    broken_inside(tmp_path / "a/4.png", save)
    with pytest.raises(UserError, match=r"a/4\.png"):
        list(open_dataset(data_config(tmp_path, holdout=0.0)).train)
    source = open_dataset(data_config(tmp_path, holdout=0.0, on_bad_file="skip")).train
    np.testing.assert_array_equal(source[4].image, source[5].image)
    assert source[4].label == 0
    assert list(source.failed) == ["a/4.png"]
    truncated(tmp_path / "a/3.png", save)
    with pytest.raises(UserError, match="cut off"):
        open_dataset(data_config(tmp_path))


def test_the_split_does_not_move_when_files_are_added(tmp_path, save, data_config):
    def held() -> set[str]:
        holdout = open_dataset(data_config(tmp_path, holdout=0.5)).holdout
        return {holdout.name(i) for i in range(len(holdout))}

    for n in range(20):
        save(tmp_path / f"a/{n}.png", (4, 4, 3), seed=n)
    before = held()
    save(tmp_path / "b/0.png", (4, 4, 3))
    save(tmp_path / "a/99.png", (4, 4, 3))
    assert held() - {"a/99.png"} == before


def test_the_fingerprint_tells_data_sets_apart(tmp_path, save, data_config):
    for n in range(3):
        save(tmp_path / f"a/{n}.png", seed=n)
    first = open_dataset(data_config(tmp_path)).fingerprint
    assert open_dataset(data_config(tmp_path)).fingerprint == first
    assert open_dataset(data_config(tmp_path, holdout=0.0)).fingerprint != first
    save(tmp_path / "a/9.png")
    assert open_dataset(data_config(tmp_path)).fingerprint != first


def test_a_zip_is_read_in_place_and_never_left(tmp_path, save, data_config):
    for n in range(3):
        save(tmp_path / f"top/a/{n}.png", seed=n)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for n in range(3):
            archive.write(tmp_path / f"top/a/{n}.png", f"top/a/{n}.png")
            archive.write(tmp_path / f"top/a/{n}.png", f"__MACOSX/top/a/._{n}.png")
        archive.writestr("../evil.png", b"x")
        archive.writestr("/evil.png", b"x")
    before = sorted(os.listdir(tmp_path))
    dataset = open_dataset(data_config(tmp_path / "set.zip", on_bad_file="skip"))
    assert (dataset.kind, dataset.classes, len(dataset.refused)) == ("folder", ("a",), 2)
    plain = records(open_dataset(data_config(tmp_path / "top")))
    for name, image in records(dataset).items():
        np.testing.assert_array_equal(image, plain[name.removeprefix("top/")])
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=8, workers=4))
    assert batch.image.shape == (8, 16, 16, 3)
    assert sorted(os.listdir(tmp_path)) == before
    (tmp_path / "bad.zip").write_bytes((tmp_path / "set.zip").read_bytes()[:200])
    with pytest.raises(UserError, match="zip"):
        open_dataset(data_config(tmp_path / "bad.zip"))


def test_conditions_come_from_the_names_and_are_standardised_by_the_training_part(
    tmp_path, save, data_config
):
    for n in range(8):
        save(tmp_path / f"a/s{n}_{n * 10}.png", seed=n)
    dataset = open_dataset(
        data_config(
            tmp_path,
            filename_pattern=r"s(?P<series>\d)_(?P<step>\d+)",
            split_by="series",
            conditions=("step",),
        )
    )
    steps = np.array([record.condition[0] for record in dataset.train])
    np.testing.assert_allclose(dataset.preparation.mean, steps.mean(), rtol=1e-6)
    np.testing.assert_allclose(dataset.preparation.std, steps.std(), rtol=1e-6)
    batch, _ = next(iter(evaluation_batches(dataset.train, dataset.preparation, batch_size=len(steps))))
    np.testing.assert_allclose(batch.condition[:, 0].std(), 1, rtol=1e-5)


def test_the_sidecar_gives_columns(tmp_path, save, data_config):
    for n in range(4):
        save(tmp_path / f"a/{n}.png", seed=n)
    (tmp_path / "metadata.csv").write_text(
        "file,strain,heat\na/0.png,0.1,A\n1.png,,A\n2.png,0.3,B\n3.png,0.4,B\n"
    )
    dataset = open_dataset(data_config(tmp_path, conditions=("strain",), split_by="heat", label_by="heat"))
    assert dataset.classes == ("A", "B")
    assert {r.group for part in (dataset.train, dataset.holdout) for r in part} == {"A", "B"}
    strain = {
        part.name(i): part[i].condition[0]
        for part in (dataset.train, dataset.holdout)
        for i in range(len(part))
    }
    np.testing.assert_allclose([strain[f"a/{n}.png"] for n in range(4)], [0.1, np.nan, 0.3, 0.4])
    (tmp_path / "metadata.csv").write_text("file,strain\n9.png,1\n")
    with pytest.raises(UserError, match=r"'9\.png' names no image"):
        open_dataset(data_config(tmp_path))


def test_copper_split_by_series_leaks_nothing(shared, data_config):
    data = data_config(
        shared / "copper_strain", filename_pattern=COPPER, split_by="series", conditions=("step",)
    )
    dataset = open_dataset(data)
    assert dataset.classes == ("Compression", "Compression_Shear", "Shear", "Tension", "Tension_Shear")
    assert len(dataset.train) + len(dataset.holdout) == 107
    assert len(dataset.holdout) > 0
    assert worst_correlation(dataset) < 0.9
    data = replace(data, filename_pattern="", split_by="", conditions=())
    assert worst_correlation(open_dataset(data)) > 0.9


def worst_correlation(dataset) -> float:
    """Over all pairs of a held-out and a training frame of one class, at 32 x 32 px."""

    def thumbnails(source) -> list[tuple[int, np.ndarray]]:
        pixels = [(r.label, Image.fromarray(r.image).resize((32, 32), Image.Resampling.BOX)) for r in source]
        return [(label, np.asarray(p, np.float64).ravel()) for label, p in pixels]

    pairs = itertools.product(thumbnails(dataset.holdout), thumbnails(dataset.train))
    return max(np.corrcoef(a, b)[0, 1] for (i, a), (j, b) in pairs if i == j)


def test_polycrystals_are_the_default(data_config):
    data = data_config("", conditions=("grain_diameter", "aspect_ratio"), count=40)
    dataset = open_dataset(data, seed=5)
    assert (dataset.kind, len(dataset.train), len(dataset.holdout)) == ("polycrystal", 40, 4)
    assert [dataset.train[i].label for i in range(5)] == [0, 1, 2, 3, 0]
    assert {dataset.holdout.name(i) for i in range(4)} == {f"5/{i}" for i in range(40, 44)}
    np.testing.assert_array_equal(dataset.train[7].image, open_dataset(data, seed=5).train[7].image)
    assert (dataset.train[7].image != open_dataset(data, seed=6).train[7].image).any()
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=4))
    assert batch.image.shape == (4, 16, 16, 3)
    assert len(dataset.preparation.transforms[dataset.classes.index("elongated")]) == 4
    with pytest.raises(UserError) as caught:
        open_dataset(replace(data, conditions=("grain_diametre",)))
    assert caught.value.where == "data.conditions"


@pytest.mark.parametrize("cache", ["", "cache"])
def test_large_images_can_be_cut_on_a_grid(tmp_path, save, data_config, cache):
    pixels = {f"a/{n}_5.png": save(tmp_path / f"maps/a/{n}_5.png", (40, 24 + n, 3), seed=n) for n in range(4)}
    pixels["a/4_5.png"] = save(tmp_path / "maps/a/4_5.png", (10, 24, 3), seed=4)
    data = data_config(
        tmp_path / "maps",
        window="grid",
        filename_pattern=r"(?P<n>\d)_5\.png$",
        conditions=("n",),
        cache=cache and str(tmp_path / cache),
    )
    dataset = open_dataset(data)
    found = records(dataset)
    corners = [(y, x) for y in (0, 8, 16, 24) for x in (0, 8)]
    expected = [f"a/{n}_5.png[{y},{x}]" for n in range(4) for y, x in corners]
    assert sorted(found) == sorted([*expected, "a/4_5.png[0,0]", "a/4_5.png[0,8]"])
    for name, image in found.items():
        file, _, corner = name[:-1].rpartition("[")
        y, x = map(int, corner.split(","))
        np.testing.assert_array_equal(image, pixels[file][y : y + 16, x : x + 16])
    sides = [{part.group(i) for i in range(len(part))} for part in (dataset.train, dataset.holdout)]
    assert sides[0].isdisjoint(sides[1])
    assert sides[1]
    assert {record.condition[0] for part in (dataset.train, dataset.holdout) for record in part} == set(
        range(5)
    )
    assert any("overlap by 50%, of 5 images" in note for note in dataset.notes)


def zipped(path, names: dict[str, bytes], raw: dict[str, str] | None = None) -> None:
    """A zip file whose members get the names that another program writes; `raw` gives them byte for byte."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            archive.writestr(info, content)
    content = path.read_bytes()
    for old, new in (raw or {}).items():
        content = content.replace(old.encode(), new.encode())
    path.write_bytes(content)


def test_zips_of_windows_and_macs_give_their_folders(tmp_path, save, data_config):
    pixels = [save(tmp_path / f"{n}.png", seed=n) for n in range(4)]
    files = [(tmp_path / f"{n}.png").read_bytes() for n in range(4)]
    zipped(
        tmp_path / "win.zip",
        {f"maps\\{'ab'[n % 2]}\\{n}.png": files[n] for n in range(4)} | {"maps\\a\\": b""},
    )
    dataset = open_dataset(data_config(tmp_path / "win.zip"))
    assert dataset.classes == ("a", "b")
    np.testing.assert_array_equal(records(dataset)["maps/b/3.png"], pixels[3])
    litter = {"__MACOSX/maps/._0.png": b"x", "maps/.DS_Store": b"x"}
    zipped(
        tmp_path / "mac.zip",
        {f"maps/{'ab'[n % 2]}__/{n}.png": files[n] for n in range(4)} | litter,
        {"a__": "aé", "b__": "bü"},  # two bytes each, and no mark that they are UTF-8
    )
    dataset = open_dataset(data_config(tmp_path / "mac.zip"))
    assert dataset.classes == ("aé", "bü")
    assert dataset.refused == ()
    np.testing.assert_array_equal(records(dataset)["maps/bü/3.png"], pixels[3])


def test_a_zip_of_which_nothing_can_be_read_names_a_member(tmp_path, data_config):
    zipped(tmp_path / "up.zip", {f"..\\{n}.png": b"x" for n in range(3)})
    with pytest.raises(UserError, match=r"leads out.*3 such files") as caught:
        open_dataset(data_config(tmp_path / "up.zip"))
    assert caught.value.where.endswith("up.zip/../0.png")
