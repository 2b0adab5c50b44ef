"""What files do in practice: rows out of order, gaps, wrong headers, commas, hexagons, points that failed."""

import contextlib
import tracemalloc

import h5py
import numpy as np
import pytest

from microgen_jax.crystal.maps import read_euler, read_map
from microgen_jax.errors import UserError


def lines_of(path):
    return path.read_text().splitlines()


def rewrite(path, change):
    """Applies `change(header lines, table lines) -> lines` to an .ang file."""
    lines = lines_of(path)
    cut = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    path.write_text("\n".join(change(lines[:cut], lines[cut:])) + "\n")
    return path


def ang_rows(*rows, header=("# Phase 1", "# MaterialName Cu", "# Symmetry 43")):
    return "\n".join([*header, *(" ".join(str(value) for value in row) for row in rows)]) + "\n"


def test_rows_in_any_order_give_the_same_scan(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    before = read_map(path)
    rng = np.random.default_rng(0)
    rewrite(path, lambda header, rows: [*header, *rng.permutation(rows)])
    after = read_map(path)
    assert (before.orientations == after.orientations).all()
    assert (before.phase == after.phase).all()


def test_missing_points_are_not_indexed_and_the_others_stay_in_place(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    before = read_map(path)
    gone = np.zeros(truth.phase.size, bool)
    gone[[0, 7, 20, 21, 22, 53]] = True
    rewrite(path, lambda header, rows: [*header, *(row for row, out in zip(rows, gone) if not out)])
    after = read_map(path)
    gone = gone.reshape(truth.phase.shape)
    assert (after.indexed == (before.indexed & ~gone)).all()
    assert (after.orientations[~gone] == before.orientations[~gone]).all()
    assert (after.phase[gone] == -1).all()


@pytest.mark.parametrize(
    "step",
    ["# XSTEP: 0.25", "# XSTEP: 0.51", "# XSTEP: 7", "# XSTEP: 0", "# XSTEP: nan", "# XSTEP: -1e99", "#"],
)
def test_a_wrong_step_in_the_header_is_measured_instead(step, writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    before = read_map(path)
    rewrite(path, lambda header, rows: [*(step if "XSTEP" in line else line for line in header), *rows])
    after = read_map(path)
    assert (before.orientations == after.orientations).all()
    assert after.pixel_size == pytest.approx((0.5, 0.5))


def test_a_fit_before_the_phase_and_named_columns(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    before = read_map(path)

    def fit_first(row):
        words = row.split()
        return " ".join([*words[:7], "0.613", words[7]])

    rewrite(path, lambda header, rows: [*header, *(fit_first(row) for row in rows)])
    assert (read_map(path).phase == before.phase).all()
    named = "# COLUMN_HEADERS: phi1, PHI, phi2, x, y, Phase index, IQ, CI"

    def phase_early(row):
        words = row.split()
        return " ".join([*words[:5], words[8], words[5], words[6]])

    rewrite(path, lambda header, rows: [*header, named, *(phase_early(row) for row in rows)])
    after = read_map(path)
    assert (after.phase == before.phase).all()
    assert (after.indexed == before.indexed).all()


def test_tsl_marks_of_points_that_failed(tmp_path):
    turn = 12.56637
    path = tmp_path / "a.ang"
    path.write_text(
        ang_rows(
            (0.1, 0.2, 0.3, 0, 0, 9, 0.5, 0),
            (turn, turn, turn, 1, 0, 9, 0.5, 0),
            (0.1, 0.2, 0.3, 2, 0, 9, -1, 0),
            (0, 0, 0, 3, 0, 9, 0, 0),
            (0, 0, 0, 4, 0, 9, 0.5, 0),
            ("nan", 0.2, 0.3, 5, 0, 9, 0.5, 0),
        )
    )
    scan = read_map(path)
    assert scan.indexed.tolist() == [[True, False, False, False, True, False]]
    assert scan.phase.tolist() == [[1, -1, -1, -1, 1, -1]]
    assert scan.notes == (
        "50.0% of the points are unindexed: 1 with 4 pi angles, 1 with CI below 0, 1 with angles (0, 0, 0) with CI 0",
        "1 points hold no finite angles: unindexed",
    )


def test_phase_0_is_the_phase_only_where_it_is_the_only_one(tmp_path):
    path = tmp_path / "a.ang"
    rows = [(0.1, 0.2, 0.3, x, 0, 9, 0.5, phase) for x, phase in enumerate((0, 1, 1))]
    path.write_text(ang_rows(*rows))
    assert read_map(path).phase.tolist() == [[-1, 1, 1]]
    two = (
        "# Phase 1",
        "# MaterialName Cu",
        "# Symmetry 43",
        "# Phase 2",
        "# MaterialName Mg",
        "# Symmetry 62",
    )
    path.write_text(ang_rows(*((*row[:7], 2 * row[7]) for row in rows), header=two))
    assert read_map(path).phase.tolist() == [[-1, 2, 2]]


def hexagonal(rows, columns, dx):
    """Positions of a hexagonal grid, odd rows moved to the right and a point shorter."""
    x = [dx * (i + 0.5 * (j % 2)) for j in range(rows) for i in range(columns - j % 2)]
    y = [dx * np.sqrt(3) / 2 * j for j in range(rows) for i in range(columns - j % 2)]
    return np.array(x), np.array(y)


@pytest.mark.parametrize("hint", [True, False])
def test_a_hexagonal_grid_gives_each_cell_the_nearest_point(hint, tmp_path):
    dx = 0.7
    x, y = hexagonal(11, 8, dx)
    angle = np.arange(len(x)) / 100 + 0.01
    header = ["# Phase 1", "# MaterialName Cu", "# Symmetry 43", "# GRID: HexGrid"]
    if hint:
        header += [f"# XSTEP: {dx}", f"# YSTEP: {dx * np.sqrt(3) / 2:.6f}", "# NROWS: 11", "# NCOLS_ODD: 8"]
    rows = [(a, 0.2, 0.3, f"{u:.5f}", f"{v:.5f}", 9, 0.5, 0) for a, u, v in zip(angle, x, y)]
    path = tmp_path / "a.ang"
    order = np.random.default_rng(1).permutation(len(rows))
    path.write_text(ang_rows(*(rows[i] for i in order), header=header))
    euler, _, indexed = read_euler(path)
    scan = read_map(path)
    assert indexed.all()
    assert scan.pixel_size == pytest.approx((dx, dx), rel=1e-4)
    assert scan.indexed.shape == (9, 8)
    chosen = np.rint((euler[..., 0] - 0.01) * 100).astype(int)
    cell_y, cell_x = np.indices(chosen.shape) * dx
    away = np.hypot(x[chosen] - cell_x, y[chosen] - cell_y)
    nearest = np.hypot(x - cell_x[..., None], y - cell_y[..., None]).min(axis=-1)
    np.testing.assert_allclose(away, nearest, atol=1e-4)


def test_a_hexagonal_grid_keeps_its_gaps(tmp_path):
    x, y = hexagonal(6, 6, 1.0)
    rows = [(0.1, 0.2, 0.3, u, f"{v:.5f}", 9, 0.5, 0) for u, v in zip(x, y) if (u, v) != (2.0, 0.0)]
    path = tmp_path / "a.ang"
    path.write_text(ang_rows(*rows))
    indexed = read_map(path).indexed
    assert not indexed[0, 2]
    assert indexed.sum() == indexed.size - 1


def test_checkerboards_are_not_seen_in_small_square_scans(tmp_path):
    path = tmp_path / "a.ang"
    path.write_text(ang_rows(*((0.1, 0.2, 0.3, x, y, 9, 0.5, 0) for x in range(3) for y in range(3))))
    assert read_map(path).indexed.shape == (3, 3)


@pytest.mark.parametrize("columns", [8, 9, 10, 11])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ctf_columns_commas_and_byte_order_marks(columns, comma, mark, writers, truth, tmp_path):
    path = writers["ctf"](tmp_path / "scan", truth)
    before = read_map(path)
    lines = lines_of(path)
    start = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    lines[start:] = ["\t".join(line.split("\t")[:columns]) for line in lines[start:]]
    text = mark + "\r\n".join(lines) + "\r\n"
    path.write_bytes((text.replace(".", ",") if comma else text).encode())
    after = read_map(path)
    assert (after.orientations == before.orientations).all()
    assert (after.phase == before.phase).all()
    assert after.phases == before.phases
    assert after.pixel_size == before.pixel_size


@pytest.mark.parametrize("counts", [(1, 1), (0, 0), (9, 4), (999_999_999, 999_999_999), (6, 9)])
def test_ctf_with_wrong_cell_counts_is_read_by_its_positions(counts, writers, truth, tmp_path):
    path = writers["ctf"](tmp_path / "scan", truth)
    before = read_map(path)
    text = path.read_text().replace("XCells\t9", f"XCells\t{counts[0]}")
    path.write_text(text.replace("YCells\t6", f"YCells\t{counts[1]}"))
    after = read_map(path)
    assert (after.orientations == before.orientations).all()
    if counts[0] * counts[1] not in (0, 54):
        assert after.notes[1].startswith("the header promises")


def test_ctf_without_positions_is_read_by_its_counts(writers, truth, tmp_path):
    path = writers["ctf"](tmp_path / "scan", truth)
    before = read_map(path)
    lines = lines_of(path)
    start = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    words = [line.split("\t") for line in lines[start:]]
    path.write_text("\n".join([*lines[:start], *("\t".join([row[0], *row[3:]]) for row in words)]))
    assert (read_map(path).orientations == before.orientations).all()
    path.write_text("\n".join([*lines[:start], *("\t".join([*row[:2], *row[3:]]) for row in words)]))
    assert (read_map(path).orientations == before.orientations).all()
    still = [[row[0], "0", "0", *row[3:]] for row in words[1:]]
    path.write_text("\n".join([*lines[: start + 1], *("\t".join(row) for row in still)]))
    assert (read_map(path).orientations == before.orientations).all()


def test_cpr_and_crc_are_one_scan_whichever_is_named(writers, truth, tmp_path):
    path = writers["cpr"](tmp_path / "scan", truth)
    path.with_suffix(".crc").rename(path.with_suffix(".CRC"))
    assert (read_map(path).orientations == read_map(path.with_suffix(".CRC")).orientations).all()


def test_edax_points_without_a_position_or_valid_flag(writers, truth, tmp_path):
    path = writers["edax"](tmp_path / "scan", truth)
    before = read_map(path)
    with h5py.File(path, "r+") as file:
        data = file["Scan 1/EBSD/Data"]
        data["X Position"][10] = data["Y Position"][10] = -1111111.0
        data["Valid"] = np.zeros(54, "i1")
        data["Valid"][20] = 1
    after = read_map(path)
    expected = before.indexed.copy().ravel()
    expected[[10, 20]] = False
    assert (after.indexed.ravel() == expected).all()
    assert after.notes[1] == "1 points without a position left out"


def test_further_scans_of_one_file_are_named(writers, truth, tmp_path):
    path = writers["edax"](tmp_path / "scan", truth)
    with h5py.File(path, "r+") as file:
        file.copy("Scan 1", "Scan 2")
    assert "read scan 'Scan 1'; left out ['Scan 2']" in read_map(path).notes


def test_oxford_points_outside_the_map_are_nan(writers, truth, tmp_path):
    path = writers["oxford"](tmp_path / "scan", truth)
    with h5py.File(path, "r+") as file:
        file["1/EBSD/Data/Euler"][:9] = np.nan
        file["1/EBSD/Header/Phases/1/Space Group"] = np.array([225])
    scan = read_map(path)
    assert not scan.indexed[0].any()
    assert (scan.indexed[1:] == (truth.phase[1:] > 0)).all()
    assert scan.phases[0].laue_group == "m-3m"


def test_orix_keeps_the_best_of_several_orientations_a_point(writers, truth, tmp_path):
    path = writers["orix"](tmp_path / "scan", truth)
    before = read_map(path)
    with h5py.File(path, "r+") as file:
        for name in ("phi1", "Phi", "phi2"):
            angles = file[f"crystal_map/data/{name}"][()]
            del file[f"crystal_map/data/{name}"]
            file[f"crystal_map/data/{name}"] = np.stack([angles, angles + 1], axis=1)
        file["crystal_map/data/is_in_data"][5] = False
    after = read_map(path)
    assert not after.indexed[0, 5]
    assert (after.orientations[1:] == before.orientations[1:]).all()


def test_a_broken_heap_of_texts_loses_names_alone(writers, truth, tmp_path):
    """HDF5 2.0.0 loops for ever in some broken heaps: the names of phases are not worth that."""
    path = writers["dream3d"](tmp_path / "scan", truth)
    before = read_map(path)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first + 8 : first + 16] = b"\xff" * 8
    path.write_bytes(content)
    after = read_map(path)
    assert (after.orientations == before.orientations).all()
    assert [entry.laue_group for entry in after.phases] == [entry.laue_group for entry in before.phases]
    assert [entry.name for entry in after.phases] != [entry.name for entry in before.phases]


def test_tsl_grain_file_with_names_of_phases(tmp_path):
    lines = ["# Column 1-3: phi1, PHI, phi2 (orientation of point in radians)"]
    lines += ["# Column 4-5: x, y (coordinates of point in microns)", "# Column 6: Grain ID (integer)"]
    lines += ["# Column 7: phase name", *(f"0.1 0.2 0.3 {x} 0 1 {name}" for x, name in enumerate("BAAB"))]
    path = tmp_path / "grains.txt"
    path.write_text("\n".join(lines))
    scan = read_map(path)
    assert [(entry.id, entry.name) for entry in scan.phases] == [(1, "A"), (2, "B")]
    assert scan.phase.tolist() == [[2, 1, 1, 2]]


@pytest.mark.parametrize("kind", ["ang", "ctf", "cpr"])
def test_a_header_that_promises_the_world_allocates_nothing(kind, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", truth)
    text = path.read_text()
    for old, new in (
        ("NROWS: 6", "NROWS: 900000000"),
        ("YCells\t6", "YCells\t900000000"),
        ("yCells=6", "yCells=6e8"),
    ):
        text = text.replace(old, new)
    path.write_text(text)
    tracemalloc.start()
    with contextlib.suppress(UserError):
        read_map(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6
