"""Written maps as other people's software reads them. Not part of the plain suite.

python -m pytest -m reference tests/crystal/writers -s      makes an environment with the readers, minutes
MICROGEN_READERS_PYTHON=... python -m pytest ...            takes one that has them

docs/formats.md keeps the lines that a run printed.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from microgen_jax import write_map
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import conjugate, from_axis_angle, multiply, to_matrix
from microgen_jax.crystal.readers.dream3d import FRAME as DREAM3D
from microgen_jax.crystal.readers.points import OXFORD, TSL, Frame, Phase

READERS = ("damask==3.1.0", "vtk==9.7.2", "orix==0.15.0", "defdap==1.3.0")
THIRTY = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.radians(30))
CORNERS = ([0, 0, -1, -1], [0, -1, 0, -1])

DAMASK = """
import sys
import damask, numpy as np
path = sys.argv[1]
if path.endswith(".dream3d"):
    grid = damask.GeomGrid.load_DREAM3D(path)
    config = damask.ConfigMaterial.load_DREAM3D(
        path, cell_ensemble_data="Cell Ensemble Data", phase_names="MaterialName")
else:
    grid = damask.GeomGrid.load(path + "/geom.vti")
    config = damask.ConfigMaterial.load(path + "/material.yaml")
entries = [entry["constituents"][0] for entry in config["material"]]
matrices = damask.Rotation(np.array([entry["O"] for entry in entries])).as_matrix()
cells = grid.material[:, :, 0].T
found = dict(matrices=matrices[cells], size=grid.size, cells=grid.cells,
             phase=np.array([str(entry["phase"]) for entry in entries])[cells])
version = "damask " + damask.__version__
"""
VTK = """
import sys
import numpy as np, vtk
from vtk.util.numpy_support import vtk_to_numpy
reader = vtk.vtkXMLImageDataReader()
reader.SetFileName(sys.argv[1])
reader.Update()
image = reader.GetOutput()
width, height, _ = (n - 1 for n in image.GetDimensions())
data = image.GetCellData()
names = [data.GetArrayName(i) for i in range(data.GetNumberOfArrays())]
version = "vtk " + vtk.VTK_VERSION
found = dict(spacing=image.GetSpacing(), **{
    name: vtk_to_numpy(data.GetArray(name)).reshape(height, width, -1)[::-1] for name in names})
"""
ORIX = """
import sys
import numpy as np, orix
from orix.io import load
xmap = load(sys.argv[1])
version = "orix " + orix.__version__
phases = [(i, phase.name, phase.point_group.laue.name) for i, phase in xmap.phases if i >= 0]
found = dict(quaternions=xmap.rotations.data.reshape(*xmap.shape, -1), phase=xmap.phase_id.reshape(xmap.shape),
             steps=[xmap.dy, xmap.dx], unit=xmap.scan_unit, ids=[p[0] for p in phases],
             names=[p[1] for p in phases], groups=[p[2] for p in phases])
"""
DEFDAP = """
import sys
from importlib.metadata import version as of
import pathlib
import numpy as np
from defdap.file_readers import EBSDDataLoader
from defdap.quat import Quat
path = pathlib.Path(sys.argv[1])
loader = EBSDDataLoader.get_loader(None, path)
loader.load(path)
phases = loader.loaded_metadata["phases"]
angles = loader.loaded_data.euler_angle
matrices = [q.rot_matrix() for q in Quat.create_many_quats(angles.astype(float)).ravel()]
version = "defdap " + of("defdap")
found = dict(matrices=np.array(matrices).reshape(*angles.shape[1:], 3, 3), phase=loader.loaded_data.phase,
             step=loader.loaded_metadata["step_size"], names=[p.name for p in phases],
             groups=[int(p.laue_group) for p in phases])
"""
REPORT = """
print(version, {name: np.shape(value) for name, value in found.items()})
np.savez(sys.argv[2], **found)
"""


@pytest.fixture(scope="module")
def readers_python(tmp_path_factory) -> str:
    if given := os.environ.get("MICROGEN_READERS_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("reference") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", *READERS], check=True)
    return str(folder / "bin" / "python")


def read_by(python: str, script: str, path: Path) -> dict[str, np.ndarray]:
    out = path.with_suffix(".found.npz")
    line = [python, "-c", script + REPORT, str(path), str(out)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"\n{path.suffix}: {done.stdout.strip().splitlines()[-1]}")
    with np.load(out) as found:
        return dict(found)


def in_vendor_frames(scan: EbsdMap, frame: Frame) -> np.ndarray:
    """Rotation matrices [H, W, 3, 3] in a vendor's frames: x of hexagonal crystals along a or a*."""
    orientations = in_frame(scan.orientations, scan.frame, frame)
    if frame.crystal_x == "a*":
        hexagonal = scan.phase == 2
        orientations[hexagonal] = multiply(conjugate(THIRTY), orientations[hexagonal])
    return to_matrix(orientations)


