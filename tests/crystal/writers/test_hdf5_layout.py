"""The HDF5 formats as their specifications and the programs that read them ask for."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from microgen_jax import write_map
from microgen_jax.crystal.maps import EbsdMap

H, W = 40, 64
# Mandatory entries of the H5OINA file specification, section by section: path, type (str for H5T_STRING), shape.
H5OINA = {
    "Format Version": (str, (1,)),
    "Index": (str, (1,)),
    "1/EBSD/Data/Phase": (np.uint8, (H * W, 1)),
    "1/EBSD/Data/Euler": (np.float32, (H * W, 3)),
    "1/EBSD/Header/Project Label": (str, (1,)),
    "1/EBSD/Header/X Cells": (np.int32, (1,)),
    "1/EBSD/Header/Y Cells": (np.int32, (1,)),
    "1/EBSD/Header/X Step": (np.float32, (1,)),
    "1/EBSD/Header/Y Step": (np.float32, (1,)),
    "1/EBSD/Header/Stage Position/X": (np.float32, (1,)),
    "1/EBSD/Header/Stage Position/Y": (np.float32, (1,)),
    "1/EBSD/Header/Specimen Orientation Euler": (np.float32, (1, 3)),
    "1/EBSD/Header/Scanning Rotation Angle": (np.float32, (1,)),
} | {
    f"1/EBSD/Header/Phases/{phase}/{name}": found
    for phase in (1, 2)
    for name, found in {
        "Phase Name": (str, (1,)),
        "Reference": (str, (1,)),
        "Lattice Angles": (np.float32, (1, 3)),
        "Lattice Dimensions": (np.float32, (1, 3)),
        "Laue Group": (np.int32, (1,)),
    }.items()
}
OPTIONAL = {  # of the columns that are written
    "X": (np.float32, 1),
    "Y": (np.float32, 1),
    "Bands": (np.uint8, 1),
    "Error": (np.uint8, 1),
    "Mean Angular Deviation": (np.float32, 1),
    "Band Contrast": (np.uint8, 1),
    "Band Slope": (np.uint8, 1),
}
QUANTITIES = ("X Step", "Y Step", "Specimen Orientation Euler", "Scanning Rotation Angle", "Stage Position/X")


@pytest.fixture
def h5oina(tmp_path: Path, measured: EbsdMap):
    write_map(measured, tmp_path / "a.h5oina")
    with h5py.File(tmp_path / "a.h5oina") as file:
        yield file


def test_h5oina_has_what_is_mandatory(h5oina) -> None:
    for path, (kind, shape) in H5OINA.items():
        found = h5oina[path]
        assert found.shape == shape, path
        if kind is str:
            assert h5py.check_string_dtype(found.dtype).encoding == "utf-8", path
        else:
            assert found.dtype == kind, path


def test_h5oina_holds_the_map(h5oina, measured: EbsdMap) -> None:
    assert h5oina["Format Version"].asstr()[0] == "5.0"
    assert h5oina["Index"].asstr()[0] == "1"
    assert h5oina["Index"].attrs["Type"] == "Single"
    data, header = h5oina["1/EBSD/Data"], h5oina["1/EBSD/Header"]
    for name, (kind, columns) in OPTIONAL.items():
        assert (data[name].dtype, data[name].shape) == (kind, (H * W, columns))
    assert {*data} == {"Phase", "Euler", *OPTIONAL}
    assert data["Euler"].attrs["Unit"] == "rad"
    assert all("Unit" in header[name].attrs for name in QUANTITIES)
    phase = data["Phase"][:, 0].reshape(H, W)
    np.testing.assert_array_equal(phase, np.where(measured.indexed, measured.phase, 0))
    np.testing.assert_array_equal(data["Error"][:, 0].reshape(H, W) == 1, measured.indexed)
    euler = data["Euler"][:].astype(np.float64)
    assert euler.min() >= 0
    assert np.all(euler.max(axis=0) <= [2 * np.pi, np.pi, 2 * np.pi])
    groups = [header[f"Phases/{i}/Laue Group"] for i in (1, 2)]
    assert [(group[0], group.attrs["Symbol"]) for group in groups] == [(11, "m-3m"), (9, "6/mmm")]
    np.testing.assert_allclose(header["Phases/2/Lattice Angles"][0], np.radians([90, 90, 120]), rtol=1e-6)


def objects(group: h5py.Group) -> dict[str, h5py.Group | h5py.Dataset]:
    found = {}
    group.visititems(lambda name, thing: found.update({name: thing}))
    return found


def test_dream3d_has_what_simplnx_reads(tmp_path: Path, measured: EbsdMap) -> None:
    write_map(measured, tmp_path / "a.dream3d")
    with h5py.File(tmp_path / "a.dream3d") as file:
        assert file.attrs["FileVersion"] == b"8.0"
        found = objects(file["DataStructure"])
        ids = [int(thing.attrs["ObjectId"]) for thing in found.values()]
        assert len(set(ids)) == len(ids)
        assert file["DataStructure"].attrs["NextObjectId"] == max(ids) + 1
        assert all(thing.attrs["Importable"] == 1 for thing in found.values())
        image = found["ImageGeom"]
        np.testing.assert_array_equal(image.attrs["_DIMENSIONS"], np.array([W, H, 1], np.uint64))
        np.testing.assert_array_equal(image.attrs["_SPACING"], np.array([0.5, 0.5, 0.5], np.float32))
        np.testing.assert_array_equal(image.attrs["_ORIGIN"], np.zeros(3, np.float32))
        cells = found["ImageGeom/Cell Data"]
        assert image.attrs["Cell Data ID"] == cells.attrs["ObjectId"]
        kinds = {name: thing.attrs["ObjectType"] for name, thing in found.items()}
        assert kinds == {
            "ImageGeom": b"ImageGeom",
            "ImageGeom/Cell Data": b"AttributeMatrix",
            "ImageGeom/Cell Data/EulerAngles": b"DataArray<float32>",
            "ImageGeom/Cell Data/Phases": b"DataArray<int32>",
            "ImageGeom/Cell Data/Mask": b"DataArray<bool>",
            "ImageGeom/Cell Ensemble Data": b"AttributeMatrix",
            "ImageGeom/Cell Ensemble Data/CrystalStructures": b"DataArray<uint32>",
            "ImageGeom/Cell Ensemble Data/MaterialName": b"StringArray",
        }
        for matrix in (cells, found["ImageGeom/Cell Ensemble Data"]):
            tuples = matrix.attrs["TupleDims"].tolist()
            for name, array in matrix.items():
                assert np.atleast_1d(array.attrs["TupleDimensions"]).tolist() == tuples
                if name != "MaterialName":
                    assert array.shape == (*tuples, *array.attrs["ComponentDimensions"])
        np.testing.assert_array_equal(cells["Mask"][0, ..., 0], measured.indexed)
        assert found["ImageGeom/Cell Ensemble Data/CrystalStructures"][:, 0].tolist() == [999, 1, 0]
