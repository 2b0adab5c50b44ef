"""Points that were not indexed, by each vendor's rule, and phases by whatever names them."""

import h5py
import numpy as np
import pytest

from microgen_jax.crystal.maps import read_map
from microgen_jax.crystal.readers.unindexed import says_something, tsl_failures
from microgen_jax.errors import UserError


def cube(truth):
    """The truth with cube-oriented points and nothing unindexed."""
    euler, phase = truth.euler.copy(), np.ones_like(truth.phase)
    euler[:, :4] = 0
    return truth._replace(euler=euler, phase=phase, phases=truth.phases[:1])


def rows_of(path, change):
    """Changes the words of every row of the table of an .ang or .ctf file."""
    lines = path.read_text().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("Phase\t")), -1) + 1
    start = start or next(i for i, line in enumerate(lines) if not line.startswith("#"))
    gap = "\t" if "\t" in lines[start] else " "
    rows = [gap.join(change(i, line.split())) for i, line in enumerate(lines[start:])]
    path.write_text("\n".join(lines[:start] + rows))
    return path


def put(place, values):
    """A change of one word of each row."""
    return lambda i, words: [
        *words[:place],
        str(values[i] if np.ndim(values) else values),
        *words[place + 1 :],
    ]


def test_a_column_without_spread_says_nothing():
    assert not says_something(None)
    assert not says_something(np.zeros(5))
    assert says_something(np.array([0, 0, 1]))


@pytest.mark.parametrize(("kind", "place"), [("ang", 6), ("ctf", 8), ("ctf", 3)])
def test_cube_points_of_a_simulated_scan_are_orientations(kind, place, writers, truth, tmp_path):
    """CI, MAD or Bands 0 throughout."""
    path = writers[kind](tmp_path / "scan", cube(truth))
    assert read_map(rows_of(path, put(place, 0))).indexed.all()


