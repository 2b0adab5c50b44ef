"""Whatever lies in a source beside its images is used, or named in `unused` of the summary."""

import io
import json
import struct
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from microgen_jax.commands.inspect import inspect
from microgen_jax.data import open_dataset
from microgen_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
STACK = RNG.integers(0, 256, (5, 24, 24), dtype=np.uint8)


def chunked(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    info = PngImagePlugin.PngInfo()
    for kind, content in chunks:
        info.add(kind, content)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def saved(kind: str, pixels: np.ndarray = COLOUR, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def tagged(tag: int, value, kind: int) -> bytes:
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    ifd.tagtype[tag] = kind
    ifd[tag] = value
    return saved("TIFF", GREY, tiffinfo=ifd)


def png_of_16_bits() -> bytes:
    """A colour PNG of 16 bits a channel, which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLOUR * np.uint16(257))
    header = struct.pack(">IIBBBBB", 24, 20, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def inks() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(stream, "JPEG")
    return stream.getvalue()


FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - COLOUR)]}
CLEAR = np.dstack([COLOUR, GREY])
FILES = {
    "pages of a TIFF": ("tif", saved("TIFF", **FRAMES), "further pages"),
    "frames of a PNG": ("png", saved("PNG", **FRAMES), "1 further frames"),
    "frames of a JPEG": ("jpg", saved("MPO", **FRAMES), "1 further frames"),
    "alpha of a PNG": ("png", saved("PNG", CLEAR), "alpha"),
    "alpha of a TIFF": ("tif", saved("TIFF", CLEAR), "alpha"),
    "transparent colour": ("png", saved("PNG", GREY, transparency=7), "alpha"),
    "ICC profile of a PNG": ("png", saved("PNG", icc_profile=lab_profile()), "ICC"),
    "ICC profile of a JPEG": ("jpg", saved("JPEG", icc_profile=lab_profile()), "ICC"),
    "ICC profile of a TIFF": ("tif", saved("TIFF", icc_profile=lab_profile()), "ICC"),
    "gamma": ("png", chunked(COLOUR, (b"gAMA", struct.pack(">I", 100_000))), "gamma of 1"),
    "unknown chunk": ("png", chunked(COLOUR, (b"gaIn", b"2")), "'gaIn'"),
    "16 bits of colours": ("png", png_of_16_bits(), "16 bits of colours"),
    "inks": ("jpg", inks(), "CMYK"),
    "transfer function": ("tif", tagged(301, tuple(range(256)), 3), "TransferFunction"),
    "response curve": ("tif", tagged(291, tuple(range(256)), 3), "GrayResponseCurve"),
    "no-data value": ("tif", tagged(42113, "0", 2), "GDAL_NODATA"),
    "largest value": ("tif", tagged(281, 250, 3), "MaxSampleValue"),
    "unknown tag": ("tif", tagged(65_100, 7, 3), "65100"),
}


def unused(root, **fields) -> str:
    summary = json.loads(json.dumps(inspect(root, size=(16, 16), **fields).values))
    return "\n".join(summary["unused"])


@pytest.mark.parametrize("case", FILES)
def test_what_an_image_file_holds_beside_its_pixels_is_named(tmp_path, case):
    suffix, content, said = FILES[case]
    (tmp_path / "a").mkdir()
    for n in range(3):
        (tmp_path / f"a/{n}.{suffix}").write_bytes(content)
    lines = unused(tmp_path)
    assert said in lines
    assert "3 of 3" in lines


def test_ordinary_files_leave_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    opaque = np.dstack([COLOUR, np.full_like(GREY, 255)])
    for name, content in {
        "0.png": saved("PNG"), "1.jpg": saved("JPEG", icc_profile=srgb, dpi=(300, 300)), "2.bmp": saved("BMP"),
        "3.tif": saved("TIFF", GREY, dpi=(300, 300), description="steel"), "4.png": saved("PNG", opaque),
        "5.png": chunked(COLOUR, (b"gAMA", struct.pack(">I", 45_455)), (b"tEXt", b"Title\0steel")),
    }.items():  # fmt: skip
        (tmp_path / "a" / name).write_bytes(content)
    assert unused(tmp_path) == ""


def test_files_of_other_kinds_and_columns_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    for n in range(3):
        (tmp_path / f"a/{n}.png").write_bytes(saved("PNG"))
    (tmp_path / "a/extra.gif").write_bytes(saved("GIF", GREY))
    (tmp_path / "metadata.csv").write_text(
        "file,heat,lot\n" + "".join(f"a/{n}.png,{n},x\n" for n in range(3))
    )
    (tmp_path / "list.csv").write_text(
        "file,class,heat,lot\n" + "".join(f"a/{n}.png,{n % 2},{n},x\n" for n in range(3))
    )
    lines = unused(tmp_path, conditions=("heat",))
    assert ".gif (1)" in lines
    assert "'lot'" in lines
    assert "'heat'" not in lines
    lines = unused(tmp_path / "list.csv", conditions=("heat",))
    assert "'lot'" in lines
    assert "'heat'" not in lines
    assert "'class'" not in lines


ARRAYS = {
    "a mask": np.ones((5, 24, 24), bool), "a vector": np.linspace(0, 1, 5), "a table": np.zeros((5, 2)),
    "a scalar": np.float64(0.3), "a name": np.array(["steel"]), "integers": np.arange(5), "one axis": np.arange(7),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("case", ARRAYS)
def test_every_further_array_is_named(tmp_path, kind, case):
    if kind == "npz":
        np.savez(tmp_path / "a.npz", images=STACK, planted=ARRAYS[case])
    else:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["images"] = STACK
            value = ARRAYS[case]
            file["deep/planted"] = value.astype("S") if value.dtype.kind == "U" else value
    assert "planted'" in unused(tmp_path, channels=1)


@pytest.mark.parametrize("place", ["images", "/", "deep"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("_FillValue", "none"), ("valid_range", [1, 9]), ("DISPLAY_ORIGIN", "LL"), ("gain", 2.5), ("planted", "x"),
     ("PALETTE", h5py.Empty("u1")), ("DIMENSION_LABELS", ["p", "q", "r"])],
)  # fmt: skip
def test_every_attribute_that_does_not_describe_is_named(tmp_path, place, name, value):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("deep/images", data=STACK)
        images.attrs.update(units="grey", title="steel", operator="me")
        {"images": images, "/": file, "deep": file["deep"]}[place].attrs[name] = value
    lines = unused(tmp_path, channels=1)
    assert f"{name!r}" in lines
    assert not any(word in lines for word in ("units", "title", "operator"))


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_numbers_that_stand_for_nothing_measured_are_refused(tmp_path, data_config, name):
    whole = np.maximum(STACK, 1)
    lost = np.where(np.arange(24) == 3, 0, whole).astype(np.uint8)
    for folder, pixels in (("whole", whole), ("lost", lost)):
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / folder / "a.h5", "w") as file:
            file.create_dataset("images", data=pixels).attrs[name] = [np.uint8(0)]
    dataset = open_dataset(data_config(tmp_path / "whole", channels=1))
    assert not any(name in line for line in dataset.unused)
    for given in ("auto", "0,255"):
        with pytest.raises(
            UserError, match=r"4\.17% of the numbers are 0, which stands for what was not measured"
        ):
            open_dataset(data_config(tmp_path / "lost", channels=1, value_range=given))


@pytest.mark.parametrize("layout", ["NHW", "HWK"])
def test_images_that_matlab_wrote_are_turned_back(tmp_path, data_config, layout):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 5), dtype=np.uint8)  # as MATLAB has them
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = images.transpose(1, 0, 2) if layout == "HWK" else images.T
        file.create_dataset("images", data=stored).attrs["MATLAB_class"] = np.bytes_("uint8")
    dataset = open_dataset(data_config(tmp_path, channels=1, layout=layout))
    for part in (dataset.train, dataset.holdout):
        for n in range(len(part)):
            number = int(part.name(n).split("[")[1][:-1])
            np.testing.assert_array_equal(part[n].image[..., 0], images[..., number])
            assert part.header(n)[:2] == (20, 16)
    assert any("MATLAB" in note for note in dataset.notes)


def test_every_feature_and_split_of_tfds_is_named(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", {"train": None, "test": None, "planted": None})
    with tfds.testing.mock_data(num_examples=3):
        lines = unused("", name="cifar10", pad="background")
    assert "'planted'" in lines
    assert "'id'" in lines


def test_a_folder_of_nothing_that_can_be_read_says_what_is_there(tmp_path, data_config):
    for name in ("a.gif", "b.gif", "inner.zip", "README"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"holds nothing that can be read, but \.gif \(2\), ") as error:
        open_dataset(data_config(tmp_path))
    assert ".zip (1)" in error.value.problem
    assert "without a suffix (1)" in error.value.problem
