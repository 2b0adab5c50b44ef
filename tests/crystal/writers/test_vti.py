from dataclasses import replace
from pathlib import Path

import numpy as np

from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.readers.points import TSL
from microgen_jax.crystal.writers.vti import write_vti
from tests.crystal.writers.vti_cells import read_vti


def test_cells_show_the_map(tmp_path: Path, scan: EbsdMap) -> None:
    notes = write_vti(tmp_path / "a.vti", scan)
    arrays, image = read_vti(tmp_path / "a.vti")
    np.testing.assert_array_equal(arrays["phase"][::-1], scan.phase)
    np.testing.assert_array_equal(arrays["quaternion"][::-1], scan.orientations)
    cubic = scan.phase == 1
    expected = ipf_colour(scan.orientations[cubic], "Z", "m-3m")
    np.testing.assert_array_equal(arrays["IPF Z"][::-1][cubic], expected)
    corners = arrays["grain"][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert all(np.sum(arrays["grain"] == grain) == 1 for grain in corners)
    assert image.attrib["Spacing"] == "0.5 0.25 0.5"
    assert len(notes) == 1
    assert "5 degrees" in notes[0]


def test_other_frames_are_turned(tmp_path: Path, scan: EbsdMap) -> None:
    turned = in_frame(scan.orientations, scan.frame, TSL)
    write_vti(tmp_path / "a.vti", replace(scan, orientations=turned, frame=TSL))
    quaternions = read_vti(tmp_path / "a.vti")[0]["quaternion"][::-1]
    np.testing.assert_allclose(np.abs(np.sum(quaternions * scan.orientations, axis=-1)), 1, atol=1e-12)


def test_unindexed_pixels_are_black_and_of_no_grain(tmp_path: Path, scan: EbsdMap) -> None:
    indexed = scan.indexed.copy()
    indexed[3, 5] = False
    write_vti(tmp_path / "a.vti", replace(scan, indexed=indexed))
    arrays, _ = read_vti(tmp_path / "a.vti")
    here = (scan.phase.shape[0] - 1 - 3, 5)
    assert arrays["phase"][here] == arrays["grain"][here] == -1
    assert not arrays["IPF Z"][here].any()
    assert np.sum(arrays["phase"] == -1) == 1
