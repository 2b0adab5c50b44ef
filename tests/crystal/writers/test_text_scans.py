from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.maps import EbsdMap, read_map
from microgen_jax.crystal.orientations import from_axis_angle, multiply
from microgen_jax.crystal.readers.points import OXFORD, TSL, Phase, untold_frame
from microgen_jax.crystal.symmetry import LAUE_GROUPS
from microgen_jax.crystal.writers.ang import write_ang
from microgen_jax.crystal.writers.ctf import write_ctf
from microgen_jax.errors import UserError

WRITERS = {".ctf": (write_ctf, OXFORD), ".ang": (write_ang, TSL)}
every_format = pytest.mark.parametrize("suffix", WRITERS)


@pytest.fixture
def measured(scan: EbsdMap) -> EbsdMap:
    """The map with square pixels, a cube orientation and three unindexed pixels, one of them in a corner."""
    indexed = scan.indexed.copy()
    indexed[0, -1] = indexed[7, 9] = indexed[-1, 3] = False
    orientations = scan.orientations.copy()
    orientations[5, 5] = (1.0, 0.0, 0.0, 0.0)
    phase = np.where(indexed, scan.phase, -1).astype(np.int32)
    return replace(scan, orientations=orientations, indexed=indexed, phase=phase, pixel_size=(0.5, 0.5))


def angle(a: EbsdMap, b: EbsdMap) -> float:
    """Largest angle between the indexed orientations of two maps in degrees, both in the frame of the second."""
    first = in_frame(a.orientations, a.frame, b.frame)[a.indexed]
    between = multiply(first, b.orientations[a.indexed] * [1, -1, -1, -1])
    return float(np.degrees(2 * np.arcsin(np.linalg.norm(between[:, 1:], axis=1).max())))


@every_format
@pytest.mark.parametrize("frame", [OXFORD, TSL, untold_frame("ours")], ids=["oxford", "tsl", "ours"])
def test_a_written_map_is_read_back(tmp_path: Path, measured: EbsdMap, suffix: str, frame) -> None:
    write, vendor = WRITERS[suffix]
    turned = replace(
        measured, orientations=in_frame(measured.orientations, measured.frame, frame), frame=frame
    )
    notes = write(tmp_path / f"a{suffix}", turned)
    again = read_map(tmp_path / f"a{suffix}")
    assert again.frame == vendor
    assert angle(turned, again) < 2e-4
    np.testing.assert_array_equal(again.indexed, measured.indexed)
    np.testing.assert_array_equal(again.phase, measured.phase)
    np.testing.assert_allclose(again.pixel_size, measured.pixel_size)
    assert again.phases == measured.phases
    assert not again.unused
    assert notes[0].startswith("0 of 2560 points keep")


@every_format
def test_what_was_not_touched_keeps_its_columns(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    write, _ = WRITERS[suffix]
    path = tmp_path / f"a{suffix}"
    write(path, measured)
    quality = {".ctf": "\t0\t0\t0\r\n", ".ang": " 0 0\n"}[suffix]
    better = {".ctf": "\t0.7\t91\t92\r\n", ".ang": " 0 1.25\n"}[suffix]
    path.write_bytes(path.read_bytes().replace(quality.encode(), better.encode()))
    read = read_map(path)
    assert write(tmp_path / f"b{suffix}", read)[0].startswith("2560 of 2560")
    again = read_map(tmp_path / f"b{suffix}")
    for name in read.columns:
        np.testing.assert_array_equal(again.columns[name], read.columns[name])

    orientations, indexed, phase = read.orientations.copy(), read.indexed.copy(), read.phase.copy()
    new = from_axis_angle(np.array([1.0, 2.0, 3.0]), 0.4)
    orientations[10:12, 10:12] = orientations[7, 9] = new
    indexed[7, 9], phase[7, 9] = True, 1
    indexed[20, 20], phase[20, 20] = False, -1
    edited = replace(read, orientations=orientations, indexed=indexed, phase=phase)
    assert write(tmp_path / f"c{suffix}", edited)[0].startswith("2554 of 2560")
    again = read_map(tmp_path / f"c{suffix}")
    assert angle(edited, again) < 2e-4
    np.testing.assert_array_equal(again.phase, phase)
    name = {".ctf": "MAD", ".ang": "Fit"}[suffix]
    assert np.all(again.columns[name][10:12, 10:12] == 0)
    assert again.columns[name][11, 12] == {".ctf": 0.7, ".ang": 1.25}[suffix]


@every_format
def test_every_laue_group_and_unit(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    write, _ = WRITERS[suffix]
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
    write(tmp_path / f"a{suffix}", whole)
    again = read_map(tmp_path / f"a{suffix}")
    assert again.phases == phases
    np.testing.assert_array_equal(again.phase, phase)
    np.testing.assert_allclose(again.pixel_size, 0.05)
    assert angle(whole, again) < 2e-4


@every_format
def test_wrong_maps_are_refused(tmp_path: Path, measured: EbsdMap, suffix: str) -> None:
    write, _ = WRITERS[suffix]
    wrong = (
        (replace(measured, pixel_size=(-1.0, 1.0)), "pixel size (-1.0, 1.0)"),
        (replace(measured, unit="px"), "'px'"),
        (replace(measured, phases=measured.phases[1:]), "phase 1 has no Laue group"),
    )
    for bad, problem in wrong:
        with pytest.raises(UserError) as error:
            write(tmp_path / f"a{suffix}", bad)
        assert error.value.where == "scan"
        assert problem in error.value.problem
    assert not list(tmp_path.iterdir())
