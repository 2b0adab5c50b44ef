"""Mutated files through the sources and the pipeline end in images, in one line or in a skip; nothing else.

python -m pytest tests/data/sources/test_fuzz.py -m slow
"""

import io
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microgen_jax.config.schema import DataConfig
from microgen_jax.errors import UserError
from tests.crystal.conftest import write_ang, write_cpr, write_ctf, write_edax
from tests.crystal.test_readers_fuzz import mutate
from tests.data.sources.test_malformed import read_all
from tests.data.spoiling import COLOUR, STACK, TRUTH, image, images, npz_bytes, put, whole_hdf5, zip_of


def image_file(kind: str, suffix: str, pixels: np.ndarray = COLOUR) -> Callable[[Path], Path]:
    return lambda root: put(root / f"a/bad.{suffix}", image(kind, pixels))


def table(root: Path) -> Path:
    rows = "file,class,heat\n" + "".join(f"a/{n}.png,{'xy'[n % 2]},{n}.5\n" for n in range(3))
    return put(images(root) / "list.csv", rows.encode())


def sidecar(root: Path) -> Path:
    return put(
        images(root) / "metadata.csv",
        b"file,heat\n" + b"".join(b"a/%d.png,%d\n" % (n, n) for n in range(3)),
    )


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def scan(write: Callable) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        root.mkdir()
        path = write(root / "bad", TRUTH)
        return path.with_suffix(".crc") if path.suffix == ".cpr" else path

    return make


# The source, and what writes the file to spoil; its folder is the root, or where that is a list, the file itself.
KINDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "png": ("folder", image_file("PNG", "png")),
    "jpeg": ("folder", image_file("JPEG", "jpg")),
    "tiff": ("folder", image_file("TIFF", "tif")),
    "tiff of floats": ("folder", image_file("TIFF", "tif", COLOUR[..., 0] / np.float32(255))),
    "bmp": ("folder", image_file("BMP", "bmp")),
    "list": ("list", table),
    "sidecar": ("folder", sidecar),
    "npz": ("npz", lambda root: put(root / "bad.npz", npz_bytes(images=STACK, labels=np.arange(5)))),
    "npz, packed": ("npz", lambda root: put(root / "bad.npz", npz_bytes(True, images=STACK))),
    "npy": ("npz", lambda root: put(root / "bad.npz", npy_bytes(STACK))),  # packed after it is spoilt
    "hdf5": ("hdf5", lambda root: put(root / "bad.h5", whole_hdf5())),
    "zip": ("folder", lambda root: put(root / "bad.zip", zip_of("a/0.png", image("PNG")))),
    "ang": ("ebsd", scan(write_ang)),
    "ctf": ("ebsd", scan(write_ctf)),
    "crc": ("ebsd", scan(write_cpr)),
    "edax": ("ebsd", scan(write_edax)),
}  # fmt: skip


def ending(data: DataConfig) -> tuple[str, str]:
    try:
        _, refused = read_all(data)
    except UserError as error:
        return str(error), "refused"
    return "", "skipped" if refused else "read"


def fuzz(kind: str, seed: int, bytes_wanted: int, folder: Path, data_config: Callable) -> Counter:
    """Reads mutated files until so many bytes have changed; counts files, bytes, and how they ended."""
    source, make = KINDS[kind]
    channels = 1 if source in ("hdf5", "npz") or kind == "tiff of floats" else 3
    rng, found = np.random.default_rng([seed, list(KINDS).index(kind)]), Counter()
    while found["bytes"] < bytes_wanted:
        root = folder / f"{found['files']}"
        path = make(root)
        content, changed = mutate(path.read_bytes(), rng)
        path.write_bytes(zip_of("images.npy", content) if kind == "npy" else content)
        found.update(files=1, bytes=changed)
        skip = ("raise", "skip")[int(rng.integers(2))]
        data = data_config(
            path if kind in ("list", "zip") else root, source=source, channels=channels, on_bad_file=skip
        )
        start = time.process_time()
        line, ended = ending(data)
        assert line.isprintable()
        assert len(line) < 1000
        assert time.process_time() - start < 10
        found[ended] += 1
        shutil.rmtree(root)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_end_in_images_or_in_one_line(kind, tmp_path, data_config):
    assert fuzz(kind, 0, 1500, tmp_path, data_config)["files"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_mutated_bytes(kind, tmp_path, data_config, capsys):
    """Sixteen kinds of file, 70,000 bytes each."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = fuzz(kind, 1, 70_000, tmp_path, data_config)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    with capsys.disabled():
        print(f"\n{kind}: {dict(found)}, peak memory + {grown} MiB")
    assert grown < 500
