"""Facts of the scans of a data set, for `inspect`, and checks of their sizes."""

import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from microgen_jax.crystal.maps import EbsdMap
from microgen_jax.data.decoding import BadFile, is_image
from microgen_jax.data.sources.file_tree import BROKEN, Tree, kinds_of

SCANS_ALONE = (
    ".ang",
    ".ctf",
    ".cpr",
    ".crc",
    ".h5oina",
    ".oh5",
    ".edaxh5",
    ".dream3d",
)  # suffixes of scans only
MAP_ARRAYS = {"orientations", "phase", "indexed", "crystal_x"}  # of a .npz that `write_map` wrote
SAME_PIXEL = 0.05  # relative difference of two pixel sizes that count as one
LEAST_SHARE = 0.5  # of a tile's side that a scan must have; the rest is mirrored


def holds_map(tree: Tree, name: str) -> bool:
    """Return whether a file is a .npz that `write_map` wrote, by the names of its arrays.

    Args:
      tree: the files.
      name: name of the file.
    """
    if not name.lower().endswith(".npz"):
        return False
    try:
        with tree.open(name) as stream, zipfile.ZipFile(stream) as archive:
            return {f"{array}.npy" for array in MAP_ARRAYS} <= set(archive.namelist())
    except BROKEN:
        return False


def facts(name: str, scan: EbsdMap) -> dict[str, Any]:
    """Return the facts of a scan that `inspect` prints, as JSON takes them.

    Args:
      name: name of the file.
      scan: the scan.
    """
    return {
        "scan": name,
        "size": list(scan.phase.shape),
        "points": scan.columns.points,
        "unindexed": scan.unindexed_share,
        "pixel_size_um": scan.pixel_size_um,
        "phases": {
            str(phase.id): {
                "name": phase.name,
                "laue_group": phase.laue_group,
                "share": float((scan.phase == phase.id).mean()),
            }
            for phase in scan.phases
        },
        "frame": scan.frame.text,
        "crystal_x": scan.frame.crystal_x,
        "descriptive_entries": scan.described,
    }


def require_size(scan: EbsdMap, size: tuple[int, int]) -> None:
    """Refuse a scan that would have to be mirrored to more than twice its size.

    Args:
      scan: the scan.
      size: height and width of a tile in px.

    Raises:
      BadFile: a side is below half of the tile's.
    """
    height, width = scan.phase.shape
    if height < LEAST_SHARE * size[0] or width < LEAST_SHARE * size[1]:
        raise BadFile(f"is {height}x{width} px, less than half of data.size={tuple(size)}: lower data.size")


def one_pixel_size(scans: Sequence[dict[str, Any]]) -> tuple[float, tuple[str, ...]]:
    """Return the pixel size of all scans in um, 0 where they differ or none is known, and a note where they differ.

    Args:
      scans: the facts of the scans.
    """
    sizes = np.array([scan["pixel_size_um"] for scan in scans])
    known = sizes[sizes > 0]
    if not len(known):
        return 0.0, ()
    if known.max() <= known.min() * (1 + SAME_PIXEL):
        return float(np.median(known)), ()
    names = [scans[int(np.flatnonzero(sizes == size)[0])]["scan"] for size in (known.min(), known.max())]
    return 0.0, (
        f"pixel sizes differ by more than {SAME_PIXEL:.0%}: {known.min():g} um of {names[0]} to {known.max():g} um of"
        f" {names[1]}; a model takes them as one, and no length in um is given",
    )


def share_note(scans: Sequence[dict[str, Any]]) -> str:
    """Return a line on the points that are not indexed.

    Args:
      scans: the facts of the scans.
    """
    shares = [scan["unindexed"] for scan in scans]
    low, high = min(shares), max(shares)
    return f"unindexed points: {low:.1%}" + (f" to {high:.1%} of a scan" if high > low else " of a scan")


def files_beside(names: Sequence[str], scans: Sequence[str]) -> tuple[str, ...]:
    """Return lines on the images, and on the other files, that lie beside scans and are not read.

    Args:
      names: all files of the data set but its table.
      scans: names of the scans; the partner of a .cpr belongs to it.
    """
    pairs = {f"{scan[:-4]}{suffix}" for scan in scans for suffix in (".cpr", ".crc", ".CPR", ".CRC")}
    images = [name for name in names if is_image(name)]
    others = sorted(set(names) - pairs - {*scans, *images})
    lines = []
    if images:
        lines.append(f"{len(images)} images beside the scans, such as {images[0]}: the scans are read")
    if others:
        lines.append(f"files that are no scans: {kinds_of(others)}, such as {others[0]}")
    return tuple(lines)


def is_preview(image: str, scans: Sequence[str]) -> bool:
    """Return whether an image lies beside a scan and its name begins with the scan's.

    Args:
      image: name of the image, with its folder.
      scans: names of the scans.
    """
    stems = [scan.rpartition(".")[0] for scan in scans]
    return any(image.startswith(stem) and not image[len(stem)].isalnum() for stem in stems)