def largest_angle(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Largest angle in degrees between rotation matrices where asked for, with that of the corners printed."""
    away = np.degrees(2 * np.arcsin(np.minimum(np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8), 1)))
    corners = away[CORNERS][where[CORNERS]]
    print(f"largest angle {away[where].max():.1e} deg, corners {corners.max():.1e} deg, {where.sum()} points")
    return float(away[where].max())


@pytest.mark.reference
@pytest.mark.parametrize(("suffix", "frame"), [(".ang", TSL), (".ctf", OXFORD)])
def test_orix_reads_text_scans(
    tmp_path: Path, measured: EbsdMap, readers_python: str, suffix: str, frame: Frame
) -> None:
    write_map(measured, tmp_path / f"a{suffix}")
    found = read_by(readers_python, ORIX, tmp_path / f"a{suffix}")
    matrices = to_matrix(found["quaternions"])
    assert largest_angle(matrices, in_vendor_frames(measured, frame), measured.indexed) < 0.01
    np.testing.assert_array_equal(found["phase"], measured.phase)
    np.testing.assert_allclose(found["steps"], measured.pixel_size)
    assert found["ids"].tolist() == [1, 2]
    names = [phase.name for phase in measured.phases]
    last_words = [name.split()[-1] for name in names]  # all that orix takes of a name in .ang
    assert found["names"].tolist() == (last_words if suffix == ".ang" else names)
    assert found["groups"].tolist() == [phase.laue_group for phase in measured.phases]
    assert str(found["unit"]) == "um"


def assert_defdap_found(found, measured: EbsdMap) -> None:
    assert largest_angle(found["matrices"], in_vendor_frames(measured, OXFORD), measured.indexed) < 0.01
    np.testing.assert_array_equal(found["phase"], np.where(measured.indexed, measured.phase, 0))
    assert found["step"] == measured.pixel_size[0]
    assert found["names"].tolist() == [phase.name for phase in measured.phases]
    assert found["groups"].tolist() == [11, 9]


@pytest.mark.reference
def test_defdap_reads_ctf(tmp_path: Path, measured: EbsdMap, readers_python: str) -> None:
    write_map(measured, tmp_path / "a.ctf")
    found = read_by(readers_python, DEFDAP, tmp_path / "a.ctf")
    assert_defdap_found(found, measured)


@pytest.mark.reference
def test_defdap_reads_h5oina(tmp_path: Path, measured: EbsdMap, readers_python: str) -> None:
    """DefDAP asks for two entries that the specification leaves to the program: they are added."""
    write_map(measured, tmp_path / "a.h5oina")
    with h5py.File(tmp_path / "a.h5oina", "r+") as file:
        file.create_group("1/Data Processing")
        for phase in (1, 2):
            file[f"1/EBSD/Header/Phases/{phase}/Space Group"] = np.array([0], np.int32)
    found = read_by(readers_python, DEFDAP, tmp_path / "a.h5oina")
    assert_defdap_found(found, measured)


@pytest.mark.reference
def test_defdap_brings_ang_and_ctf_into_one_frame(
    tmp_path: Path, measured: EbsdMap, readers_python: str
) -> None:
    """DefDAP turns TSL's frame into Oxford's; of symmetries it knows cubic alone."""
    phases = (Phase(1, "Nickel", "m-3m"), Phase(2, "Iron", "m-3m"))
    cubic = replace(measured, phases=phases)
    write_map(cubic, tmp_path / "a.ang")
    write_map(cubic, tmp_path / "a.ctf")
    ang, ctf = (read_by(readers_python, DEFDAP, tmp_path / f"a{suffix}") for suffix in (".ang", ".ctf"))
    assert largest_angle(ang["matrices"], ctf["matrices"], measured.indexed) < 0.01
    assert ang["names"].tolist() == ["Nickel", "Iron"]


@pytest.mark.reference
def test_damask_reads_the_folder(tmp_path: Path, scan: EbsdMap, readers_python: str) -> None:
    write_map(scan, tmp_path / "case.damask")
    found = read_by(readers_python, DAMASK, tmp_path / "case.damask")
    np.testing.assert_array_equal(found["cells"], [64, 40, 1])
    np.testing.assert_allclose(found["size"], [32e-6, 10e-6, 0.5e-6])
    where = np.ones(scan.phase.shape, bool)
    assert largest_angle(found["matrices"][::-1], to_matrix(scan.orientations), where) < 1e-6
    names = {phase.id: phase.name for phase in scan.phases}
    assert found["phase"][::-1].ravel().tolist() == [names[i] for i in scan.phase.ravel()]


@pytest.mark.reference
def test_damask_reads_dream3d(tmp_path: Path, measured: EbsdMap, readers_python: str) -> None:
    write_map(measured, tmp_path / "a.dream3d")
    found = read_by(readers_python, DAMASK, tmp_path / "a.dream3d")
    np.testing.assert_array_equal(found["cells"], [64, 40, 1])
    np.testing.assert_allclose(found["size"], [32, 20, 0.5])
    assert largest_angle(found["matrices"], in_vendor_frames(measured, DREAM3D), measured.indexed) < 0.01
    names = {-1: "Unknown"} | {phase.id: phase.name for phase in measured.phases}
    assert found["phase"].ravel().tolist() == [names[i] for i in measured.phase.ravel()]


@pytest.mark.reference
def test_vtk_reads_the_cells(tmp_path: Path, scan: EbsdMap, readers_python: str) -> None:
    write_map(scan, tmp_path / "a.vti")
    found = read_by(readers_python, VTK, tmp_path / "a.vti")
    where = np.ones(scan.phase.shape, bool)
    assert largest_angle(to_matrix(found["quaternion"]), to_matrix(scan.orientations), where) < 1e-6
    np.testing.assert_array_equal(found["phase"][..., 0], scan.phase)
    np.testing.assert_allclose(found["spacing"], [0.5, 0.25, 0.5])
    assert set(found) == {"spacing", "IPF Z", "quaternion", "phase", "grain"}
