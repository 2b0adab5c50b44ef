"""Filters that HDF5 datasets are packed with."""

import contextlib

import h5py

from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources.file_tree import BROKEN_HDF5

# Registered filters that the package hdf5plugin brings (The HDF Group, registered filter plugins).
IN_HDF5PLUGIN = {307: "BZip2", 32001: "Blosc", 32004: "LZ4", 32008: "Bitshuffle", 32013: "ZFP", 32015: "Zstandard",
                 32017: "SZ", 32018: "FCIDECOMP", 32024: "SZ3", 32026: "Blosc2", 32028: "SPERR"}  # fmt: skip
OTHERS = {4: "SZIP", 305: "LZO", 32000: "LZF", 32019: "JPEG", 32022: "LPC-Rice"}


def check_filters(dataset: h5py.Dataset) -> None:
    """Refuse a dataset that cannot be unpacked for a filter that is not installed.

    Args:
      dataset: the dataset; its first values are read where a filter is missing, as a chunk may do without.

    Raises:
      BadFile: it cannot be unpacked; filter and package are named.
    """
    missing = _missing(dataset)
    if missing:
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401  its import registers the filters
        missing = _missing(dataset)
    if not missing or 0 in dataset.shape:
        return
    try:
        dataset[(slice(1),) * dataset.ndim]
    except BROKEN_HDF5 as error:
        number = missing[0]
        name = IN_HDF5PLUGIN.get(number) or OTHERS.get(number, "unknown")
        mend = "pip install hdf5plugin" if number in IN_HDF5PLUGIN else "repack it with h5repack -f GZIP=4"
        problem = f"dataset {dataset.name.strip('/')!r} is packed with the filter {name} ({number})"
        raise BadFile(f"{problem}, which is not installed: {mend}") from error


def _missing(dataset: h5py.Dataset) -> list[int]:
    made = dataset.id.get_create_plist()
    numbers = [made.get_filter(n)[0] for n in range(made.get_nfilters())]
    return [number for number in numbers if not h5py.h5z.filter_avail(number)]
