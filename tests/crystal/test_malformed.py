"""Broken and hostile scans: one line that names the file and its fault, no other exception, no warning."""

import os
import re
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from microgen_jax.errors import UserError
from tests.crystal.conftest import fault_of


def text_case(kind, change):
    """A written file with its text changed by `change(text) -> text or bytes`."""

    def make(folder, writers, truth):
        path = writers[kind](folder / "scan", truth)
        changed = change(path.read_text())
        path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
        return path

    return make


def h5_case(kind, change):
    """A written HDF5 file changed by `change(file, folder)`."""

    def make(folder, writers, truth):
        path = writers[kind](folder / "scan", truth)
        with h5py.File(path, "r+") as file:
            change(file, folder)
        return path

    return make


def raw_case(name, content):
    def make(folder, writers, truth):
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def header_only(text):
    return "\n".join(line for line in text.splitlines() if line.startswith("#"))


def cut_line(text):
    return text[: len(text) - 40]


def cut_rows(text):
    lines = text.splitlines()
    return "\n".join(lines[:-13])


def without(word):
    return lambda text: "\n".join(line for line in text.splitlines() if word not in line)


def swap(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new)

    return change


def replace_data(path, value, **options):
    def change(file, folder):
        del file[path]
        if value is not None:
            file.create_dataset(path, data=value, **options)

    return change


def put_link(path, link):
    def change(file, folder):
        del file[path]
        file[path] = link

    return change


def outside_group(file, folder):
    """A sound scan in another file, linked to: a reader that followed it would succeed."""
    with h5py.File(folder / "other.h5", "w") as other:
        file.copy("Scan 1/EBSD", other, "EBSD")
    del file["Scan 1/EBSD"]
    file["Scan 1/EBSD"] = h5py.ExternalLink("other.h5", "/EBSD")


