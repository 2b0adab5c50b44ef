"""EBSD scans cut into tiles: as IPF maps along one sample direction, along X, Y and Z, or as orientations.

Tiles lie on a grid at the scan's own step and overlap, so a split must keep a scan together. A class of one
scan is split by place instead: the far end of its longer axis is held out, tiles are cut in both parts
separately, and so no held-out tile shares a pixel with a training tile.

The directions are those of the sample frame in which the vendor wrote the angles; `Catalogue.frames` says how they lie
to the images.
"""

import io
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import EbsdMap, read_map
from microgen_jax.crystal.readers.points import TURNED_SETTING
from microgen_jax.crystal.symmetry import laue_group, twofold_axis
from microgen_jax.data.augment import parse_direction
from microgen_jax.data.catalogue import Catalogue, bad_file_error
from microgen_jax.data.conditions import SIDECAR, read_table, sidecar_columns, without_index
from microgen_jax.data.decoding import BadFile, Header
from microgen_jax.data.representations import PhaseName
from microgen_jax.data.sources.file_tree import BROKEN, Tree, open_tree, reason_of
from microgen_jax.data.sources.folder import class_names
from microgen_jax.data.sources.orientation_maps import fill_nearest, orientation_map, phases_of
from microgen_jax.data.sources.scans import (
    facts,
    files_beside,
    holds_map,
    one_pixel_size,
    require_size,
    share_note,
)
from microgen_jax.data.splits import holdout_mask
from microgen_jax.data.tiles import starts, window_shape
from microgen_jax.errors import UserError, renamed

SUFFIXES = (".ang", ".ctf", ".cpr", ".crc", ".h5", ".hdf5", ".oh5", ".edaxh5", ".h5oina", ".dream3d")
TEXT_SUFFIXES = (".txt", ".csv")


GROUP_FIELD = {"name": "laue_group", "group": "laue_group"}  # what `crystal` calls it


class Rendering(NamedTuple):
    """How a scan becomes an image.

    Attributes:
      direction: direction of the sample that the colours show: X | Y | Z | three numbers | XYZ for nine channels,
        X first.
      key: colour key: tsl | edax.
      laue_group: Laue group of the phases for which the file names none; '' = such a phase is refused.
      fill: what unindexed points become: nearest = the nearest indexed one | black.
      representation: image = colours, uint8 | orientation = windows of `representations.Orientations`, float32.
      min_confidence: least CI, or largest MAD in degrees, of an indexed point; 0 = off.
    """

    direction: str
    key: str = "tsl"
    laue_group: str = ""
    fill: str = "nearest"
    representation: str = "image"
    min_confidence: float = 0.0


class Tiling(NamedTuple):
    """How a map is cut into tiles.

    Attributes:
      size: height, width in px.
      overlap: share of its side that a tile has in common with the next one.
      min_indexed: least share of indexed points in a tile.
    """

    size: tuple[int, int]
    overlap: float = 0.5
    min_indexed: float = 0.9


class _Tile(NamedTuple):
    scan: int
    top: int
    left: int
    held_out: bool