@pytest.mark.parametrize(("kind", "place"), [("ctf", 8), ("ctf", 3)])
def test_zero_angles_without_mad_or_bands_are_no_orientation(kind, place, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", cube(truth))
    values = np.ones(truth.phase.size)
    values[[0, 5]] = 0  # of a cube point, and of one with other angles
    scan = read_map(rows_of(path, put(place, values)))
    assert np.flatnonzero(~scan.indexed).tolist() == [0]
    assert any("1.9% of the points are unindexed: 1 with angles (0, 0, 0)" in note for note in scan.notes)


def test_zero_angles_with_a_good_fit_are_an_orientation():
    euler, ci = np.zeros((4, 3)), np.array([0.0, 0.0, 0.0, 0.5])
    failed = tsl_failures(euler, ci, np.array([0.7, 180.0, 0.0, 0.5]))["angles (0, 0, 0) with CI 0"]
    assert failed.tolist() == [False, True, True, False]


@pytest.mark.parametrize(("name", "bad"), [("Mask", 0), ("GoodVoxels", 0), ("Confidence Index", -1)])
@pytest.mark.parametrize("version", ["dream3d", "dream3d 8"])
def test_masks_and_confidences_of_dream3d_count(name, bad, version, writers, truth, tmp_path):
    path = writers[version](tmp_path / "scan", truth)
    before = read_map(path).indexed
    group = "DataContainers" if version == "dream3d" else "DataStructure"
    values = np.ones((1, *truth.phase.shape, 1), "f4" if bad else "u1")
    values[0, 3, 2:5] = bad
    with h5py.File(path, "r+") as file:
        file[f"{group}/Scan/CellData/{name}"] = values
    before[3, 2:5] = False
    assert (read_map(path).indexed == before).all()


def test_oxford_h5_obeys_its_error_column(writers, truth, tmp_path):
    path = writers["oxford"](tmp_path / "scan", cube(truth))
    error = np.ones(truth.phase.size, "u1")  # 1 is a success there
    error[[1, 7]] = 3
    with h5py.File(path, "r+") as file:
        file["1/EBSD/Data/Error"] = error
    scan = read_map(path)
    assert np.flatnonzero(~scan.indexed).tolist() == [1]
    assert "1 points have an Error and angles, as clean-up leaves them: kept" in scan.notes


@pytest.mark.parametrize(("kind", "place"), [("ang", 6), ("ctf", 8)])
def test_a_threshold_knows_which_side_is_better(kind, place, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", cube(truth))
    values = np.linspace(0.01, 1, truth.phase.size).round(3)
    rows_of(path, put(place, values))
    kept = values >= 0.4 if kind == "ang" else values <= 0.4
    scan = read_map(path, min_confidence=0.4)
    assert (scan.indexed.ravel() == kept).all()
    assert any("(min_confidence)" in note for note in scan.notes)
    assert read_map(path).indexed.all()


def test_a_threshold_without_a_column_is_refused(writers, truth, tmp_path):
    with pytest.raises(UserError, match=r"no CI and no MAD"):
        read_map(writers["dream3d"](tmp_path / "scan", truth), min_confidence=0.1)


@pytest.mark.parametrize("kind", ["ang", "edax"])
def test_phases_numbered_from_0_are_found(kind, writers, truth, tmp_path):
    two = truth._replace(phase=np.where(truth.phase == 0, 1, truth.phase))
    path = writers[kind](tmp_path / "scan", two)
    before = read_map(path)
    shifted = two.phase.ravel() - 1
    if kind == "ang":
        rows_of(path, put(7, shifted))
    else:
        with h5py.File(path, "r+") as file:
            file["Scan 1/EBSD/Data/Phase"][...] = shifted
    after = read_map(path)
    assert (after.phase == before.phase).all()
    assert (after.orientations == before.orientations).all()
    assert any("number their phases from 0" in note for note in after.notes)


def test_good_points_of_a_phase_that_is_not_there_are_said(writers, truth, tmp_path):
    path = writers["ang"](tmp_path / "scan", truth)
    rows_of(path, lambda i, words: [*words[:7], "0", *words[8:]] if i in (2, 3) else words)
    rows_of(
        path, lambda i, words: ["1", "1", "1", *words[3:6], "0.5", *words[7:]] if words[7] == "0" else words
    )
    scan = read_map(path)
    assert any("with good angles are of phase 0" in note for note in scan.notes)


def test_a_group_has_many_names(writers, truth, tmp_path):
    ang = writers["ang"](tmp_path / "a", truth)
    ang.write_text(
        ang.read_text().replace("Symmetry 43", "Symmetry m-3m").replace("Symmetry 62", "Symmetry 6/mmm")
    )
    cpr = writers["cpr"](tmp_path / "b", truth)
    text = cpr.read_text().replace("LaueGroup=11", "LaueGroup=\nSpaceGroup=225")
    cpr.write_text(text.replace("LaueGroup=9", "LaueGroup=\nSpaceGroup=194"))
    ctf = writers["ctf"](tmp_path / "c", truth)
    ctf.write_text(ctf.read_text().replace("\t11\t0\t", "\t0\t225\t").replace("\t9\t0\t", "\t\t194\t"))
    edax = writers["edax"](tmp_path / "d", truth)
    with h5py.File(edax, "r+") as file:
        phases = file["Scan 1/EBSD/Header/Phase"]
        del phases["1/Symmetry"], phases["2/Symmetry"]
        phases["1/Symmetry"], phases["2/Space Group"] = np.array([b"m-3m"]), np.array([194])
    for path in (ang, cpr, ctf, edax):
        assert [phase.laue_group for phase in read_map(path).phases] == ["m-3m", "6/mmm"]


@pytest.mark.parametrize(("space", "said"), [(162, True), (166, False)])
def test_the_setting_of_a_trigonal_phase_is_said(space, said, writers, truth, tmp_path):
    cpr = writers["cpr"](tmp_path / "b", truth)
    cpr.write_text(cpr.read_text().replace("LaueGroup=9", f"LaueGroup=7\nSpaceGroup={space}"))
    ctf = writers["ctf"](tmp_path / "c", truth)
    ctf.write_text(ctf.read_text().replace("\t9\t0\t", f"\t7\t{space}\t"))
    edax = writers["edax"](tmp_path / "d", truth)
    with h5py.File(edax, "r+") as file:
        file["Scan 1/EBSD/Header/Phase/2/Symmetry"][...] = 32
        file["Scan 1/EBSD/Header/Phase/2/Space Group"] = np.array([space])
    for path in (cpr, ctf, edax):
        scan = read_map(path)
        assert scan.phases[1].laue_group == "-3m"
        assert any(note.startswith("phase 2: the setting -31m") for note in scan.notes) == said


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("kind", ["ang", "dream3d"])
def test_unequal_steps_are_put_on_the_finer_square(kind, shape, writers, truth, tmp_path):
    path = writers[kind](tmp_path / "scan", truth)
    before, finer = read_map(path), min(shape)
    if kind == "ang":
        rows_of(path, lambda i, words: [*words[:3], f"{float(words[3]) * shape[1]}", f"{float(words[4]) * shape[0]}",
                                        *words[5:]])  # fmt: skip
    else:
        with h5py.File(path, "r+") as file:
            spacing = file["DataContainers/Scan/_SIMPL_GEOMETRY/SPACING"]
            spacing[...] = np.array([shape[1] * truth.step, shape[0] * truth.step, 1])
    after = read_map(path)
    assert after.pixel_size == pytest.approx((finer * truth.step,) * 2)
    assert any("square cells" in note for note in after.notes)
    places = [
        np.minimum((np.arange(round(n * s / finer)) + 0.5) * finer / s, n - 1).astype(int)
        for n, s in zip(before.phase.shape, shape)
    ]
    assert (after.phase == before.phase[np.ix_(*places)]).all()
    assert (after.orientations == before.orientations[np.ix_(*places)]).all()
    assert after.columns.table.keys() == before.columns.table.keys()
    assert after.columns.points == truth.phase.size


def test_kikuchipy_is_read_where_it_holds_a_crystal_map(writers, truth, tmp_path):
    orix = writers["orix"](tmp_path / "map", truth)
    path = tmp_path / "patterns.h5"
    with h5py.File(path, "w") as file:
        file["manufacturer"] = "kikuchipy"
        file["Scan 1/EBSD/Data/patterns"] = np.zeros((6, 9, 4, 4), "u1")
        file.create_group("Scan 1/EBSD/Header")
    with pytest.raises(UserError, match="kikuchipy"):
        read_map(path)
    with h5py.File(path, "r+") as file, h5py.File(orix) as source:
        source.copy("crystal_map", file["Scan 1/EBSD"], "CrystalMap/crystal_map")
    np.testing.assert_array_equal(read_map(path).orientations, read_map(orix).orientations)


@pytest.mark.parametrize("suffix", [".oh5", ".edaxh5"])
def test_other_suffixes_of_edax_are_its_h5(suffix, writers, truth, tmp_path):
    path = writers["edax"](tmp_path / "scan", truth)
    phase = read_map(path.rename(path.with_suffix(suffix))).phase
    np.testing.assert_array_equal(phase, np.where(truth.phase > 0, truth.phase, -1))


def test_field_cases_come_out_right(shared):
    field = shared / "field"
    for folder in ("19_ang_phases_from_0", "19c_ang_phases_from_0"):
        scan = read_map(field / folder / "duplex.ang")
        assert scan.indexed.all()
        assert set(np.unique(scan.phase)) == {1, 2}
        written = scan.columns["Phase index"]
        assert (scan.phase == written + 1).all()
    assert read_map(field / "29_ang_cube_ci0/sim.ang").indexed.all()
    masked = read_map(field / "30_dream3d_mask/map.dream3d")
    assert (masked.indexed == (masked.columns["Mask"] == 1)).all()
    assert masked.unindexed_share == pytest.approx(253 / 4096)
    for path in ("03_oh5/map.oh5", "03_edaxh5/map.edaxh5", "04_bruker/bruker.h5"):
        scan = read_map(field / path)
        assert scan.phase.shape == (64, 64)
        assert scan.indexed.all()
        assert [phase.laue_group for phase in scan.phases] == ["m-3m"]
