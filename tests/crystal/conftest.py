"""Small scans of known content, written by code in every format that `read_map` knows."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from microgen_jax.crystal.maps import read_map
from microgen_jax.errors import UserError

TSL = {"m-3m": 43, "6/mmm": 62, "6/m": 6, "-3m": 32, "-3": 3}
CHANNEL = {"m-3m": 11, "6/mmm": 9, "6/m": 8, "-3m": 7, "-3": 6}
EBSDLIB = {"m-3m": 1, "6/mmm": 0}


class Truth(NamedTuple):
    """A scan of 6 rows and 9 columns, two phases and three points that are not indexed."""

    euler: np.ndarray  # rad [H, W, 3]
    phase: np.ndarray  # [H, W], 0 where not indexed
    step: float
    phases: tuple[tuple[str, str], ...]  # name and Laue group of phases 1, 2, ...


@pytest.fixture(scope="session")
def truth() -> Truth:
    rng = np.random.default_rng(3)
    euler = np.round(rng.random((6, 9, 3)) * [2 * np.pi, np.pi, 2 * np.pi], 5)
    phase = rng.integers(1, 3, (6, 9))
    phase[[0, 2, 5], [8, 3, 0]] = 0
    euler[phase == 0] = 0
    return Truth(euler, phase, 0.5, (("Nickel", "m-3m"), ("Magnesium", "6/mmm")))


def positions(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices(truth.phase.shape) * truth.step
    return x.ravel(), y.ravel()


def oxford_euler(truth: Truth) -> np.ndarray:
    """The angles as Oxford writes them: its x of hexagonal crystals lies along a*, so that phi2 is 30 deg more."""
    hexagonal = [number for number, (_, group) in enumerate(truth.phases, 1) if group != "m-3m"]
    turn = np.where(np.isin(truth.phase, hexagonal), np.radians(30), 0.0)
    return truth.euler + np.stack([0 * turn, 0 * turn, turn], axis=-1)


def write_ang(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    lines = ["# TEM_PIXperUM 1.0", "# x-star 0.5", "#"]
    for i, (name, group) in enumerate(truth.phases, start=1):
        lines += [f"# Phase {i}", f"# MaterialName \t{name}", f"# Symmetry {TSL[group]}", "#"]
    lines += ["# GRID: SqrGrid", f"# XSTEP: {truth.step}", f"# YSTEP: {truth.step}"]
    lines += [f"# NCOLS_ODD: {width}", f"# NCOLS_EVEN: {width}", f"# NROWS: {height}", "#"]
    for angles, phase, x, y in zip(truth.euler.reshape(-1, 3), truth.phase.ravel(), *positions(truth)):
        angles, confidence = (angles, 0.5) if phase else (np.full(3, 4 * np.pi), -1)
        turns = " ".join(f"{angle:9.5f}" for angle in angles)
        lines.append(f"{turns} {x:12.5f} {y:12.5f} 100.0 {confidence:6.3f} {phase} 1 0.500")
    path = path.with_suffix(".ang")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ctf(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    lines = ["Channel Text File", "Prj\ta.cpr", "Author\t", "JobMode\tGrid", f"XCells\t{width}"]
    lines += [f"YCells\t{height}", f"XStep\t{truth.step}", f"YStep\t{truth.step}", "AcqE1\t0", "AcqE2\t0"]
    lines += ["AcqE3\t0", "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t200\tKV\t15"]
    lines.append(f"Phases\t{len(truth.phases)}")
    for name, group in truth.phases:
        lines.append(f"3.2;3.2;5.1\t90;90;120\t{name}\t{CHANNEL[group]}\t0\t\t\t")
    lines.append("Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS")
    for angles, phase, x, y in zip(
        oxford_euler(truth).reshape(-1, 3), truth.phase.ravel(), *positions(truth)
    ):
        turns = "\t".join(f"{angle:.6f}" for angle in np.degrees(angles))
        lines.append(f"{phase}\t{x:.4f}\t{y:.4f}\t8\t{0 if phase else 3}\t{turns}\t0.5000\t98\t120")
    path = path.with_suffix(".ctf")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_cpr(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    lines = ["[General]", "Version=5.0", "JobMode=RegularGrid", "[Job]", f"GridDistX={truth.step}"]
    lines += [f"GridDistY={truth.step}", f"xCells={width}", f"yCells={height}", "[Acquisition Surface]"]
    lines += ["Euler1=0.0", "Euler2=0.0", "Euler3=0.0", "[Fields]", "Count=5"]
    lines += [f"Field{i}={field}" for i, field in enumerate((3, 4, 5, 7, 12), start=1)]
    lines += ["[Phases]", f"Count={len(truth.phases)}"]
    for i, (name, group) in enumerate(truth.phases, start=1):
        lines += [f"[Phase{i}]", f"StructureName={name}", f"LaueGroup={CHANNEL[group]}"]
    record = np.dtype([("phase", "u1"), ("euler", "<f4", 3), ("bc", "u1"), ("reliability", "<f4")])
    data = np.zeros(truth.phase.size, record)
    data["phase"], data["euler"] = truth.phase.ravel(), oxford_euler(truth).reshape(-1, 3)
    data.tofile(path.with_suffix(".crc"))
    path = path.with_suffix(".cpr")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_edax(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file[" Manufacturer"] = np.array([b"EDAX"])
        data, header = file.create_group("Scan 1/EBSD/Data"), file.create_group("Scan 1/EBSD/Header")
        for i, name in enumerate(("Phi1", "Phi", "Phi2")):
            data[name] = truth.euler[..., i].ravel().astype("f4")
        data["Phase"] = truth.phase.ravel().astype("i1")
        data["CI"] = np.where(truth.phase.ravel() > 0, 0.5, -1).astype("f4")
        data["X Position"], data["Y Position"] = (axis.astype("f4") for axis in positions(truth))
        header["Step X"] = header["Step Y"] = np.array([truth.step], ">f4")
        header["nRows"], header["nColumns"] = np.array([height], ">i4"), np.array([width], ">i4")
        header["Grid Type"] = np.array([b"SqrGrid"])
        for i, (name, group) in enumerate(truth.phases, start=1):
            header[f"Phase/{i}/MaterialName"] = np.array([name.encode()])
            header[f"Phase/{i}/Symmetry"] = np.array([TSL[group]], ">i4")
    return path


def write_oxford(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    path = path.with_suffix(".h5oina")
    with h5py.File(path, "w") as file:
        file["Manufacturer"] = "Oxford Instruments"
        data, header = file.create_group("1/EBSD/Data"), file.create_group("1/EBSD/Header")
        data["Euler"] = oxford_euler(truth).reshape(-1, 3).astype("f4")
        data["Phase"] = truth.phase.reshape(-1, 1).astype("u1")
        header["X Cells"], header["Y Cells"] = np.array([width], "i4"), np.array([height], "i4")
        header["X Step"] = header["Y Step"] = np.array([truth.step], "f4")
        header["Specimen Orientation Euler"] = np.zeros((1, 3), "f4")
        for i, (name, group) in enumerate(truth.phases, start=1):
            header[f"Phases/{i}/Phase Name"] = name
            header[f"Phases/{i}/Laue Group"] = np.array([CHANNEL[group]], "i4")
    return path


def write_orix(path: Path, truth: Truth) -> Path:
    path = path.with_suffix(".hdf5")
    with h5py.File(path, "w") as file:
        data, header = file.create_group("crystal_map/data"), file.create_group("crystal_map/header")
        for i, name in enumerate(("phi1", "Phi", "phi2")):
            data[name] = truth.euler[..., i].ravel()
        data["phase_id"] = np.where(truth.phase.ravel() > 0, truth.phase.ravel(), -1)
        data["is_in_data"] = np.ones(truth.phase.size, bool)
        data["x"], data["y"] = positions(truth)
        header["x_step"] = header["y_step"] = np.array([truth.step])
        header["scan_unit"] = np.array([b"um"])
        for i, (name, group) in enumerate(truth.phases, start=1):
            header[f"phases/{i}/name"] = np.array([name.encode()])
            header[f"phases/{i}/point_group"] = np.array([b"432" if group == "m-3m" else b"622"])
            header[f"phases/{i}/space_group"] = np.array([b"None"])
    return path


def write_dream3d(path: Path, truth: Truth, version: int = 6) -> Path:
    height, width = truth.phase.shape
    path = path.with_suffix(".dream3d")
    with h5py.File(path, "w") as file:
        root = file.create_group("DataContainers" if version < 7 else "DataStructure").create_group("Scan")
        if version < 7:
            root["_SIMPL_GEOMETRY/DIMENSIONS"] = np.array([width, height, 1])
            root["_SIMPL_GEOMETRY/SPACING"] = np.array([truth.step, truth.step, 1], "f4")
        else:
            root.attrs["_DIMENSIONS"] = np.array([width, height, 1], "u8")
            root.attrs["_SPACING"] = np.array([truth.step, truth.step, 1], "f4")
        root["CellData/EulerAngles"] = truth.euler[None].astype("f4")
        root["CellData/Phases"] = truth.phase[None, ..., None].astype("i4")
        groups = [999, *(EBSDLIB[group] for _, group in truth.phases)]
        root["CellEnsembleData/CrystalStructures"] = np.array(groups, "u4")[:, None]
        root["CellEnsembleData/MaterialName"] = ["Unknown", *(name for name, _ in truth.phases)]
    return path


def write_bruker(path: Path, truth: Truth) -> Path:
    height, width = truth.phase.shape
    path = path.with_suffix(".h5")
    order = np.random.default_rng(0).permutation(truth.phase.size)  # SEM says where a point lies
    with h5py.File(path, "w") as file:
        file["Manufacturer"] = "Bruker Nano"
        data, header = file.create_group("Scan 0/EBSD/Data"), file.create_group("Scan 0/EBSD/Header")
        for i, name in enumerate(("phi1", "PHI", "phi2")):
            data[name] = np.degrees(oxford_euler(truth)[..., i]).ravel()[order].astype("f4")
        data["Phase"] = truth.phase.ravel()[order].astype("i4")
        data["MAD"] = np.where(truth.phase.ravel() > 0, 0.5, 0).astype("f4")[order]
        y, x = np.indices(truth.phase.shape).reshape(2, -1)
        file["Scan 0/SEM/IX"], file["Scan 0/SEM/IY"] = x[order], y[order]
        header["NCOLS"], header["NROWS"] = width, height
        header["XSTEP"] = header["YSTEP"] = truth.step
        for i, (name, group) in enumerate(truth.phases, start=1):
            header[f"Phases/{i}/Name"] = name
            header[f"Phases/{i}/IT"] = {"m-3m": 225, "6/mmm": 194}[group]
    return path


def write_dream3d_8(path: Path, truth: Truth) -> Path:
    return write_dream3d(path, truth, version=8)


def write_tsl_text(path: Path, truth: Truth) -> Path:
    lines = [
        "# Header: Project::Grain",
        "#",
        "# Column 1-3: phi1, PHI, phi2 (orientation of point in radians)",
    ]
    lines += ["# Column 4-5: x, y (coordinates of point in microns)", "# Column 6:   IQ (image quality)"]
    lines += ["# Column 7:   CI (confidence index)", "# Column 8:   Fit (degrees)"]
    lines += ["# Column 9:   phase (index identifying phase)"]
    for angles, phase, x, y in zip(truth.euler.reshape(-1, 3), truth.phase.ravel(), *positions(truth)):
        turns = " ".join(f"{angle:.5f}" for angle in angles)
        lines.append(f"{turns} {x:.5f} {y:.5f} 90.0 {0.4 if phase else -1} 0.7 {phase}")
    path = path.with_suffix(".txt")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_mtex_text(path: Path, truth: Truth) -> Path:
    lines = ["phi1, Phi, phi2, phase, bands, x, y"]
    for angles, phase, x, y in zip(truth.euler.reshape(-1, 3), truth.phase.ravel(), *positions(truth)):
        turns = ", ".join(f"{angle:.5f}" for angle in np.degrees(angles))
        lines.append(f"{turns}, {phase}, 8, {x:.5f}, {y:.5f}")
    path = path.with_suffix(".csv")
    path.write_text("\n".join(lines) + "\n")
    return path


WRITERS: dict[str, Callable[[Path, Truth], Path]] = {  # functions (path without suffix, truth) -> path
    "ang": write_ang,
    "ctf": write_ctf,
    "cpr": write_cpr,
    "edax": write_edax,
    "oxford": write_oxford,
    "orix": write_orix,
    "dream3d": write_dream3d,
    "dream3d 8": write_dream3d_8,
    "tsl text": write_tsl_text,
    "mtex text": write_mtex_text,
    "bruker": write_bruker,
}


@pytest.fixture(scope="session")
def writers() -> dict[str, Callable[[Path, Truth], Path]]:
    return WRITERS


def fault_of(path: Path) -> str | None:
    """The line of the UserError that reading a file ends in, None where it is read."""
    try:
        read_map(path)
    except UserError as fault:
        return str(fault)
    return None
