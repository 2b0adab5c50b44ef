"""Malformed and hostile inputs of every kind of source, each with what the one line must say.

A case lies in a folder of its own. Where `good` is above 0 there are so many sound images beside the fault,
and `on_bad_file='skip'` must leave just these; otherwise the input is refused in either way.
"""

import os
import zlib

import h5py
import numpy as np

from tests.crystal.conftest import write_cpr, write_ctf, write_edax
from tests.data.spoiling import (
    COLOUR,
    STACK,
    Case,
    beside,
    broken_chunk,
    bytes_of,
    chunk,
    cut,
    cut_zip,
    dataset,
    deep_folders,
    external_storage,
    flipped,
    group_ring,
    hdf5,
    huge_bmp,
    huge_jpeg,
    huge_tiff,
    image,
    link,
    link_beside,
    link_outside,
    linked,
    listed,
    member,
    npy,
    npz,
    npz_bytes,
    patched_zip,
    pipe,
    png,
    put,
    raw,
    ring_of_folders,
    ring_of_links,
    scan,
    sidecar,
    text_of,
    virtual,
    whole_hdf5,
    zip_of,
    zipped,
)


def cut_cases() -> dict[str, Case]:
    """Every format, cut off at random bytes."""
    rng = np.random.default_rng(7)
    cases = {}
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp")):
        for share in rng.random(3):
            cases[f"{suffix} cut at {share:.3f}"] = beside(cut(image(kind), share), "", suffix)
    for share in rng.random(3):
        cases[f"hdf5 cut at {share:.3f}"] = hdf5(cut(whole_hdf5(), share), "")
        cases[f"npz cut at {share:.3f}"] = npz(cut(npz_bytes(images=STACK), share), "")
        cases[f"zip cut at {share:.3f}"] = Case("folder", cut_zip(share), r"set\.zip")
        cases[f"ctf cut at {share:.3f}"] = scan(bytes_of(lambda b, s=share: cut(b, s)), "", write_ctf)
    return cases


