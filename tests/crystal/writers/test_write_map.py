"""`write_map` by suffix: what it refuses, and .npz, which loses nothing."""

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import microgen_jax
from microgen_jax import UserError, read_map, write_map
from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.maps import WRITERS, EbsdMap
from microgen_jax.crystal.readers.points import TSL, Phase

every_format = pytest.mark.parametrize("suffix", WRITERS)


def test_it_is_public() -> None:
    assert "write_map" in microgen_jax.__all__


@every_format
def test_every_format_is_written_in_the_place_of_what_was_there(
    tmp_path: Path, scan: EbsdMap, suffix: str
) -> None:
    path = tmp_path / f"new/Map{suffix.upper()}"
    write_map(scan, path)
    first = contents(path)
    write_map(replace(scan, pixel_size=(1.0, 1.0)), path)
    assert contents(path) != first
    write_map(scan, path)
    assert contents(path) == first
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def contents(path: Path) -> list[bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file.read_bytes() for file in files]


def test_an_unknown_suffix_is_refused(tmp_path: Path, scan: EbsdMap) -> None:
    for name in ("a.osc", "a", "a.png"):
        with pytest.raises(UserError) as error:
            write_map(scan, tmp_path / name)
        assert error.value.where == "path"
        assert repr(Path(name).suffix) in error.value.problem
        assert all(suffix in error.value.fix for suffix in WRITERS)


@every_format
def test_maps_that_no_format_holds_are_refused(tmp_path: Path, scan: EbsdMap, suffix: str) -> None:
    volume = replace(scan)
    for name in ("orientations", "phase", "indexed"):
        object.__setattr__(volume, name, np.stack([getattr(scan, name)] * 2))
    wrong = (
        (replace(scan, pixel_size=(-1.0, 1.0)), "pixel size (-1.0, 1.0)"),
        (replace(scan, pixel_size=(0.5, 0.0)), "pixel size (0.5, 0.0)"),
        (replace(scan, pixel_size=(float("nan"), 1.0)), "pixel size"),
        (replace(scan, phases=scan.phases[1:]), "phase 1 has no Laue group"),
        (replace(scan, phases=(scan.phases[0], Phase(2, "x", ""))), "phase 2 has no Laue group"),
        (volume, "shape (2, 40, 64)"),
    )
    for bad, problem in wrong:
        with pytest.raises(UserError) as error:
            write_map(bad, tmp_path / f"a{suffix}")
        assert error.value.where == "scan"
        assert problem in error.value.problem
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, scan: EbsdMap) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        write_map(scan, tmp_path / "file/a.ctf")
    assert error.value.where == str(tmp_path / "file/a.ctf")
    assert "cannot be written" in error.value.problem


@every_format
def test_metadata_may_be_text(tmp_path: Path, scan: EbsdMap, suffix: str) -> None:
    texts = {
        "AcqE1": "12.5",
        "AcqE2": "abc",
        "AcqE3": "nan",
        "x-star": "0,5",
        "WorkingDistance": "",
        "vendor": "x",
    }
    square = replace(scan, pixel_size=(0.5, 0.5), metadata=texts)
    write_map(square, tmp_path / f"a{suffix}")
    if suffix in (".ctf", ".h5oina"):
        found = read_map(tmp_path / f"a{suffix}").metadata
        assert [float(found.get(f"AcqE{i}", 0)) for i in (1, 2, 3)] == pytest.approx([12.5, 0, 0])


@pytest.fixture
def full(scan: EbsdMap) -> EbsdMap:
    """A map with something in every field."""
    index = np.arange(2560).reshape(40, 64)
    index[3, 4] = -1
    table = {"CI": np.linspace(-1, 1, 2560), "odd/name": np.ones((2560, 3), np.uint8)}
    indexed = scan.indexed.copy()
    indexed[5, 6] = False
    return replace(
        scan,
        indexed=indexed,
        frame=TSL,
        unit="nm",
        columns=Columns(table, index),
        metadata={"vendor": "TSL", "x-star": 0.25},
        notes=("repaired",),
        unused=("column 'α': no use is known for it",),
        described=7,
    )


def test_npz_gives_everything_back(tmp_path: Path, full: EbsdMap) -> None:
    assert write_map(full, tmp_path / "a.npz") == ()
    again = read_map(tmp_path / "a.npz")
    for field in fields(EbsdMap):
        if field.name in ("orientations", "phase", "indexed"):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(full, field.name))
        elif field.name != "columns":
            assert getattr(again, field.name) == getattr(full, field.name)
    np.testing.assert_array_equal(again.columns.index, full.columns.index)
    assert list(again.columns) == list(full.columns)
    for name in full.columns:
        np.testing.assert_array_equal(again.columns.table[name], full.columns.table[name])
        assert again.columns.table[name].dtype == full.columns.table[name].dtype