def open_ebsd(
    tree: Tree,
    *,
    root: str,
    rendering: Rendering,
    tiling: Tiling,
    holdout: float = 0.1,
    on_bad_file: str = "raise",
) -> Catalogue:
    """List the tiles of all scans of a tree. The maps stay in memory: 3 bytes a point and direction, orientations 24.

    The class is the scan's folder, or, where no scan is in a folder, the scan's own name. `metadata.csv` may hold
    further columns for each scan.

    Args:
      tree: the files.
      root: the root as a person would name it.
      rendering: how a scan becomes an image.
      tiling: how an image is cut.
      holdout: share of the scans held out, and of a class's only scan.
      on_bad_file: raise | skip.

    Raises:
      UserError: no scan, a phase without a Laue group, no tile that is indexed well enough, or (with
        `on_bad_file='raise'`) a scan that cannot be read.
    """
    orientations = rendering.representation == "orientation"
    if not orientations and not rendering.direction:
        problem = "is empty, and EBSD scans are shown along a direction"
        raise UserError("ipf_direction", problem, "choose X, Y, Z, XYZ or three numbers")
    names = scan_names(tree)
    if not names:
        problem = f"no EBSD scan ({', '.join(SUFFIXES)}) in {root}"
        raise UserError("root", problem, "name a scan or a folder of scans, or set data.source=auto")
    if rendering.laue_group:
        with renamed(GROUP_FIELD):
            laue_group(rendering.laue_group)
    maps, masks, kept, found, axes, notes, unused, refused = [], [], [], [], [], [], [], list(tree.refused)
    phases: list[PhaseName] = []
    for name in names:
        try:
            scan = _read(tree, name, rendering)
            require_size(scan, tiling.size)
            own = phases_of(scan, name)
            all_phases = list(dict.fromkeys([*phases, *own.values()]))
            if orientations:
                image = orientation_map(scan, own, all_phases)
            else:
                image = ipf_map(scan, own, rendering)
            if not _corners(scan.indexed, tiling, slice(None), slice(None)):
                raise BadFile(
                    f"no tile of {tiling.size[0]}x{tiling.size[1]} px has {tiling.min_indexed:.0%} indexed points"
                    f" (the scan {scan.indexed.mean():.0%}): lower data.min_indexed"
                )
        except BadFile as error:
            refused.append((name, str(error)))
            continue
        phases = all_phases
        maps.append(image)
        masks.append(scan.indexed)
        kept.append(name)
        found.append(facts(name, scan))
        axes.append(scan.frame.to_image)
        notes += [f"{name}: {note}" for note in scan.notes]
        unused += [f"{name}: {line}" for line in scan.unused]
    if refused and (on_bad_file == "raise" or not kept):
        raise bad_file_error(root, *refused[0])
    labels = _classes(kept, tree.name)
    tiles, held_out_notes = _cut(kept, labels, masks, tiling, holdout)
    shapes = [window_shape(maps[tile.scan].shape[:2], tiling.size) for tile in tiles]
    channels = maps[0].shape[-1]
    scans = [kept[tile.scan] for tile in tiles]

    def read(index: int) -> np.ndarray:
        (height, width), tile = shapes[index], tiles[index]
        return maps[tile.scan][tile.top : tile.top + height, tile.left : tile.left + width]

    pixel_size, size_notes = one_pixel_size(found)
    frames = Counter(scan["frame"] for scan in found)
    columns = {}
    if SIDECAR in tree.files:
        rows, _ = without_index(read_table(tree, SIDECAR), SIDECAR)
        columns = sidecar_columns(rows, kept, [name for name, _ in refused])
    return Catalogue(
        kind="ebsd",
        root=root,
        names=[f"{name}[{tile.top},{tile.left}]" for name, tile in zip(scans, tiles)],
        labels=[labels[tile.scan] for tile in tiles],
        headers=[Header(height, width, channels, maps[0].dtype.name) for height, width in shapes],
        sizes=[height * width * channels * maps[0].itemsize for height, width in shapes],
        read=read,
        serving=("scan",),
        columns={"scan": scans} | {t: [cells[tile.scan] for tile in tiles] for t, cells in columns.items()},
        refused=tuple(refused),
        notes=(
            f"{_described(rendering)}; tiles overlap by {tiling.overlap:.0%}, "
            f"{tiling.min_indexed:.0%} or more of each indexed, the rest {rendering.fill}",
            *(f"{count} scan(s) in the frame of {frame}" for frame, count in frames.items()),
            *((f"data.laue_group: {TURNED_SETTING}",) if twofold_axis(rendering.laue_group) else ()),
            share_note(found),
            *size_notes,
            *notes,
        ),
        unused=(*unused, *files_beside([name for name in tree.files if name != SIDECAR], names)),
        scans=tuple(found),
        frames=tuple(dict.fromkeys(axes)),
        pixel_size_um=pixel_size,
        phases=tuple(phases) if orientations else (),
        groups=scans,
        held_out=np.array([tile.held_out for tile in tiles]),
        held_out_notes=held_out_notes,
    )


def read_scans(root: Path, names: Sequence[str], data: DataConfig) -> Iterator[tuple[str, EbsdMap]]:
    """Read scans one after the other, as for training.

    Args:
      root: folder, zip file or scan.
      names: names of the scans, as `Catalogue.scans` has them.
      data: `data` part of the configuration.
    """
    tree = open_tree(root)
    rendering = Rendering("Z", laue_group=data.laue_group, min_confidence=data.min_confidence)
    for name in names:
        yield name, _read(tree, name, rendering)


def scan_names(tree: Tree) -> list[str]:
    """Return the names of the scans of a tree.

    A .crc counts only where its .cpr is missing, a .npz only where `write_map` wrote it, text files (.txt, .csv) only
    where there is no other scan.
    """
    names = [n for n in tree.files if n.lower().endswith(SUFFIXES) or holds_map(tree, n)]
    headers = {name[:-4] for name in names if name.lower().endswith(".cpr")}
    names = [n for n in names if not (n.lower().endswith(".crc") and n[:-4] in headers)]
    if names:
        return names
    return [n for n in tree.files if n.lower().endswith(TEXT_SUFFIXES) and n.rpartition("/")[2] != SIDECAR]


def _described(rendering: Rendering) -> str:
    if rendering.representation == "orientation":
        return "orientations, turned into the frame of the images"
    return f"IPF-{rendering.direction} by the {rendering.key} key"