def outside_storage(file, folder):
    (folder / "raw.bin").write_bytes(bytes(54 * 4))
    del file["Scan 1/EBSD/Data/Phi1"]
    file.create_dataset(
        "Scan 1/EBSD/Data/Phi1", (54,), "f4", external=[(str(folder / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
    )


def outside_virtual(file, folder):
    layout = h5py.VirtualLayout((54,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "Phi1", (54,))
    del file["Scan 1/EBSD/Data/Phi1"]
    file.create_virtual_dataset("Scan 1/EBSD/Data/Phi1", layout)


def ragged(file, folder):
    del file["Scan 1/EBSD/Data/Phi1"]
    data = file.create_dataset("Scan 1/EBSD/Data/Phi1", (54,), h5py.vlen_dtype("f4"))
    data[0] = np.ones(3, "f4")


def references(file, folder):
    del file["Scan 1/EBSD/Data/Phi1"]
    data = file.create_dataset("Scan 1/EBSD/Data/Phi1", (54,), h5py.ref_dtype)
    data[0] = file["Scan 1"].ref


def unstored(file, folder):
    del file["Scan 1/EBSD/Data/Phi1"]
    file.create_dataset("Scan 1/EBSD/Data/Phi1", (2**60,), "f8", chunks=(2**16,))


def bomb(file, folder):
    del file["Scan 1/EBSD/Data/Phase"]
    file.create_dataset(
        "Scan 1/EBSD/Data/Phase", data=np.zeros(30_000_000, "i1"), chunks=(3_000_000,), compression="gzip"
    )


def huge_chunk(file, folder):
    del file["Scan 1/EBSD/Data/Phi1"]
    options = {"maxshape": (None,), "chunks": (2**28,), "compression": "gzip", "dtype": "f4"}
    file.create_dataset("Scan 1/EBSD/Data/Phi1", (54,), **options)


def crc_case(change):
    def make(folder, writers, truth):
        path = writers["cpr"](folder / "scan", truth)
        change(path.with_suffix(".crc"))
        return path

    return make


def ring_of_links(folder, writers, truth):
    (folder / "a.ang").symlink_to(folder / "b.ang")
    (folder / "b.ang").symlink_to(folder / "a.ang")
    return folder / "a.ang"


def pipe(folder, writers, truth):
    os.mkfifo(folder / "pipe.ang")
    return folder / "pipe.ang"


def directory(folder, writers, truth):
    (folder / "folder.h5").mkdir()
    return folder / "folder.h5"


DATA = "Scan 1/EBSD/Data"
CASES = {  # name: (maker, what the line says)
    "no file": (lambda folder, writers, truth: folder / "none.ang", "does not exist"),
    "a folder": (directory, "no regular file"),
    "a pipe": (pipe, "no regular file"),
    "links in a ring": (ring_of_links, "does not exist"),
    "unknown suffix": (raw_case("scan.osc", b"x"), "no known EBSD format"),
    "control signs in the name": (raw_case("a\nb\x1b.ang", b""), "is empty"),
    "empty ang": (raw_case("a.ang", b""), "is empty"),
    "empty ctf": (raw_case("a.ctf", b""), "is empty"),
    "empty h5": (raw_case("a.h5", b""), "no sound HDF5"),
    "blank lines": (raw_case("a.ang", b"\n \n" * 99), "is empty"),
    "bytes of zero": (raw_case("a.ang", bytes(99)), "names no phase"),
    "one endless line": (raw_case("a.ang", b"7" * 300_000), "more than 65536 characters"),
    "endless header": (raw_case("a.ang", b"# x\n" * 30_000), "lines of header"),
    "an image called ang": (raw_case("a.ang", b"\x89PNG\r\n\x1a\n" + bytes(range(256))), "names no phase"),
    "UTF-16": (text_case("ctf", lambda text: text.encode("utf-16")), "UTF-16"),
    "text called h5": (raw_case("a.h5", b"# Phase 1\n"), "no sound HDF5"),
    "ang header only": (text_case("ang", header_only), "holds a header but no points"),
    "ang no phase": (
        text_case("ang", lambda text: without("MaterialName")(without("# Phase")(text))),
        "no phase",
    ),
    "ang no symmetry": (text_case("ang", without("Symmetry")), "no '# Symmetry' line"),
    "ang strange symmetry": (text_case("ang", swap("Symmetry 43", "Symmetry 99")), "99"),
    "ang same phase twice": (text_case("ang", swap("# Phase 2", "# Phase 1")), "same number"),
    "ang phase not named": (text_case("ang", swap(" 2 1 0.500", " 7 1 0.500")), "phase 7"),
    "ang cut inside a line": (text_case("ang", cut_line), "row 54 has 4 columns where 5 are needed"),
    "ang cut between lines": (text_case("ang", cut_rows), "cut off"),
    "ang word in the table": (text_case("ang", lambda text: _column(text, 2, "O.5")), "O.5"),
    "ang NaN positions": (text_case("ang", lambda text: _column(text, 3, "nan")), "position"),
    "ang infinite positions": (text_case("ang", lambda text: _column(text, 4, "inf")), "position"),
    "ang random positions": (text_case("ang", lambda text: _column(text, 3, None)), "no regular grid|strewn"),
    "ang angles in degrees": (
        text_case("ang", lambda text: _column(text, 0, "359.0")),
        "Euler angles reach 359",
    ),
    "ang too narrow": (text_case("ang", lambda text: _narrow(text)), "8 or more"),
    "ctf header only": (text_case("ctf", lambda text: text[: text.index("BS") + 2]), "no points"),
    "ctf no column line": (text_case("ctf", swap("Euler1\t", "E1\t")), "but no points|header"),
    "ctf no phase": (text_case("ctf", without("Phases")), "no phase"),
    "ctf no phase listed": (text_case("ctf", without("3.2;3.2")), "no phase"),
    "ctf Laue group 12": (text_case("ctf", swap("Nickel\t11", "Nickel\t12")), "12"),
    "ctf two Euler2": (text_case("ctf", swap("Euler3", "Euler2")), "columns called Euler"),
    "ctf phase 1.5": (text_case("ctf", lambda text: text.replace("\n1\t", "\n1.5\t")), "whole numbers"),
    "ctf volume": (text_case("ctf", lambda text: _volume(text)), "several slices"),
    "cpr no crc": (crc_case(lambda crc: crc.unlink()), "scan.crc"),
    "crc cut inside a record": (
        crc_case(lambda crc: crc.write_bytes(crc.read_bytes()[:-5])),
        "whole records",
    ),
    "crc cut between records": (
        crc_case(lambda crc: crc.write_bytes(crc.read_bytes()[:-36])),
        "promises 9 x 6",
    ),
    "crc empty": (crc_case(lambda crc: crc.write_bytes(b"")), "promises 9 x 6"),
    "cpr wrong counts": (text_case("cpr", swap("xCells=9", "xCells=8")), "promises 8 x 6"),
    "cpr a billion fields": (text_case("cpr", swap("Count=5", "Count=99999999")), "fields"),
    "cpr no Euler angles": (text_case("cpr", swap("Field2=4", "Field2=8")), "Euler"),
    "cpr a field twice": (text_case("cpr", swap("Field2=4", "Field2=3")), "twice"),
    "cpr no phase": (text_case("cpr", swap("[Phase", "[Fase")), "no phase"),
    "h5 cut at half": (
        lambda folder, writers, truth: _cut(writers["edax"](folder / "scan", truth), 0.5),
        "HDF5",
    ),
    "h5 other group": (
        h5_case("edax", lambda file, folder: file.move("Scan 1/EBSD", "Scan 1/EDS")),
        "no scan",
    ),
    "h5 external link": (h5_case("edax", outside_group), "links are not followed"),
    "h5 dangling external link": (
        h5_case("edax", put_link(f"{DATA}/Phi1", h5py.ExternalLink("/etc/passwd", "/"))),
        "links are not followed",
    ),
    "h5 soft link to itself": (
        h5_case("edax", put_link(f"{DATA}/Phi1", h5py.SoftLink(f"/{DATA}/Phi1"))),
        "links are not followed",
    ),
    "h5 external storage": (h5_case("edax", outside_storage), "in another file"),
    "h5 virtual data set": (h5_case("edax", outside_virtual), "in another file"),
    "h5 strings for angles": (
        h5_case("edax", replace_data(f"{DATA}/Phi1", ["x"] * 54)),
        "plain numbers are needed",
    ),
    "h5 ragged angles": (h5_case("edax", ragged), "plain numbers are needed"),
    "h5 references for angles": (h5_case("edax", references), "plain numbers are needed"),
    "h5 no angles": (h5_case("edax", lambda file, folder: file.pop(f"{DATA}/Phi1")), "no data set"),
    "h5 compound": (
        h5_case("edax", replace_data(f"{DATA}/Phi1", np.zeros(54, [("a", "f4")]))),
        "plain numbers are needed",
    ),
    "h5 2^60 numbers": (h5_case("edax", unstored), "more than the file can hold"),
    "h5 compressed bomb": (h5_case("edax", bomb), "more than the file can hold"),
    "h5 chunk of 1 GiB": (h5_case("edax", huge_chunk), "stores too few|chunks of"),
    "h5 short column": (h5_case("edax", replace_data(f"{DATA}/Phi1", np.zeros(53, "f4"))), "53 Phi1"),
    "h5 short phase": (
        h5_case("edax", replace_data(f"{DATA}/Phase", np.zeros(5, "i1"))),
        "5 values of Phase",
    ),
    "h5 empty column": (h5_case("edax", replace_data(f"{DATA}/Phi1", np.zeros(0, "f4"))), "no values"),
    "h5 null column": (h5_case("edax", replace_data(f"{DATA}/Phi1", h5py.Empty("f4"))), "no values"),
    "h5 no phases": (h5_case("edax", lambda file, folder: file.pop("Scan 1/EBSD/Header/Phase")), "no phase"),
    "h5 wrong counts": (
        h5_case("oxford", replace_data("1/EBSD/Header/X Cells", np.array([10]))),
        "promises 10 x 6",
    ),
    "h5oina Euler of one column": (
        h5_case("oxford", replace_data("1/EBSD/Data/Euler", np.zeros(54))),
        "three Euler angles",
    ),
    "h5oina Laue group 0": (
        h5_case("oxford", replace_data("1/EBSD/Header/Phases/1/Laue Group", np.array([0]))),
        "Laue group number 0",
    ),
    "orix no point group": (
        h5_case("orix", replace_data("crystal_map/header/phases/1/point_group", np.array([b"None"]))),
        "space group 0",
    ),
    "orix strange point group": (
        h5_case("orix", replace_data("crystal_map/header/phases/1/point_group", np.array([b"m\n\x1bx"]))),
        "unknown Laue group 'm.n",
    ),
    "dream3d volume": (
        h5_case(
            "dream3d", replace_data("DataContainers/Scan/_SIMPL_GEOMETRY/DIMENSIONS", np.array([9, 3, 2]))
        ),
        "2 slices",
    ),
    "dream3d wrong counts": (
        h5_case(
            "dream3d", replace_data("DataContainers/Scan/_SIMPL_GEOMETRY/DIMENSIONS", np.array([9, 5, 1]))
        ),
        "promises 9 x 5",
    ),
    "dream3d no structures": (
        h5_case("dream3d", lambda file, folder: file.pop("DataContainers/Scan/CellEnsembleData")),
        "no phase",
    ),
    "dream3d structure 42": (
        h5_case(
            "dream3d",
            replace_data("DataContainers/Scan/CellEnsembleData/CrystalStructures", np.array([999, 42, 1])),
        ),
        "42",
    ),
    "text without names": (raw_case("a.txt", b"1 2 3 4 5\n" * 9), "names no column"),
    "text of prose": (raw_case("a.txt", b"Dear reader,\n" * 9), "holds a header but no points"),
    "text header only": (text_case("tsl text", header_only), "no points"),
    "text cut inside a line": (text_case("mtex text", cut_line), "columns"),
}


def _column(text, column, value):
    """Sets a column of an .ang table to a value, or to noise."""
    rng = np.random.default_rng(0)
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("#"):
            words = line.split()
            words[column] = value or f"{rng.random():.7f}"
            if column == 0:
                words[6] = "0.5"
            lines[i] = " ".join(words)
    return "\n".join(lines)


def _narrow(text):
    lines = text.splitlines()
    return "\n".join(line if line.startswith("#") else " ".join(line.split()[:7]) for line in lines)


def _volume(text):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    lines[start:] = [f"{line}\t{i % 2}" for i, line in enumerate(lines[start:])]
    lines[start] = lines[start].rpartition("\t")[0] + "\tZ"
    return "\n".join(lines)


def _cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_scan_gives_one_line(name, writers, truth, tmp_path):
    make, said = CASES[name]
    path = make(tmp_path, writers, truth)
    tracemalloc.start()
    start = time.monotonic()
    fault = fault_of(path)
    seconds, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 3e7
    assert fault is not None, "was read"
    assert fault.isprintable()
    assert len(fault) < 1000
    assert fault.startswith(UserError(str(path), "damaged").where)
    assert re.search(said, fault), fault


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 75
