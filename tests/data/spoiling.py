"""Makers of malformed inputs, for the table of `malformed`."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image

from tests.crystal.conftest import Truth, write_ang

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
STACK = RNG.integers(0, 256, (5, 16, 16), dtype=np.uint8)
TRUTH = Truth(
    np.round(RNG.random((16, 16, 3)) * [6.28, 3.14, 6.28], 5),
    np.ones((16, 16), int),
    0.5,
    (("Nickel", "m-3m"),),
)


class Case(NamedTuple):
    """One malformed input.

    Attributes:
      source: that it belongs to, as `data.source` names it.
      make: writes it into an empty folder and returns `data.root`.
      said: pattern that the line must match: the file and its fault.
      good: images that are left when it is skipped; 0 where nothing is.
      fields: of `data`, beside the root.
    """

    source: str
    make: Callable[[Path], Path]
    said: str
    good: int = 0
    fields: Mapping = MappingProxyType({})


def image(kind: str, pixels: np.ndarray = COLOUR) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, *chunks: bytes) -> bytes:
    """A header that promises an image, and next to nothing else."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + data + chunk(b"IEND", b"")


def huge_tiff() -> bytes:
    """60,000 x 60,000 px in the tags, 20 x 24 px in the strips."""
    whole = image("TIFF")
    sizes = [(256, 24), (257, 20)]
    for tag, side in sizes:
        for kind in (3, 4):
            entry = struct.pack("<HHI", tag, kind, 1)
            old = entry + struct.pack("<I", side)
            whole = whole.replace(old, entry + struct.pack("<I", 60_000))
    return whole