def ipf_map(
    scan: EbsdMap, named: Mapping[int, PhaseName], rendering: Rendering
) -> UInt8[np.ndarray, "H W C"]:
    """Return IPF colours of a scan, three channels a direction.

    Args:
      scan: the scan; one point at least is indexed.
      named: its phases, from `phases_of`.
      rendering: direction, key and how unindexed points are filled.
    """
    axes = ("X", "Y", "Z") if rendering.direction == "XYZ" else (parse_direction(rendering.direction),)
    image = np.zeros((*scan.indexed.shape, 3 * len(axes)), np.uint8)
    for number, known in named.items():
        points = scan.indexed & (scan.phase == number)
        with renamed(GROUP_FIELD):
            colours = [
                ipf_colour(scan.orientations[points], axis, known.laue_group, rendering.key) for axis in axes
            ]
        image[points] = np.concatenate(colours, axis=-1)
    return image if rendering.fill == "black" else fill_nearest(image, scan.indexed)


def _read(tree: Tree, name: str, rendering: Rendering) -> EbsdMap:
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = _on_disk(tree, name, Path(folder))
        except BROKEN as error:
            raise BadFile(reason_of(error)) from error
        try:
            return read_map(
                path, min_confidence=rendering.min_confidence, laue_group=_known_group(rendering.laue_group)
            )
        except UserError as error:
            raise BadFile("; ".join(filter(None, (error.problem, error.fix)))) from error


def _known_group(name: str) -> str:
    return laue_group(name) if name else ""


def _on_disk(tree: Tree, name: str, folder: Path) -> Path:
    """Return the path of a file, or of its copy (with its .cpr / .crc partner) where the tree is a zip file."""
    with tree.open(name) as stream:
        if isinstance(stream, io.BufferedReader):
            return Path(stream.name)
    for other in tree.files:
        if PurePosixPath(other).with_suffix("") == PurePosixPath(name).with_suffix(""):
            with tree.open(other) as stream:
                (folder / PurePosixPath(other).name).write_bytes(stream.read())
    return folder / PurePosixPath(name).name


def _classes(names: Sequence[str], root_name: str) -> list[str]:
    if not any("/" in name for name in names):
        return [PurePosixPath(name).stem for name in names]
    found = class_names(names, root_name)
    return [found[name] for name in names]


def _cut(
    names: Sequence[str], labels: Sequence[str], masks: Sequence[np.ndarray], tiling: Tiling, share: float
) -> tuple[list[_Tile], tuple[str, ...]]:
    """Return all tiles, and notes on how they are split."""
    alone = {label for label, count in Counter(labels).items() if count == 1}
    several = [n for n, label in enumerate(labels) if label not in alone]
    held, notes = holdout_mask([names[n] for n in several], [labels[n] for n in several], share)
    held_scans = {n for n, out in zip(several, held) if out}
    tiles, notes = [], list(notes)
    for n, (label, mask) in enumerate(zip(labels, masks)):
        if label not in alone or not share:
            tiles += [
                _Tile(n, *corner, n in held_scans)
                for corner in _corners(mask, tiling, slice(None), slice(None))
            ]
            continue
        train, test = _parts(mask, tiling, share)
        tiles += [_Tile(n, *corner, False) for corner in train] + [_Tile(n, *corner, True) for corner in test]
        if test:
            notes.append(
                f"class {label!r} has one scan: its far end is held out, {len(test)} of"
                f" {len(train) + len(test)} tiles, none of which overlaps a training tile"
            )
        else:
            notes.append(f"class {label!r} has one scan, too small to be split: it stays in training")
    return tiles, tuple(notes)


def _parts(mask: np.ndarray, tiling: Tiling, share: float) -> tuple[list, list]:
    """Return tiles before and behind a cut across the longer axis; all before it where one side would have none."""
    axis = int(mask.shape[1] / tiling.size[1] > mask.shape[0] / tiling.size[0])
    length, side = mask.shape[axis], tiling.size[axis]
    cut = length - max(side, round(share * length))
    if cut >= side:
        spans = (slice(0, cut), slice(cut, length))
        parts = [
            _corners(mask, tiling, *((span, slice(None)) if axis == 0 else (slice(None), span)))
            for span in spans
        ]
        if all(parts):
            return parts[0], parts[1]
    return _corners(mask, tiling, slice(None), slice(None)), []


def _corners(mask: np.ndarray, tiling: Tiling, rows: slice, columns: slice) -> list[tuple[int, int]]:
    """Return upper left corners of the tiles inside a part of the map that are indexed well enough."""
    shape = window_shape(mask.shape, tiling.size)
    tops, lefts = (
        starts(range(length)[part], side, tiling.overlap)
        for length, part, side in zip(mask.shape, (rows, columns), shape)
    )
    return [
        (top, left)
        for top in tops
        for left in lefts
        if mask[top : top + shape[0], left : left + shape[1]].mean() >= tiling.min_indexed
    ]