def test_npz_keeps_the_setting_of_a_phase(tmp_path: Path, scan: EbsdMap) -> None:
    quartz = replace(scan, phases=(scan.phases[0], Phase(2, "Quartz", "-3m", "a*")))
    write_map(quartz, tmp_path / "a.npz")
    assert read_map(tmp_path / "a.npz").phases == quartz.phases


def test_unindexed_pixels_of_npz_without_orientation_have_the_identity(tmp_path: Path, full: EbsdMap) -> None:
    orientations = full.orientations.copy()
    orientations[5, 6] = np.nan
    write_map(replace(full, orientations=orientations), tmp_path / "a.npz")
    again = read_map(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.orientations[5, 6], [1, 0, 0, 0])
    np.testing.assert_array_equal(again.orientations[full.indexed], full.orientations[full.indexed])


def test_npz_takes_a_laue_group_but_no_threshold(tmp_path: Path, scan: EbsdMap) -> None:
    more = replace(scan, phases=(*scan.phases, Phase(3, "unknown", "")))
    write_map(more, tmp_path / "a.npz")
    assert read_map(tmp_path / "a.npz", laue_group="6/mmm").phases[2] == Phase(3, "unknown", "6/mmm")
    with pytest.raises(UserError) as error:
        read_map(tmp_path / "a.npz", min_confidence=0.1)
    assert error.value.where == "min_confidence"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("phase", None, "'phase"),
        ("phase", np.zeros((40, 63), np.int32), "is bool of the shape (40, 64)"),
        ("orientations", np.zeros((40, 64, 4)), "no unit quaternion"),
        ("orientations", np.zeros((40, 64, 4), np.float32), "float32"),
        ("phase_ids", np.array([7, 8]), "phase 1 has no name"),
        ("laue_groups", np.array(["m-3m", "cubic?"]), "'cubic?' is no Laue group"),
        ("laue_groups", np.array(["m-3m", "6/mmm", "-1"]), "longer"),
        ("phase_ids", np.array([1, 1]), "same number: [1, 1]"),
        ("phase_ids", np.array([1, np.inf]), "infinity"),
        ("twofold_axes", np.array(["", "b"]), "'b' is no twofold axis"),
        ("pixel_size", np.array([0.0, 1.0]), "pixel size (0.0, 1.0)"),
        ("pixel_size", np.array([1.0]), "pixel"),
        ("frame_to_image", np.zeros((3, 3), np.int64), "proper rotation"),
        ("crystal_x", np.array("b"), "'b' is no axis"),
        ("point", np.full((40, 64), 99999), "do not belong together"),
        ("column_names", np.array(["CI", "x", "y"]), "column_2"),
        ("metadata", np.array("{"), "JSON"),
        ("metadata", np.array('{"AcqE1": [1]}'), "texts and numbers"),
        ("metadata", np.array('[["AcqE1", 1]]'), "texts and numbers"),
        ("notes", np.array([{}], object), "Object"),
    ],
)
def test_a_broken_npz_gives_one_line(tmp_path: Path, full: EbsdMap, name, value, problem) -> None:
    path = tmp_path / "a.npz"
    write_map(full, path)
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != name}
    np.savez(path, **arrays | ({} if value is None else {name: value}))
    with pytest.raises(UserError) as error:
        read_map(path)
    assert error.value.where == str(path)
    assert problem in error.value.problem


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_npz_gives_one_line(tmp_path: Path, scan: EbsdMap, share: float) -> None:
    path = tmp_path / "a.npz"
    write_map(scan, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as error:
        read_map(path)
    assert error.value.where == str(path)


def test_a_mutated_npz_ends_in_a_map_or_in_one_line(tmp_path: Path, full: EbsdMap) -> None:
    path, rng, read = tmp_path / "a.npz", np.random.default_rng(0), 0
    parts = {name: getattr(full, name)[:4, :5] for name in ("orientations", "phase", "indexed")}
    write_map(replace(full, **parts, columns=Columns({}, np.full((4, 5), -1))), path)
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    np.savez(path, **arrays)  # as it is, so that numbers are hit too
    content = path.read_bytes()
    for _ in range(200):
        mutated = bytearray(content)
        for place in rng.integers(len(content), size=3):
            mutated[place] = rng.integers(256)
        path.write_bytes(mutated)
        with suppress(UserError):
            read += read_map(path).phase.size == 20
    assert read < 100


def test_metadata_of_npz_is_json(tmp_path: Path, full: EbsdMap) -> None:
    write_map(full, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as stored:
        assert json.loads(str(stored["metadata"])) == full.metadata
        assert stored["orientations"].shape == (40, 64, 4)