def huge_bmp() -> bytes:
    whole = bytearray(image("BMP"))
    whole[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(whole)


def huge_jpeg() -> bytes:
    whole = image("JPEG")
    return whole.replace(struct.pack(">HH", 20, 24), struct.pack(">HH", 60_000, 60_000), 1)


def flipped(whole: bytes, place: float, mask: int = 255) -> bytes:
    data = bytearray(whole)
    data[int(place * len(data))] ^= mask
    return bytes(data)


def cut(whole: bytes, share: float) -> bytes:
    return whole[: int(share * len(whole))]


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def images(folder: Path, count: int = 3) -> Path:
    for n in range(count):
        put(folder / f"a/{n}.png", image("PNG", np.roll(COLOUR, n, axis=0)))
    return folder


def beside(content: bytes, said: str, suffix: str = "png") -> Case:
    """A bad image in a folder of good ones."""

    def make(folder: Path) -> Path:
        put(images(folder / "maps") / f"a/bad.{suffix}", content)
        return folder / "maps"

    return Case("folder", make, rf"a/bad\.{suffix}: .*{said}", 3)


def linked(build: Callable[[Path], None], said: str, name: str = r"a/bad\.png") -> Case:
    """`build(root)` adds links to a folder of good images."""

    def make(folder: Path) -> Path:
        build(images(folder / "maps"))
        return folder / "maps"

    return Case("folder", make, rf"{name}: .*{said}", 3)


def link_outside(root: Path) -> None:
    put(root.parent / "secret.png", image("PNG"))
    (root / "a/bad.png").symlink_to(root.parent / "secret.png")


def link_beside(root: Path) -> None:
    """Into a folder whose name starts with the root's."""
    put(root.parent / "maps2/secret.png", image("PNG"))
    (root / "a/bad.png").symlink_to("../../maps2/secret.png")


def ring_of_links(root: Path) -> None:
    (root / "a/bad.png").symlink_to("bad2.png")
    (root / "a/bad2.png").symlink_to("bad.png")


def ring_of_folders(root: Path) -> None:
    """Folders that hold each other."""
    for one, other in (("b", "c"), ("c", "b")):
        (root / one).mkdir()
        (root / one / "in").symlink_to(root / other, target_is_directory=True)
        put(root / one / "0.png", image("PNG"))


def deep_folders(root: Path) -> None:
    put(root.joinpath(*["d"] * 60, "0.png"), image("PNG"))


def listed(text: str | bytes, said: str, good: int = 0) -> Case:
    """A list beside three images, with an image outside its folder."""

    def make(folder: Path) -> Path:
        put(folder / "outside.png", image("PNG"))
        for n in range(3):
            put(folder / f"root/{n}.png", image("PNG"))
        put(folder / "root/bad.png", b"text")
        (folder / "root/link.png").symlink_to("../outside.png")
        return put(folder / "root/list.csv", text.encode() if isinstance(text, str) else text)

    return Case("list", make, said, good)


def hdf5(build: Callable[[Path], None] | bytes, said: str, good: int = len(STACK), **fields) -> Case:
    """A bad file beside a good one of five images; `good=0`: alone."""

    def make(folder: Path) -> Path:
        (folder / "root").mkdir()
        if good:
            with h5py.File(folder / "root/good.h5", "w") as file:
                file["maps"] = STACK
        path = folder / "root/bad.h5"
        if isinstance(build, bytes):
            path.write_bytes(build)
        else:
            build(path)
        return folder / "root" if good else path

    return Case("hdf5", make, rf"bad\.h5.*{said}", good, {"channels": 1, **fields})


def dataset(*args, **options) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("maps", *args, **options)

    return build


def link(target: h5py.ExternalLink | h5py.SoftLink) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with h5py.File(path.parent.parent / "elsewhere.h5", "w") as file:
            file["maps"] = STACK
        with h5py.File(path, "w") as file:
            file["maps"] = target

    return build


def external_storage(path: Path) -> None:
    raw = put(path.parent.parent / "raw.bin", bytes(3 * 16 * 16))
    dataset((3, 16, 16), "uint8", external=[(str(raw), 0, 3 * 16 * 16)])(path)


def virtual(path: Path) -> None:
    with h5py.File(path.parent.parent / "elsewhere.h5", "w") as file:
        file["maps"] = STACK
    layout = h5py.VirtualLayout((3, 16, 16), "uint8")
    layout[:] = h5py.VirtualSource("../elsewhere.h5", "maps", (3, 16, 16))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("maps", layout)


def broken_chunk(path: Path) -> None:
    dataset(data=STACK, chunks=(1, 16, 16), compression="gzip")(path)
    with h5py.File(path) as file:
        place = file["maps"].id.get_chunk_info(1).byte_offset
    whole = bytearray(path.read_bytes())
    whole[place : place + 8] = b"\xff" * 8
    path.write_bytes(bytes(whole))


def group_ring(path: Path) -> None:
    """A group that holds itself, and no data."""
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["again"] = group


def whole_hdf5() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("maps", data=STACK, chunks=(1, 16, 16), compression="gzip")
    return stream.getvalue()


def npz_bytes(compressed: bool = False, **arrays) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def npz(content: bytes, said: str, good: int = len(STACK), **fields) -> Case:
    """A bad file beside a good one of five images; `good=0`: alone."""

    def make(folder: Path) -> Path:
        if good:
            put(folder / "root/good.npz", npz_bytes(images=STACK))
        path = put(folder / "root/bad.npz", content)
        return folder / "root" if good else path

    return Case("npz", make, rf"bad\.npz.*{said}", good, {"channels": 1, **fields})


def npy(shape: object, data: bytes, descr: str = "|u1") -> bytes:
    """An npz whose header tells whatever it is told to, of whatever bytes follow."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    stream = io.BytesIO()
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", start + data)
    return stream.getvalue()


def zipped(build: Callable[[zipfile.ZipFile], None], said: str, good: int = 3) -> Case:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            for n in range(3):
                archive.writestr(f"a/{n}.png", image("PNG"))
            build(archive)
        return folder / "set.zip"

    return Case("folder", make, said, good)


def member(name: str, content: bytes = b"x", **fields) -> Callable[[zipfile.ZipFile], None]:
    def build(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.writestr(info, content)

    return build


def patched_zip(old: bytes, new: bytes, said: str, good: int = 0) -> Case:
    """A zip of three images in which some bytes of the last one's records were changed."""

    def make(folder: Path) -> Path:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for n in range(3):
                archive.writestr(f"a/{n}.png", image("PNG"))
            archive.writestr("a/bad.png", image("PNG"))
        head, mark, tail = stream.getvalue().rpartition(old)
        assert mark
        return put(folder / "set.zip", head + new + tail)

    return Case("folder", make, said, good)


def raw(source: str, name: str, content: bytes, said: str, **fields) -> Case:
    """A file by itself."""
    return Case(source, lambda folder: put(folder / name, content), said, 0, fields)


def scan(change: Callable[[Path], object], said: str, write=write_ang) -> Case:
    """A scan that `change(path)` spoils, beside a sound one of one tile."""

    def make(folder: Path) -> Path:
        (folder / "root").mkdir()
        change(write(folder / "root/bad", TRUTH))
        write_ang(folder / "root/good", TRUTH)
        return folder / "root"

    return Case("ebsd", make, rf"bad\.\w+: .*{said}", 1)


def text_of(change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda path: path.write_text(change(path.read_text()))


def bytes_of(change: Callable[[bytes], bytes], suffix: str = "") -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        path = path.with_suffix(suffix) if suffix else path
        path.write_bytes(change(path.read_bytes()))

    return spoil


def sidecar(content: str | bytes, said: str) -> Case:
    def make(folder: Path) -> Path:
        put(
            images(folder / "maps") / "metadata.csv",
            content.encode() if isinstance(content, str) else content,
        )
        return folder / "maps"

    return Case("folder", make, rf"metadata\.csv.*{said}")


def zip_of(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def cut_zip(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            archive.writestr("a/0.png", image("PNG"))
        path = folder / "set.zip"
        return put(path, cut(path.read_bytes(), share))

    return make


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.npz")
    return folder / "a.npz"
