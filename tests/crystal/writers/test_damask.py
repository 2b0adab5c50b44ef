from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.readers.points import Phase
from microgen_jax.crystal.writers.damask import write_damask
from microgen_jax.errors import UserError
from tests.crystal.writers.vti_cells import read_vti


def test_every_cell_has_its_phase_and_orientation(tmp_path: Path, scan: EbsdMap) -> None:
    notes = write_damask(tmp_path / "case", scan)
    arrays, image = read_vti(tmp_path / "case" / "geom.vti")
    configuration = yaml.safe_load((tmp_path / "case" / "material.yaml").read_text())
    entries = [entry["constituents"][0] for entry in configuration["material"]]
    assert list(arrays) == ["material"]
    assert arrays["material"].dtype == np.int32
    material = arrays["material"][::-1]
    assert material[0, 0] == 0
    assert material.max() + 1 == len(entries) == 44
    names = {phase.id: phase.name for phase in scan.phases}
    written = np.array([entry["O"] for entry in entries])[material]
    np.testing.assert_allclose(written * [1, -1, -1, -1], scan.orientations, atol=1e-15)
    assert [entries[i]["phase"] for i in material.ravel()] == [names[i] for i in scan.phase.ravel()]
    assert set(configuration["phase"]) == set(names.values())
    assert {entry["homogenization"] for entry in configuration["material"]} == set(
        configuration["homogenization"]
    )
    np.testing.assert_allclose(
        [float(step) for step in image.attrib["Spacing"].split()], [5e-7, 2.5e-7, 5e-7]
    )
    assert "no properties" in notes[0]


def test_what_a_solver_cannot_take_is_refused(tmp_path: Path, scan: EbsdMap) -> None:
    indexed = scan.indexed.copy()
    indexed[0, :3] = False
    narrow = {name: getattr(scan, name)[:, :1] for name in ("orientations", "phase", "indexed")}
    wrong = (
        (replace(scan, indexed=indexed), "3 pixels are not indexed"),
        (replace(scan, **narrow), "one column"),
        (replace(scan, unit="inch"), "'inch'"),
    )
    for bad, problem in wrong:
        with pytest.raises(UserError) as error:
            write_damask(tmp_path / "case", bad)
        assert error.value.where == "scan"
        assert problem in error.value.problem
    assert not list(tmp_path.iterdir())


def test_other_files_of_the_folder_stay(tmp_path: Path, scan: EbsdMap) -> None:
    folder = tmp_path / "case.damask"
    folder.mkdir()
    (folder / "load.yaml").write_text("loadstep: []")
    (folder / "geom.vti").write_text("old")
    write_damask(folder, scan)
    assert sorted(file.name for file in folder.iterdir()) == ["geom.vti", "load.yaml", "material.yaml"]
    assert (folder / "load.yaml").read_text() == "loadstep: []"
    assert "material" in read_vti(folder / "geom.vti")[0]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, scan: EbsdMap) -> None:
    path = tmp_path / "case.damask"
    path.write_text("mine")
    with pytest.raises(UserError) as error:
        write_damask(path, scan)
    assert error.value.where == str(path)
    assert "is a file" in error.value.problem
    assert path.read_text() == "mine"


def test_phases_of_one_name_stay_apart(tmp_path: Path, scan: EbsdMap) -> None:
    phases = (Phase(1, "Iron", "m-3m"), Phase(2, "Iron", "6/mmm"), Phase(3, "Iron", "6/mmm"))
    phase = scan.phase.copy()
    phase[20, 20:30] = 3
    notes = write_damask(tmp_path / "case", replace(scan, phase=phase, phases=phases))
    configuration = yaml.safe_load((tmp_path / "case" / "material.yaml").read_text())
    assert set(configuration["phase"]) == {"Iron", "Iron (6/mmm)", "Iron (6/mmm) (3)"}
    assert "phase 2 is named 'Iron (6/mmm)', as another has its name" in notes
