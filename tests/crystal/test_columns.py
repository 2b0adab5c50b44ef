"""Every column of a scan travels with its map, bit for bit, and can be put back in the order of the file."""

import h5py
import numpy as np
import pytest

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.maps import read_map


def test_a_column_lies_on_the_map_and_is_zero_where_there_is_no_point():
    columns = Columns(
        {"CI": np.array([0.5, 0.25], "f4"), "V": np.arange(4).reshape(2, 2)}, np.array([[1, -1, 0]])
    )
    assert list(columns) == ["CI", "V"]
    assert columns["CI"].dtype == np.float32
    assert columns["CI"].tolist() == [[0.25, 0, 0.5]]
    assert columns["V"].tolist() == [[[2, 3], [0, 0], [0, 1]]]
    with pytest.raises(KeyError):
        columns["MAD"]


def test_the_table_of_an_ang_file_is_its_numbers_in_its_order(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    rows = np.random.default_rng(0).permutation(lines[len(header) :]).tolist()
    path.write_text("\n".join(header + rows))
    columns = read_map(path).columns
    expected = np.array([list(map(float, row.split())) for row in rows])
    np.testing.assert_array_equal(np.stack(list(columns.table.values()), axis=-1), expected)
    assert list(columns) == ["phi1", "PHI", "phi2", "x", "y", "IQ", "CI", "Phase index", "SEM", "Fit"]
    height, width = truth.phase.shape
    assert (columns["x"] == np.arange(width) * truth.step).all()
    assert (columns["y"] == np.arange(height)[:, None] * truth.step).all()


def test_the_table_of_a_ctf_file_is_its_numbers(writers, truth, tmp_path):
    path = writers["ctf"](tmp_path / "scan", truth)
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    columns = read_map(path).columns
    assert list(columns) == sorted(lines[start].split(), key=list(columns).index)
    for place, name in enumerate(lines[start].split()):
        assert columns.table[name].tolist() == [float(line.split("\t")[place]) for line in lines[start + 1 :]]


@pytest.mark.parametrize(
    ("kind", "group"),
    [("edax", "Scan 1/EBSD/Data"), ("oxford", "1/EBSD/Data"), ("orix", "crystal_map/data"),
     ("dream3d", "DataContainers/Scan/CellData")],
)  # fmt: skip
def test_the_table_of_an_hdf5_file_keeps_types_and_bits(kind, group, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", truth)
    columns = read_map(path).columns
    with h5py.File(path) as file:
        assert sorted(columns) == sorted(file[group])
        for name, values in columns.table.items():
            stored = file[group][name]
            assert values.dtype == stored.dtype
            assert values.tobytes() == stored[()].tobytes()


def test_the_table_of_a_crc_file_is_its_records(writers, truth, tmp_path):
    path = writers["cpr"](tmp_path / "scan", truth)
    columns = read_map(path).columns
    record = np.dtype([(name, values.dtype) for name, values in columns.table.items()])
    again = np.zeros(truth.phase.size, record)
    for name, values in columns.table.items():
        again[name] = values
    assert again.tobytes() == path.with_suffix(".crc").read_bytes()
