"""Formats of scans that are read back: the same map, and the columns of points that were not touched."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax import read_map, write_map
from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import from_axis_angle, multiply, random_uniform
from microgen_jax.crystal.readers.dream3d import FRAME as DREAM3D
from microgen_jax.crystal.readers.points import OXFORD, TSL, Phase, assumed_frame
from microgen_jax.crystal.symmetry import LAUE_GROUPS
from microgen_jax.errors import UserError

VENDORS = {".ctf": OXFORD, ".ang": TSL, ".h5oina": OXFORD, ".dream3d": DREAM3D}
QUALITY = {".ctf": "MAD", ".ang": "Fit", ".h5oina": "Mean Angular Deviation", ".dream3d": "Image Quality"}
every_format = pytest.mark.parametrize("suffix", VENDORS)


def angle(a: EbsdMap, b: EbsdMap) -> float:
    """Largest angle between the indexed orientations of two maps in degrees, both in the frame of the second."""
    first = in_frame(a.orientations, a.frame, b.frame)[a.indexed]
    between = multiply(first, b.orientations[a.indexed] * [1, -1, -1, -1])
    return float(np.degrees(2 * np.arcsin(np.linalg.norm(between[:, 1:], axis=1).max(initial=0.0))))


@every_format
@pytest.mark.parametrize("frame", [OXFORD, TSL, assumed_frame("ours")], ids=["oxford", "tsl", "ours"])
def test_a_written_map_is_read_back(tmp_path: Path, measured: EbsdMap, suffix: str, frame) -> None:
    turned = replace(
        measured, orientations=in_frame(measured.orientations, measured.frame, frame), frame=frame
    )
    write_map(turned, tmp_path / f"a{suffix}")
    again = read_map(tmp_path / f"a{suffix}")
    assert again.frame == VENDORS[suffix]
    assert angle(turned, again) < 2e-4
    np.testing.assert_array_equal(again.indexed, measured.indexed)
    np.testing.assert_array_equal(again.phase, measured.phase)
    np.testing.assert_allclose(again.pixel_size, measured.pixel_size)
    assert again.phases == measured.phases
    assert not again.unused


@pytest.mark.parametrize("group", ["m-3m", "6/mmm"])
@every_format
def test_a_map_of_one_phase_is_read_back(tmp_path: Path, measured: EbsdMap, suffix: str, group: str) -> None:
    phase = np.where(measured.indexed, 1, -1).astype(np.int32)
    single = replace(measured, phase=phase, phases=(Phase(1, "one", group),))
    write_map(single, tmp_path / f"a{suffix}")
    again = read_map(tmp_path / f"a{suffix}")
    assert angle(single, again) < 2e-4
    np.testing.assert_array_equal(again.phase, phase)
    assert again.phases == single.phases


@every_format
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_small_map_is_read_back(tmp_path_factory, suffix: str, data) -> None:
    height, width = data.draw(st.tuples(st.integers(2, 6), st.integers(2, 6)))
    groups = data.draw(st.lists(st.sampled_from(LAUE_GROUPS), min_size=1, max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    step = data.draw(st.sampled_from([0.05, 0.12, 1.0, 30.0]))
    indexed = rng.random((height, width)) < data.draw(st.sampled_from([0.5, 1.0]))
    phase = rng.integers(1, len(groups) + 1, (height, width)).astype(np.int32)
    scan = EbsdMap(
        orientations=random_uniform(rng, height * width).reshape(height, width, 4),
        phase=np.where(indexed, phase, -1).astype(np.int32),
        indexed=indexed,
        phases=tuple(Phase(i, f"phase of {group}", group) for i, group in enumerate(groups, start=1)),
        pixel_size=(step, step),
        unit="um",
        frame=OXFORD,
        columns=Columns({}, np.full((height, width), -1)),
        metadata={},
        notes=(),
    )
    path = tmp_path_factory.mktemp("maps") / f"a{suffix}"
    write_map(scan, path)
    again = read_map(path)
    assert angle(scan, again) < 2e-4
    np.testing.assert_array_equal(again.phase, scan.phase)
    np.testing.assert_array_equal(again.indexed, scan.indexed)
    np.testing.assert_allclose(again.pixel_size, step, rtol=1e-6)
    assert again.phases == scan.phases


def judge_better(path: Path) -> None:
    """Change a column of quality of a file that was written."""
    quality = {".ctf": "\t0\t0\t0\r\n", ".ang": " 0 0\n"}
    better = {".ctf": "\t0.7\t91\t92\r\n", ".ang": " 0 1.25\n"}
    if path.suffix in quality:
        text = path.read_bytes()
        path.write_bytes(text.replace(quality[path.suffix].encode(), better[path.suffix].encode()))
        return
    with h5py.File(path, "r+") as file:
        if path.suffix == ".h5oina":
            file["1/EBSD/Data/Mean Angular Deviation"][:] = 0.01
            file["1/EBSD/Data/Pattern Quality"] = np.full((2560, 1), 4, np.float32)
        else:
            values = np.full((1, 40, 64, 1), 1.5, np.float32)
            file["DataStructure/ImageGeom/Cell Data/Image Quality"] = values


@every_format
def test_what_was_not_touched_keeps_its_columns(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_map(measured, path)
    judge_better(path)
    read = read_map(path)
    whole = 2557 if suffix == ".dream3d" else 2560  # unindexed points have nothing to keep there
    assert write_map(read, tmp_path / f"b{suffix}")[0].startswith(f"{whole} of 2560")
    again = read_map(tmp_path / f"b{suffix}")
    for name in read.columns:
        there = read.indexed if suffix == ".dream3d" else np.ones_like(read.indexed)
        np.testing.assert_array_equal(again.columns[name][there], read.columns[name][there])
        assert again.columns[name].dtype == read.columns[name].dtype

    orientations, indexed, phase = read.orientations.copy(), read.indexed.copy(), read.phase.copy()
    new = from_axis_angle(np.array([1.0, 2.0, 3.0]), 0.4)
    orientations[10:12, 10:12] = orientations[7, 9] = new
    indexed[7, 9], phase[7, 9] = True, 1
    indexed[20, 20], phase[20, 20] = False, -1
    edited = replace(read, orientations=orientations, indexed=indexed, phase=phase)
    changed = 5 if suffix == ".dream3d" else 6
    assert write_map(edited, tmp_path / f"c{suffix}")[0].startswith(f"{whole - changed} of 2560")
    again = read_map(tmp_path / f"c{suffix}")
    assert angle(edited, again) < 2e-4
    np.testing.assert_array_equal(again.phase, phase)
    np.testing.assert_array_equal(again.indexed, indexed)
    quality = QUALITY[suffix]
    assert np.all(again.columns[quality][10:12, 10:12] == 0)
    assert again.columns[quality][11, 12] == read.columns[quality][11, 12] > 0


@pytest.mark.parametrize("suffix", [".ang", ".dream3d"])
@pytest.mark.parametrize("angle_read", [np.nan, 99.0])
def test_unindexed_points_may_hold_any_angles(
    tmp_path: Path, measured: EbsdMap, suffix: str, angle_read
) -> None:
    write_map(measured, tmp_path / f"a{suffix}")
    read = read_map(tmp_path / f"a{suffix}")
    lost = int(read.columns.index[7, 9])  # not indexed
    for name in {"phi1", "EulerAngles"} & set(read.columns):
        read.columns.table[name][lost] = angle_read
    write_map(read, tmp_path / f"b{suffix}")
    again = read_map(tmp_path / f"b{suffix}")
    assert angle(read, again) < 2e-4
    np.testing.assert_array_equal(again.indexed, measured.indexed)


def test_ang_keeps_the_working_distance(tmp_path: Path, measured: EbsdMap) -> None:
    notes = write_map(replace(measured, metadata={"WorkingDistance": "14.5"}), tmp_path / "a.ang")
    assert read_map(tmp_path / "a.ang").metadata["WorkingDistance"] == "14.500000"
    assert "lattice constants are not kept: all written as 1" in notes


def test_quality_goes_between_files_of_oxford(tmp_path: Path, measured: EbsdMap) -> None:
    path = tmp_path / "a.ctf"
    write_map(measured, path)
    judge_better(path)
    assert write_map(read_map(path), tmp_path / "b.h5oina")[0].startswith("2560 of 2560")
    there = read_map(tmp_path / "b.h5oina")
    np.testing.assert_allclose(there.columns["Mean Angular Deviation"], np.radians(0.7), rtol=1e-6)
    assert np.all(there.columns["Band Contrast"] == 91)
    assert read_map(tmp_path / "b.h5oina", min_confidence=0.71).indexed.sum() == measured.indexed.sum()
    assert not read_map(tmp_path / "b.h5oina", min_confidence=0.69).indexed.any()
    notes = write_map(there, tmp_path / "c.ctf")
    back = read_map(tmp_path / "c.ctf")
    np.testing.assert_allclose(back.columns["MAD"], 0.7, rtol=1e-6)
    assert np.all(back.columns["BS"] == 92)
    assert any("not copied: Error" in note for note in notes)


def corner(scan: EbsdMap) -> EbsdMap:
    """The first 40 x 64 pixels of a map."""
    parts = {name: getattr(scan, name)[:40, :64] for name in ("orientations", "phase", "indexed")}
    return replace(scan, **parts, columns=Columns(scan.columns.table, scan.columns.index[:40, :64]))


def test_quality_goes_from_edax_hdf5_to_ang(tmp_path: Path, shared: Path) -> None:
    read = corner(read_map(shared / "scans" / "ebsdlib_EdaxAngOnly.h5"))
    assert write_map(read, tmp_path / "a.ang")[0].startswith("2560 of 2560")
    again = read_map(tmp_path / "a.ang")
    np.testing.assert_array_equal(again.columns["CI"].astype(np.float32), read.columns["CI"])
    assert angle(read, again) < 2e-4


def test_crc_records_are_kept_in_ctf(tmp_path: Path, shared: Path) -> None:
    read = corner(read_map(shared / "scans" / "defdap_testDataEBSD.crc"))
    assert write_map(read, tmp_path / "a.ctf")[0].startswith("2560 of 2560")
    again = read_map(tmp_path / "a.ctf")
    np.testing.assert_array_equal(again.columns["BC"], read.columns["BC"])
    assert angle(read, again) < 2e-4


def test_other_columns_and_a_hexagonal_grid_are_said(tmp_path: Path, shared: Path) -> None:
    notes = write_map(read_map(shared / "scans" / "ebsdlab_copper.ang"), tmp_path / "a.ctf")
    assert notes[0].startswith("0 of ")
    assert "columns that are not copied: phi1" in notes[1]
    assert "square pixels that hold" in notes[2]
    assert "of the 23909 points" in notes[2]


@every_format
def test_every_laue_group_and_unit(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    phases = tuple(Phase(i, f"p{i}", group) for i, group in enumerate(LAUE_GROUPS, start=1))
    phase = (np.arange(measured.phase.size, dtype=np.int32) % 11 + 1).reshape(measured.phase.shape)
    whole = replace(
        measured,
        phase=phase,
        phases=phases,
        indexed=np.ones_like(measured.indexed),
        unit="nm",
        pixel_size=(50.0, 50.0),
    )
    write_map(whole, tmp_path / f"a{suffix}")
    again = read_map(tmp_path / f"a{suffix}")
    assert again.phases == phases
    np.testing.assert_array_equal(again.phase, phase)
    np.testing.assert_allclose(again.pixel_size, 0.05, rtol=1e-6)
    assert angle(whole, again) < 2e-4


@every_format
def test_a_phase_without_group_and_pixels_is_said(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    more = replace(measured, phases=(*measured.phases, Phase(9, "unknown", "")))
    notes = write_map(more, tmp_path / f"a{suffix}")
    assert "phase 3 has no pixel and no Laue group: written as triclinic" in notes
    assert read_map(tmp_path / f"a{suffix}").phases[2] == Phase(3, "unknown", "-1")


@every_format
def test_a_unit_that_is_no_length_is_refused(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    with pytest.raises(UserError) as error:
        write_map(replace(measured, unit="px"), tmp_path / f"a{suffix}")
    assert error.value.where == "scan"
    assert "'px'" in error.value.problem
    assert not list(tmp_path.iterdir())


def test_h5oina_numbers_phases_in_one_byte(tmp_path: Path, measured: EbsdMap) -> None:
    many = tuple(Phase(i, "x", "m-3m") for i in range(1, 300))
    with pytest.raises(UserError) as error:
        write_map(replace(measured, phases=many), tmp_path / "a.h5oina")
    assert error.value.where == "scan"
    assert "299 phases" in error.value.problem
