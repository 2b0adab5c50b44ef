"""One crystal frame for all vendors: colours of hexagonal and trigonal crystals against orix's."""

from pathlib import Path

import numpy as np
import pytest

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import read_map
from microgen_jax.crystal.symmetry import misorientation_angle
from tests.crystal import conftest
from tests.crystal.conftest import Truth

REFERENCE = Path(__file__).parents[1] / "fixtures" / "hexagonal_colours.npz"
VENDORS = {"ang": "edax", "edax": "edax", "ctf": "oxford", "cpr": "oxford", "oxford": "oxford"}


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("kind", VENDORS)
def test_both_vendors_angles_of_a_crystal_give_its_colours(kind, group, writers, tmp_path, monkeypatch):
    """The reference's angles come from lattice vectors; no rule of 30 degrees is in them."""
    stored = np.load(REFERENCE)
    monkeypatch.setattr(conftest, "oxford_euler", lambda truth: truth.euler)
    name = str(stored["groups"][group])
    euler = stored[VENDORS[kind]].reshape(6, 10, 3)
    truth = Truth(euler, np.ones((6, 10), int), 0.5, (("Crystal", name),))
    scan = read_map(writers[kind](tmp_path / "scan", truth))
    assert scan.frame.crystal_x == {"edax": "a", "oxford": "a*"}[VENDORS[kind]]
    assert any("turned by 30 deg" in note for note in scan.notes) == (VENDORS[kind] == "oxford")
    for direction, colours in zip("XYZ", stored["colours"][group]):
        drawn = ipf_colour(scan.orientations.reshape(-1, 4), direction, name, "tsl").astype(int)
        assert (np.abs(drawn - np.rint(255 * colours)).max(axis=-1) <= 1).all()


def test_cubic_crystals_have_one_custom(writers, truth, tmp_path):
    cubic = truth._replace(phases=(("Nickel", "m-3m"), ("Iron", "m-3m")))
    scans = [read_map(writers[kind](tmp_path / kind, cubic)) for kind in ("edax", "oxford")]
    np.testing.assert_allclose(scans[0].orientations, scans[1].orientations, atol=1e-6)
    assert not any("turned" in note for scan in scans for note in scan.notes)


def test_a_group_given_by_the_user_decides_too(writers, truth, tmp_path):
    path = writers["cpr"](tmp_path / "scan", truth._replace(phases=(("Ti", "6/mmm"), ("Mg", "6/mmm"))))
    named = read_map(path)
    path.write_text(path.read_text().replace("LaueGroup=9", "LaueGroup="))
    assert [phase.laue_group for phase in read_map(path).phases] == ["", ""]
    given = read_map(path, laue_group="6/mmm")
    np.testing.assert_array_equal(given.orientations, named.orientations)
    assert given.phases == named.phases


def test_the_field_pair_of_titanium_has_one_colour(shared):
    edax, oxford = (read_map(shared / "field/01_hex_convention" / f"ti_{name}")
                    for name in ("edax.ang", "oxford.ctf"))  # fmt: skip
    assert misorientation_angle(edax.orientations, oxford.orientations, "6/mmm").max() < 1e-4
