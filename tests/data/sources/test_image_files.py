"""Image files as microscopes, cameras and other programs write them: read right, or refused with the mend named."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from microgen_jax.data import decoding, open_dataset
from microgen_jax.data.sources import folder as folder_module
from microgen_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
TWELVE = RNG.integers(0, 4096, (20, 24), dtype=np.uint16)


def tiff(pixels: np.ndarray, **tags) -> bytes:
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        ifd[int(tag.removeprefix("t"))] = value
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", tiffinfo=ifd)
    return stream.getvalue()


def put(path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def every(dataset) -> dict[str, np.ndarray]:
    return {
        part.name(i): part[i].image for part in (dataset.train, dataset.holdout) for i in range(len(part))
    }


@pytest.fixture
def twelve(tmp_path, data_config):
    """A folder of 12-bit images beside one of 8-bit ones."""
    for n in range(3):
        put(tmp_path / f"cam12/{n}.tif", tiff(TWELVE // (n + 1)))
        put(tmp_path / f"cam8/{n}.tif", tiff(GREY))
    return data_config(tmp_path, channels=1)


@pytest.mark.parametrize("verify_all", [0, 2000])
def test_12_bits_in_16_are_asked_for_beside_8_bits(twelve, monkeypatch, verify_all):
    monkeypatch.setattr(folder_module, "VERIFY_ALL", verify_all)
    with pytest.raises(UserError, match=r"value_range.*0,4095.*0,65535.*ids") as caught:
        open_dataset(twelve)
    assert caught.value.where.endswith("cam12/0.tif")
    dataset = open_dataset(replace(twelve, value_range="0,4095"))
    found = every(dataset)
    np.testing.assert_allclose(found["cam12/1.tif"][..., 0], TWELVE // 2 / 4095, atol=1e-6)
    np.testing.assert_array_equal(found["cam8/1.tif"][..., 0], GREY)
    assert any("[0, 4095]: 3 of 6" in note for note in dataset.notes)
    assert dataset.dtype == "float32+uint8"


def test_8_bit_and_full_16_bit_images_are_not_touched(tmp_path, data_config):
    put(tmp_path / "a/0.tif", tiff(GREY))
    put(tmp_path / "a/1.tif", tiff(TWELVE * 16))
    put(tmp_path / "a/2.tif", tiff(TWELVE // 8))  # dark, of a folder that fills its 16 bits
    dataset = open_dataset(data_config(tmp_path, channels=1, holdout=0.0))
    for record, pixels in zip(dataset.train, (GREY, TWELVE * 16, TWELVE // 8)):
        np.testing.assert_array_equal(record.image[..., 0], pixels)
        assert record.image.dtype == pixels.dtype
    assert not any("read as" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (GREY.astype(np.float32), GREY / 255),
        (GREY / np.float32(255) * 2 - 1, GREY / 255),
        (GREY // 128, GREY // 128),
        (TWELVE // 2048, TWELVE // 2048),
    ],
    ids=["floats to 255", "floats from -1", "0 and 1 in 8 bits", "0 and 1 in 16 bits"],
)
def test_numbers_of_other_types_are_read_as_those_of_arrays(tmp_path, data_config, pixels, expected):
    put(tmp_path / "a/0.tif", tiff(pixels))
    np.savez(tmp_path / "b.npz", images=pixels[None])
    file = open_dataset(data_config(tmp_path / "a", channels=1)).train[0].image
    array = open_dataset(data_config(tmp_path / "b.npz", channels=1)).train[0].image
    np.testing.assert_array_equal(
        file / (255 if file.dtype == np.uint8 else 1), array / (255 if array.dtype == np.uint8 else 1)
    )
    np.testing.assert_allclose(file[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_8_bits_in_more_are_asked_for_and_grain_ids_become_boundaries(tmp_path, data_config, dtype):
    put(tmp_path / "a/0.tif", tiff(GREY.astype(dtype)))
    data = data_config(tmp_path, channels=1)
    with pytest.raises(UserError, match=r"'0,255' \(8 bits\).*ids"):
        open_dataset(data)
    np.testing.assert_allclose(
        open_dataset(replace(data, value_range="0,255")).train[0].image[..., 0], GREY / 255, atol=1e-6
    )
    assert set(np.unique(open_dataset(replace(data, value_range="ids")).train[0].image)) == {0, 255}


def test_a_file_that_names_white_is_believed(tmp_path, data_config):
    put(tmp_path / "a/0.tif", tiff(TWELVE, t281=4095))
    found = open_dataset(data_config(tmp_path, channels=1)).train[0].image
    np.testing.assert_allclose(found[..., 0], TWELVE / 4095, atol=1e-6)


def test_white_may_be_zero_at_any_depth(tmp_path, data_config):
    put(tmp_path / "a/0.tif", tiff(GREY, t262=0))
    put(tmp_path / "a/1.tif", tiff(TWELVE * 16, t262=0))
    put(tmp_path / "b/2.tif", tiff(TWELVE, t262=0, t281=4095))
    put(tmp_path / "c/3.tif", tiff(GREY / np.float32(255), t262=0))
    found = every(open_dataset(data_config(tmp_path, channels=1)))
    with Image.open(tmp_path / "a/0.tif") as image:
        np.testing.assert_array_equal(found["a/0.tif"][..., 0], np.asarray(image))
    np.testing.assert_array_equal(found["a/1.tif"][..., 0], 65535 - TWELVE * 16)
    np.testing.assert_allclose(found["b/2.tif"][..., 0], 1 - TWELVE / 4095, atol=1e-6)
    np.testing.assert_allclose(found["c/3.tif"][..., 0], 1 - GREY / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("verify_all", [0, 2000])
def test_images_are_turned_as_their_tag_says(tmp_path, data_config, kind, turn, verify_all, monkeypatch):
    monkeypatch.setattr(folder_module, "VERIFY_ALL", verify_all)
    path = tmp_path / f"a/0.{kind.lower()}"
    path.parent.mkdir()
    Image.fromarray(GREY).save(path, kind)
    with Image.open(path) as image:
        stored = Image.fromarray(np.asarray(image))
    stored.getexif()[274] = turn
    Image.fromarray(GREY).save(path, kind, exif=stored.getexif())
    upright = np.asarray(ImageOps.exif_transpose(stored))
    dataset = open_dataset(data_config(tmp_path, channels=1))
    np.testing.assert_array_equal(dataset.train[0].image[..., 0], upright)
    assert (dataset.train.header(0).height, dataset.train.header(0).width) == upright.shape
    assert any("turned" in note for note in dataset.notes) == (turn > 1)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("verify_all", [0, 2000])
def test_an_orientation_behind_the_pixels_counts(tmp_path, data_config, verify_all, monkeypatch):
    monkeypatch.setattr(folder_module, "VERIFY_ALL", verify_all)
    exif = Image.Exif()
    exif[274] = 6
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    end = stream.getvalue().index(b"IEND") - 4
    content = stream.getvalue()
    put(
        tmp_path / "a/0.png",
        content[:end] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + content[end:],
    )
    dataset = open_dataset(data_config(tmp_path, channels=1))
    np.testing.assert_array_equal(dataset.train[0].image[..., 0], np.rot90(GREY, -1))
    assert dataset.train.header(0).height == GREY.shape[1]


def rle8(pixels: np.ndarray) -> bytes:
    """A bitmap in RLE8 with a grey palette."""
    height, width = pixels.shape
    rows = b"".join(b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in pixels[::-1].tolist())
    palette = b"".join(bytes((n, n, n, 0)) for n in range(256))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows) + 2, 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(rows) + 2, 0, 0, start) + info + palette + rows + b"\0\1"


@pytest.mark.parametrize("verify_all", [0, 2000])
def test_what_is_decoded_whole_is_whole(tmp_path, data_config, verify_all, monkeypatch):
    monkeypatch.setattr(folder_module, "VERIFY_ALL", verify_all)
    flat = np.zeros((256, 256), np.uint8)
    runs = b"\xff\x07\x01\x07\0\0" * 256  # far fewer bytes than an eighth of the pixels
    put(tmp_path / "a/0.bmp", rle8(flat)[: 14 + 40 + 1024] + runs + b"\0\1")
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png")):
        stream = io.BytesIO()
        Image.fromarray(GREY).save(stream, kind)
        put(tmp_path / f"a/1.{suffix}", stream.getvalue() + bytes(90_000))
    found = every(open_dataset(data_config(tmp_path, channels=1)))
    assert (found["a/0.bmp"] == 7).all()
    np.testing.assert_array_equal(found["a/1.png"][..., 0], GREY)
    assert found["a/1.jpg"].shape == (20, 24, 1)
    put(tmp_path / "a/0.bmp", (tmp_path / "a/0.bmp").read_bytes()[:-300])
    with pytest.raises(UserError, match=r"0\.bmp.*cut off") as caught:
        open_dataset(data_config(tmp_path, channels=1))
    assert caught.value.where.endswith("0.bmp")


@pytest.mark.parametrize("source", ["folder", "list", "npz"])
def test_the_bound_on_pixels_is_a_field_that_its_refusal_names(tmp_path, data_config, source):
    put(tmp_path / "a/0.tif", tiff(GREY))
    (tmp_path / "list.csv").write_text("a/0.tif\n")
    np.savez(tmp_path / "b.npz", images=GREY[None])
    root = {"folder": tmp_path / "a", "list": tmp_path / "list.csv", "npz": tmp_path / "b.npz"}[source]
    with pytest.raises(UserError, match=r"20x24 px.*data\.max_pixels=479"):
        open_dataset(data_config(root, channels=1, max_pixels=479))
    assert len(open_dataset(data_config(root, channels=1, max_pixels=480)).train) == 1


@pytest.mark.slow
def test_a_stitched_micrograph_is_read_where_the_bound_is_lifted(shared, data_config, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", decoding.MAX_PIXELS)
    root = shared / "field/32_stitched"
    with pytest.raises(UserError, match=r"data\.max_pixels"):
        open_dataset(data_config(root, channels=1))
    assert open_dataset(data_config(root, channels=1, max_pixels=150_000_000)).train[0].image.shape == (
        12000,
        12000,
        1,
    )


@pytest.mark.parametrize(
    ("case", "count", "classes"),
    [("07_exif", 8, ("rolled",)), ("13_jpeg_trailer", 6, ("a",)), ("14_rle_bmp", 6, ("mask",)),
     ("08_backslash.zip", 8, ("Shear", "Tension")), ("08_mac.zip", 8, ("Shear", "Tension"))],
)  # fmt: skip
def test_field_cases_are_read(shared, data_config, case, count, classes):
    dataset = open_dataset(data_config(shared / "field" / case, channels=3))
    assert (len(every(dataset)), dataset.classes) == (count, classes)
    if case == "07_exif":
        assert {image.shape for image in every(dataset).values()} == {(64, 96, 1)}


@pytest.mark.parametrize("case", ["05_12bit_tiff", "05c_mixed_12_and_8"])
def test_field_cases_of_12_bits_are_asked_for(shared, data_config, case):
    data = data_config(shared / "field" / case, channels=1)
    with pytest.raises(UserError, match="0,4095"):
        open_dataset(data)
    high = max(
        float(i.max())
        for i in every(open_dataset(replace(data, value_range="0,4095"))).values()
        if i.dtype != np.uint8
    )
    assert 0.9 < high <= 1


def test_the_root_may_begin_with_a_tilde(tmp_path, data_config, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "maps/a/0.tif", tiff(GREY))
    assert len(open_dataset(data_config("~/maps", channels=1)).train) == 1
