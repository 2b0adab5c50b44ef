"""HDF5 files, made in memory and written whole."""

import io
from collections.abc import Callable
from pathlib import Path

import h5py

from microgen_jax.files import write_bytes


def write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file.

    Args:
      path: path of the file.
      fill: function that writes into the open file that it is given.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    write_bytes(path, content.getvalue())