NAN = np.full((20, 24), np.nan, np.float32)
CASES: dict[str, Case] = {
    "no such root": Case("folder", lambda folder: folder / "none", "no such file or folder"),
    "empty folder": Case("folder", lambda folder: folder, "data.root: .*(is empty|no PNG)"),
    "a text file for a root": raw("folder", "notes", b"text", "notes"),
    "an image for a root": raw("folder", "0.png", b"text", r"0\.png"),
    "a pipe for a root": Case("npz", pipe, r"a\.npz"),
    "text called png": beside(b"step,size\n", "not a PNG"),
    "gif called png": beside(image("GIF"), "not a PNG"),
    "empty png": beside(b"", "not a PNG"),
    "header of a png only": beside(image("PNG")[:33], "cut off"),
    "png without pixels": beside(png(20, 24), "cannot be decoded"),
    "png with a broken byte": beside(flipped(image("PNG"), 0.5), "cannot be decoded"),
    "png of 0 x 0 px": beside(png(0, 0), ""),
    "png of 60,000 x 60,000 px": beside(png(60_000, 60_000), "60000x60000 px|taken for a decompression bomb"),
    "tiff of 60,000 x 60,000 px": beside(huge_tiff(), "60000x60000 px|taken for a decompression bomb", "tif"),
    "bmp of 60,000 x 60,000 px": beside(huge_bmp(), "60000x60000 px|taken for a decompression bomb", "bmp"),
    "jpeg of 60,000 x 60,000 px": beside(huge_jpeg(), "60000x60000 px|taken for a decompression bomb", "jpg"),
    "png with a text that unpacks to 64 MiB": beside(
        png(20, 24, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**26)))), ""
    ),
    "tiff of NaN": beside(image("TIFF", NAN), "no numbers", "tif"),
    "tiff of floats to 510": beside(image("TIFF", COLOUR[..., 0] * np.float32(2)), "value_range", "tif"),
    "tiff of negative integers": beside(
        image("TIFF", COLOUR[..., 0].astype(np.int32) - 9), "integers from -9 to .*value_range", "tif"
    ),
    "link to outside": linked(link_outside, "outside"),
    "link to a folder beside": linked(link_beside, "outside"),
    "link to nowhere": linked(lambda root: (root / "a/bad.png").symlink_to("nothing.png"), "nowhere"),
    "link to itself": linked(lambda root: (root / "a/bad.png").symlink_to("bad.png"), "loop|nowhere"),
    "ring of links": linked(ring_of_links, "loop|nowhere"),
    "folders linked in a ring": linked(ring_of_folders, "not followed", r"[bc]/in")._replace(good=5),
    "folder linked to its root": linked(
        lambda root: (root / "a/again").symlink_to(root, target_is_directory=True), "not followed", "a/again"
    ),
    "sixty folders deep": linked(deep_folders, "folders deep", "d/.*"),
    "a pipe called png": linked(lambda root: os.mkfifo(root / "a/bad.png"), "no regular file"),
    "line feed in a name": linked(
        lambda root: put(root / "a/bad\n\x1b.png", b"x"), "not a PNG", r"a/bad *\.png"
    ),
    "a name that is no text": linked(
        lambda root: put(root / os.fsdecode(b"a/b\xffad.png"), b"x"), "not a PNG", r"a/b ad\.png"
    ),
    "list names the folder above": listed(
        "../outside.png\n0.png\n", r"\.\./outside\.png: outside the folder", 1
    ),
    "list names a root of its own": listed("/etc/passwd.png\n0.png\n", "passwd.png: outside the folder", 1),
    "list goes up inside": listed("x/../../outside.png\n0.png\n", "outside the folder", 1),
    "list names a link to outside": listed("link.png\n0.png\n", r"link\.png: ", 1),
    "list names a missing file": listed("9.png\n0.png\n", r"9\.png: named in the list", 1),
    "list names a broken file": listed("bad.png\n0.png\n", r"bad\.png: not a PNG", 1),
    "list names a line feed": listed('"x\ny.png"\n0.png\n', r"x y\.png: named in the list", 1),
    "list names a file twice": listed("0.png\n0.png\n", "twice"),
    "list names nothing that is there": listed("8.png\n9.png\n", "none of the 2 files"),
    "empty list": listed("", "empty"),
    "list of a header only": listed("file,class\n", "names no image"),
    "list of ragged rows": listed("0.png,a\n1.png\n", "row 2 has 1 columns"),
    "list with a NUL": listed("0.png\n1\0.png\n", "text file"),
    "list with an open quote": listed('0.png,"' + "x" * 200_000, r"list\.csv.* cannot be read as a table"),
    "image called csv": listed(image("PNG"), "text file"),
    "UTF-16 list without a mark": listed("0.png\n1.png\n".encode("utf-16-le"), "text file"),
    "sidecar that names no image": sidecar("file,strain\n9.png,1\n", "names no image"),
    "sidecar with two rows for one": sidecar("file,x\n0.png,1\na/0.png,2\n", "two rows"),
    "sidecar of a header only": sidecar("file,strain\n", "header"),
    "sidecar that is binary": sidecar(b"\0\1\2", "text file"),
    "text called h5": hdf5(b"maps", "not an HDF5 file"),
    "empty h5": hdf5(b"", "not an HDF5 file"),
    "h5 external link": hdf5(link(h5py.ExternalLink("../elsewhere.h5", "maps")), "no dataset"),
    "h5 external link, asked for": hdf5(
        link(h5py.ExternalLink("../elsewhere.h5", "maps")), "no dataset 'maps'", key="maps"
    ),
    "h5 soft link to itself": hdf5(link(h5py.SoftLink("/maps")), "no dataset"),
    "h5 group in itself": hdf5(group_ring, "no dataset"),
    "h5 external storage": hdf5(external_storage, "other files"),
    "h5 virtual data set": hdf5(virtual, "other files"),
    "h5 object type": hdf5(dataset((3, 4, 4), h5py.special_dtype(vlen=bytes)), "no dataset"),
    "h5 ragged": hdf5(dataset((3, 4, 4), h5py.vlen_dtype("f4")), "no dataset"),
    "h5 references": hdf5(dataset((3, 4, 4), h5py.ref_dtype), "no dataset"),
    "h5 compound": hdf5(dataset((3, 4, 4), [("x", "f4")]), "no dataset"),
    "h5 text": hdf5(dataset((3, 4, 4), "S4"), "no dataset"),
    "h5 complex": hdf5(dataset((3, 4, 4), "c8"), "no dataset"),
    "h5 NaN": hdf5(dataset(data=np.full((3, 16, 16), np.nan)), "no numbers"),
    "h5 infinite": hdf5(dataset(data=np.full((3, 16, 16), np.inf)), "no numbers"),
    "h5 negative integers": hdf5(dataset(data=STACK.astype(np.int32) - 300), "value_range"),
    "h5 without data": hdf5(lambda path: h5py.File(path, "w").close(), "no dataset"),
    "h5 of no images": hdf5(dataset(data=STACK[:0]), "is empty"),
    "h5 null": hdf5(dataset(data=h5py.Empty("u1")), "no dataset"),
    "h5 of one axis": hdf5(dataset(data=np.zeros(9, np.uint8)), "no dataset"),
    "h5 of a cube": hdf5(dataset(data=np.zeros((16, 16, 16), np.uint8)), "HWK", 0),
    "h5 broken chunk": hdf5(broken_chunk, "cannot be read"),
    "h5 2^50 images": hdf5(
        dataset((2**50, 16, 16), "uint8", chunks=(1, 16, 16)), "stored|too few", layout="NHW"
    ),
    "h5 image of 60,000 x 60,000 px": hdf5(
        dataset((2, 60_000, 60_000), "uint8", chunks=(1, 100, 100)), "stored|too few|px", layout="NHW"
    ),
    "h5 image of 60,000 x 60,000 px, packed": hdf5(
        dataset((1, 60_000, 60_000), "uint8", chunks=(1, 6000, 6000), compression="gzip"), "px|too few"
    ),
    "h5 chunk far above its size": hdf5(
        dataset(data=STACK, maxshape=(None, 16, 16), chunks=(2**13, 16, 16), compression="gzip"), "chunks of"
    ),
    "h5 other rank": hdf5(dataset(data=np.zeros((3, 4, 4, 3), np.uint8)), "axes", 0, layout="NHW"),
    "text called npz": npz(b"images", "not an npz"),
    "empty npz": npz(b"", "not an npz"),
    "npz of objects": npz(npz_bytes(images=np.array([None, {}], object)), ""),
    "npz of objects of three axes": npz(npz_bytes(images=np.full((2, 4, 4), None, object)), "no numbers"),
    "npz labels of another length": npz(npz_bytes(images=STACK, labels=np.zeros(2, int)), "labels"),
    "npz labels of floats": npz(npz_bytes(images=STACK, labels=np.zeros(5)), "labels"),
    "npz labels of objects": npz(npz_bytes(images=STACK, labels=np.array([*"abcde"], object)), "labels"),
    "npz NaN": npz(npz_bytes(images=np.full((3, 4, 4), np.nan)), "no numbers"),
    "npz of one axis": npz(npz_bytes(images=STACK.ravel()), "no images"),
    "npz without images": npz(npz_bytes(x=STACK, y=STACK), "data.key"),
    "npz of nothing": npz(npz_bytes(), "data.key|no array"),
    "npz header promises more": npz(npy((6, 16, 16), STACK.tobytes()), "bytes"),
    "npz header promises 2^62": npz(npy((2**31, 2**31, 2), b""), "bytes"),
    "npz header promises negative": npz(npy((-3, 16, 16), STACK.tobytes()), ""),
    "npz header is code": npz(npy("__import__('os').system('true')", b""), "not an npz"),
    "npz header of a strange type": npz(npy((5, 16, 16), STACK.tobytes(), "|Q9"), "not an npz"),
    "npz image of 60,000 x 60,000 px": npz(npy((1, 60_000, 60_000), bytes(1000)), "bytes|px"),
    "npz packed bomb": npz(npy((1, 20_000, 20_000), bytes(20_000 * 20_000)), "px"),
    "npz with a broken byte": npz(flipped(npz_bytes(images=STACK), 0.6), "cannot be read|CRC|broken"),
    "npz member that is no array": npz(zip_of("images.npy", b"no array"), "not an npz"),
    "zip member above": zipped(member("../bad.png"), r"\.\./bad\.png: a name that leads out"),
    "zip member of a root": zipped(member("/etc/bad.png"), r"bad\.png: a name that leads out"),
    "zip member of a drive": zipped(member("C:/bad.png"), r"bad\.png: a name that leads out"),
    "zip member with backslashes": zipped(member("up\\..\\bad.png"), r"bad\.png: a name that leads out"),
    "zip member that is a link": zipped(
        member("a/bad.png", b"/etc/passwd", create_system=3, external_attr=0o120777 << 16),
        r"bad\.png: a link",
    ),
    "zip member that is text": zipped(member("a/bad.png", b"text"), r"bad\.png: not a PNG"),
    "zip member with a broken byte": patched_zip(b"IDAT", b"JDAT", r"bad\.png: ", 3),
    "zip member encrypted": patched_zip(
        b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0", r"bad\.png: encrypted", 3
    ),
    "zip member packed in an unknown way": patched_zip(
        b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0", r"bad\.png: ", 3
    ),
    "zip member whose header is gone": patched_zip(b"PK\3\4", b"PK\3\5", r"bad\.png: ", 3),
    "text called zip": raw("folder", "set.zip", b"text", r"set\.zip is not a zip"),
    "empty zip": raw("folder", "set.zip", b"", r"set\.zip is not a zip"),
    "zip of nothing": raw("folder", "set.zip", b"PK\5\6" + bytes(18), r"set\.zip"),
    "zip in a zip": Case(
        "folder",
        lambda folder: put(folder / "set.zip", zip_of("inner.zip", zip_of("0.png", image("PNG")))),
        r"set\.zip",
    ),
    "scan of a header only": scan(
        text_of(lambda t: "\n".join(x for x in t.splitlines() if x[0] == "#")), "no points"
    ),
    "scan without a phase": scan(
        text_of(lambda t: "\n".join(x for x in t.splitlines() if "Phase" not in x and "Material" not in x)),
        "no phase",
    ),
    "scan of NaN positions": scan(
        text_of(lambda t: t.replace("     0.50000", "         nan")), "position|indexed"
    ),
    "scan of wrong counts": scan(
        text_of(lambda t: t.replace("xCells=16", "xCells=15")), "promises", write_cpr
    ),
    "scan cut inside its records": scan(bytes_of(lambda b: b[:-5], ".crc"), "whole records", write_cpr),
    "scan without its records": scan(lambda path: path.with_suffix(".crc").unlink(), r"bad\.crc", write_cpr),
    "scan that is an image": scan(bytes_of(lambda b: image("PNG")), "names no phase"),
    "empty scan": scan(bytes_of(lambda b: b""), "is empty"),
    "scan of nothing indexed": scan(
        text_of(lambda t: t.replace(" 0.500 1 1", "-1.000 1 1")), "no point is indexed"
    ),
    "scan cut in half": scan(bytes_of(lambda b: cut(b, 0.5)), "HDF5|cut off|bytes", write_edax),
    **cut_cases(),
}
