"""Nothing that a scan holds is dropped in silence: an unknown of each kind, in each format, is named in `unused`."""

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microgen_jax.commands.inspect import inspect
from microgen_jax.crystal.maps import read_map


def line_before(mark, line):
    """Puts a line before the first that begins with a mark."""

    def plant(path, name):
        lines = path.read_text().splitlines()
        at = next(i for i, text in enumerate(lines) if text.startswith(mark))
        path.write_text("\n".join([*lines[:at], line.format(name), *lines[at:]]))

    return plant  # fmt: skip


def ctf_column(path, name):
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    words = [name, *("7" for _ in lines[start + 1 :])]
    path.write_text("\n".join([*lines[:start], *(f"{a}\t{b}" for a, b in zip(lines[start:], words))]))


def ang_column(path, name):
    names = f"# COLUMN_HEADERS: phi1, PHI, phi2, x, y, IQ, CI, Phase index, SEM, Fit, {name}"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([names, *(line if line.startswith("#") else f"{line} 1" for line in lines)]))


def text_column(path, name):
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{head}, {name}", *(f"{row}, 3" for row in rows)]))


def data_set(place, shape):
    def plant(path, name):
        with h5py.File(path, "r+") as file:
            file[f"{place}/{name}"] = np.ones(shape, "f4")

    return plant


PLANTS = {
    "ang, header field": ("ang", line_before("#", "# {}: 3")),
    "ang, column": ("ang", ang_column),
    "ctf, header field": ("ctf", line_before("XCells", "{}\t3")),
    "ctf, column": ("ctf", ctf_column),
    "cpr, header field": ("cpr", line_before("[Fields]", "{}=3")),
    "cpr, section": ("cpr", line_before("[Fields]", "[{}]\nvalue=3")),
    "edax, column": ("edax", data_set("Scan 1/EBSD/Data", 54)),
    "edax, one text": ("edax", data_set("Scan 1/EBSD/Data", 3)),
    "edax, header field": ("edax", data_set("Scan 1/EBSD/Header", 1)),
    "edax, entry of a phase": ("edax", data_set("Scan 1/EBSD/Header/Phase/2", 1)),
    "edax, group": ("edax", lambda path, name: data_set(f"Scan 1/{name}", 9)(path, "x")),
    "oxford, column": ("oxford", data_set("1/EBSD/Data", (54, 1))),
    "oxford, header field": ("oxford", data_set("1/EBSD/Header", 1)),
    "oxford, entry of a phase": ("oxford", data_set("1/EBSD/Header/Phases/1", 1)),
    "oxford, group": ("oxford", lambda path, name: data_set(f"1/{name}", 9)(path, "x")),
    "bruker, column": ("bruker", data_set("Scan 0/EBSD/Data", 54)),
    "bruker, header field": ("bruker", data_set("Scan 0/EBSD/Header", 1)),
    "bruker, entry of a phase": ("bruker", data_set("Scan 0/EBSD/Header/Phases/2", 1)),
    "orix, column": ("orix", data_set("crystal_map/data", 54)),
    "orix, header field": ("orix", data_set("crystal_map/header", 1)),
    "orix, entry of a phase": ("orix", data_set("crystal_map/header/phases/2", 1)),
    "dream3d, cell array": ("dream3d", data_set("DataContainers/Scan/CellData", (1, 6, 9, 1))),
    "dream3d, other array": ("dream3d", data_set("DataContainers/Scan/CellData", 7)),
    "dream3d, group": ("dream3d", lambda path, name: data_set(f"DataContainers/Scan/{name}", 9)(path, "x")),
    "dream3d 8, cell array": ("dream3d 8", data_set("DataStructure/Scan/CellData", (1, 6, 9, 1))),
    "mtex text, column": ("mtex text", text_column),
}


@pytest.mark.parametrize("case", PLANTS)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.from_regex("zq[a-z]{2,9}", fullmatch=True))
def test_an_unknown_is_named(case, name, writers, truth, tmp_path):
    kind, plant = PLANTS[case]
    path = writers[kind](tmp_path / "scan", truth)
    before = read_map(path)
    assert not before.unused
    plant(path, name)
    after = read_map(path)
    assert len(after.unused) == 1
    assert name in after.unused[0]
    np.testing.assert_array_equal(after.orientations, before.orientations)


def test_an_unknown_field_of_a_crc_record_is_named(writers, truth, tmp_path):
    path = writers["cpr"](tmp_path / "scan", truth)
    path.write_text(path.read_text().replace("Field5=12", "Field5=13"))
    assert read_map(path).unused == ("column 'field 13': no use is known for it",)


def test_what_only_describes_is_counted(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    before = read_map(path)
    path.write_text("# OPERATOR: Ada\n# WorkingDistance: 12\n" + path.read_text())
    after = read_map(path)
    assert after.unused == ()
    assert after.described == before.described + 2


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("ctf", "AcqE2\t0", "AcqE2\t35"), ("cpr", "Euler2=0.0", "Euler2=35")],
)
def test_a_turned_surface_is_named(kind, field, value, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", truth)
    path.write_text(path.read_text().replace(field, value))
    assert ["acquisition surface" in line for line in read_map(path).unused] == [True]


def test_names_reach_the_summary_of_inspect(writers, truth, tmp_path):
    path = writers["edax"](tmp_path / "scan", truth)
    data_set("Scan 1/EBSD/Data", 54)(path, "Zqux")
    summary = inspect(path, size=(4, 4), min_indexed=0.5).values
    assert summary["unused"] == ["scan.h5: column 'Zqux': no use is known for it"]
    (scan,) = summary["scans"]
    assert scan["points"] == truth.phase.size
    assert scan["unindexed"] == pytest.approx((truth.phase == 0).mean())
    assert scan["pixel_size_um"] == summary["pixel_size_um"] == truth.step
    assert [phase["laue_group"] for phase in scan["phases"].values()] == ["m-3m", "6/mmm"]
    assert scan["crystal_x"] == "a"
