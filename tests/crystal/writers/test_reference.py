"""Written maps as other people's software reads them. Not part of the plain suite.

python -m pytest -m reference tests/crystal/writers -s      makes an environment with damask and vtk, minutes
MICROGEN_READERS_PYTHON=... python -m pytest ...            takes one that has them
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.crystal.orientations import to_matrix
from microgen_jax.crystal.writers.damask import write_damask
from microgen_jax.crystal.writers.vti import write_vti

DAMASK = """
import sys
import damask, numpy as np
grid = damask.GeomGrid.load(sys.argv[1] + "/geom.vti")
config = damask.ConfigMaterial.load(sys.argv[1] + "/material.yaml")
entries = [entry["constituents"][0] for entry in config["material"]]
cells = grid.material[:, :, 0].T[::-1]
matrices = damask.Rotation(np.array([entry["O"] for entry in entries])).as_matrix()
print(damask.__version__, grid.cells, grid.size)
np.savez(sys.argv[2], matrices=matrices[cells], size=grid.size, cells=grid.cells,
         phase=np.array([entry["phase"] for entry in entries])[cells])
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
print(vtk.VTK_VERSION, names, image.GetBounds())
np.savez(sys.argv[2], spacing=image.GetSpacing(), **{
    name: vtk_to_numpy(data.GetArray(name)).reshape(height, width, -1)[::-1] for name in names})
"""


@pytest.fixture(scope="module")
def readers_python(tmp_path_factory) -> str:
    if given := os.environ.get("MICROGEN_READERS_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("reference") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", "damask==3.1.0", "vtk==9.7.2"], check=True)
    return str(folder / "bin" / "python")


def read_by(python: str, script: str, path: Path) -> dict[str, np.ndarray]:
    out = path.with_suffix(".npz")
    done = subprocess.run(
        [python, "-c", script, str(path), str(out)], check=True, capture_output=True, text=True
    )
    print("\n" + done.stdout.strip())
    with np.load(out) as found:
        return dict(found)


@pytest.mark.reference
def test_damask_reads_the_folder(tmp_path: Path, scan: EbsdMap, readers_python: str) -> None:
    write_damask(tmp_path / "case", scan)
    found = read_by(readers_python, DAMASK, tmp_path / "case")
    np.testing.assert_array_equal(found["cells"], [64, 40, 1])
    np.testing.assert_allclose(found["size"], [32e-6, 10e-6, 0.5e-6])
    np.testing.assert_allclose(found["matrices"], to_matrix(scan.orientations), atol=1e-12)
    names = {phase.id: phase.name for phase in scan.phases}
    assert found["phase"].ravel().tolist() == [names[i] for i in scan.phase.ravel()]


@pytest.mark.reference
def test_vtk_reads_the_cells(tmp_path: Path, scan: EbsdMap, readers_python: str) -> None:
    write_vti(tmp_path / "a.vti", scan)
    found = read_by(readers_python, VTK, tmp_path / "a.vti")
    np.testing.assert_array_equal(found["quaternion"], scan.orientations)
    np.testing.assert_array_equal(found["phase"][..., 0], scan.phase)
    np.testing.assert_allclose(found["spacing"], [0.5, 0.25, 0.5])
    assert set(found) == {"spacing", "IPF Z", "quaternion", "phase", "grain"}
