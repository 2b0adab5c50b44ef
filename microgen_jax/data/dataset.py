"""The one door of this room: the `data` part of a configuration becomes a `Dataset`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.ipf import KEYS
from microgen_jax.crystal.polycrystal import CLASSES
from microgen_jax.data import augment, cache, conditions, resize, splits, tiles
from microgen_jax.data.augment import choice
from microgen_jax.data.decoding import Header
from microgen_jax.data.pipeline import Preparation
from microgen_jax.data.records import Listing, Records, place
from microgen_jax.data.sources import polycrystal
from microgen_jax.data.sources.detect import detect_source
from microgen_jax.data.sources.ebsd import FILL, KEPT_AS, Rendering, Tiling, open_ebsd
from microgen_jax.data.sources.file_tree import open_tree
from microgen_jax.data.sources.folder import open_folder
from microgen_jax.data.sources.hdf5 import open_hdf5
from microgen_jax.data.sources.image_list import find_table, open_list
from microgen_jax.data.sources.npz import open_npz
from microgen_jax.data.sources.tfds import open_tfds, prepared_in
from microgen_jax.errors import UserError
from microgen_jax.types import Source


@dataclass(frozen=True)
class Dataset:
    """Everything that the rest of the program knows about the data.

    Attributes:
      train, holdout: lazy sources; `holdout` is empty where no class has two groups, or `data.holdout` is 0.
      classes: sorted names; a record's label indexes them.
      conditions: names of the continuous conditions, K of them.
      preparation: how records become batches: size, channels, the conditions' mean and std (of the training
        part), and the transforms allowed for each class.
      kind: the source found: polycrystal | folder | list | hdf5 | npz | tfds | ebsd.
      dtype: of the images as stored: uint8 | uint16 | float32.
      refused: (file, reason) of everything left out under `on_bad_file='skip'`.
      notes: what a person must be told, a line each ("class X has one group: it stays in training").
      fingerprint: sha256 (first 16 hex digits) over the kind, every image's name, class, group,
        conditions and bytes, and the share held out; of polycrystals over seed, counts and size.
        Contents and times of files are not covered.
      low, high: range of each condition over the training part, in its own unit.
    """

    train: Source
    holdout: Source
    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    preparation: Preparation
    kind: str
    dtype: str
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    fingerprint: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def open_dataset(data: DataConfig, seed: int = 0, *, write_cache: bool = True) -> Dataset:
    """Finds out what `data.root` is, checks it, splits it, and gives its images as lazy sources.

    Args:
      data: the `data` part of the configuration.
      seed: of the built-in polycrystals; the split of files does not depend on it.
      write_cache: False only reads what `data.cache` holds already.

    Raises:
      UserError: everything that is wrong with the data or with how they are asked for, in one line.
    """
    _check(data)
    kind = detect_source(data.source, data.root, data.name)
    if kind == "polycrystal":
        return _polycrystals(data, seed)
    found = _open(data, kind)
    listing = _filter(data, found)
    if data.cache:
        listing = _cached(data, listing, found.names, write_cache)
    if data.filename_pattern:
        columns = conditions.pattern_columns(listing.names, data.filename_pattern)
        listing = listing._replace(columns={**listing.columns, **columns})
    if data.window == "grid" and kind != "ebsd":
        listing = tiles.cut(listing, tuple(data.size), data.tile_overlap)
    return _split(data, listing)


def _check(data: DataConfig) -> None:
    choice(data.resample, resize.RESAMPLE, "data.resample")
    choice(data.window, tiles.WINDOW, "data.window")
    if data.window == "grid" and data.resample != "none":
        raise UserError(
            f"data.window=grid cuts at the original pixel size, and data.resample={data.resample}: set it to none"
        )
    choice(data.pad, resize.PAD, "data.pad")
    choice(data.on_bad_file, ("raise", "skip"), "data.on_bad_file")
    choice(data.fill_unindexed, FILL, "data.fill_unindexed")
    choice(data.ebsd, KEPT_AS, "data.ebsd")
    choice(data.colour_key, KEYS, "data.colour_key")
    if len(data.size) != 2 or min(data.size) < 1:
        raise UserError(f"data.size={tuple(data.size)} is no (height, width)")
    if data.channels < 1:
        raise UserError(f"data.channels={data.channels}: at least 1")
    if not 0 <= data.holdout < 1:
        raise UserError(f"data.holdout={data.holdout} is no share: 0 or more, below 1")
    if not 0 <= data.tile_overlap < 1:
        raise UserError(f"data.tile_overlap={data.tile_overlap} is no share: 0 or more, below 1")
    if not 0 <= data.min_indexed <= 1:
        raise UserError(f"data.min_indexed={data.min_indexed} is no share: 0 to 1")


def _open(data: DataConfig, kind: str) -> Listing:
    if kind == "tfds":
        return open_tfds(data.name, data_dir=data.root)
    path, on_bad_file = Path(data.root), data.on_bad_file
    if kind == "list":
        folder = path if path.is_dir() or path.suffix.lower() == ".zip" else path.parent
        tree = open_tree(folder)
        table = find_table(tree, data.root) if folder == path else path.name
        return open_list(tree, table, root=data.root, folder=str(folder), on_bad_file=on_bad_file)
    tree = open_tree(path)
    if kind == "folder":
        return open_folder(tree, root=data.root, on_bad_file=on_bad_file)
    if kind == "ebsd":
        return open_ebsd(
            tree,
            root=data.root,
            rendering=Rendering(
                data.ipf_direction, data.colour_key, data.laue_group, data.fill_unindexed, data.ebsd
            ),
            tiling=Tiling(tuple(data.size), data.tile_overlap, data.min_indexed),
            holdout=data.holdout,
            on_bad_file=on_bad_file,
        )
    return {"hdf5": open_hdf5, "npz": open_npz}[kind](
        tree,
        root=data.root,
        key=data.key,
        layout=data.layout,
        value_range=data.value_range,
        on_bad_file=on_bad_file,
    )


def _polycrystals(data: DataConfig, seed: int) -> Dataset:
    size, names = tuple(data.size), tuple(data.conditions)
    if data.channels not in polycrystal.CHANNELS:
        raise UserError(
            f"data.channels={data.channels}: the built-in polycrystals have 3 (IPF colours) or 1 (grain boundaries)"
        )
    lines = data.channels == 1
    fresh = max(round(data.count * data.holdout), len(CLASSES))
    train = polycrystal.Polycrystals(seed, 0, data.count, size, names, boundaries=lines)
    holdout = polycrystal.Polycrystals(seed, data.count, fresh, size, names, boundaries=lines)
    probed = train.conditions_probed() if names else np.empty((0, 0), np.float32)
    mean, std = conditions.statistics(probed)
    low, high = conditions.ranges(probed)
    stretched = CLASSES.index(polycrystal.LONGEST_AXIS_IS_X)
    preparation = _preparation(data, CLASSES, mean, std, grey=lines)
    if preparation.transforms:
        transforms = list(preparation.transforms)
        orthotropic = augment.PROCESS["orthotropic"]
        transforms[stretched] = tuple(e for e in transforms[stretched] if e in orthotropic)
        preparation = preparation._replace(transforms=tuple(transforms))
    return Dataset(
        train=train,
        holdout=holdout,
        classes=CLASSES,
        conditions=names,
        preparation=preparation,
        kind="polycrystal",
        dtype="uint8",
        refused=(),
        notes=(f"holdout: {fresh} fresh polycrystals", f"seed={seed} draws the polycrystals"),
        fingerprint=_fingerprint(
            ["polycrystal", seed, data.count, fresh, *size, *names, *(["boundaries"] if lines else [])]
        ),
        low=low,
        high=high,
    )


def _filter(data: DataConfig, listing: Listing) -> Listing:
    """Refuses images that do not fit what the configuration asks for."""
    size, to_grey = tuple(data.size), data.to_grey
    faults = [_misfit(header, size, data, to_grey) for header in listing.headers]
    bad = [(name, fault) for name, fault in zip(listing.names, faults) if fault]
    if not bad:
        return listing
    if data.on_bad_file == "raise" or len(bad) == len(faults):
        more = f" ({len(bad)} of {len(faults)} images)" if len(bad) > 1 else ""
        raise UserError(f"{place(listing.root, bad[0][0])}: {bad[0][1]}{more}")
    return listing.keep([n for n, fault in enumerate(faults) if not fault], bad)


# What the pixels of a kind of source depend on, beside its files.
PIXELS_OBEY = {
    "hdf5": ("key", "layout", "value_range"),
    "npz": ("key", "layout", "value_range"),
    "ebsd": ("ebsd", "ipf_direction", "colour_key", "laue_group", "fill_unindexed"),
}


def _cached(data: DataConfig, listing: Listing, names: Sequence[str], write: bool) -> Listing:
    """`names` are those of all images found: a cache is stale where any of them has changed."""
    root = Path(data.root)
    if listing.kind == "list" and root.is_file() and root.suffix.lower() != ".zip":
        files = [root.parent / name for name in names]
    elif listing.kind == "tfds":
        files = cache.files_of(prepared_in(data.name, data.root))
    else:
        files = cache.files_of(root)
    settings = {name: getattr(data, name) for name in PIXELS_OBEY.get(listing.kind, ())}
    skip = data.on_bad_file == "skip"
    return cache.cached(listing, Path(data.cache), files=files, settings=settings, skip=skip, write=write)


def _misfit(header: Header, size: tuple[int, int], data: DataConfig, to_grey: bool) -> str:
    if data.pad == "refuse" and resize.too_small(header[:2], size, data.resample):
        return (
            f"{header.height}x{header.width} px is smaller than data.size: lower it, or set data.pad=reflect"
        )
    if header.channels == data.channels or (header.channels, data.channels) == (1, 3):
        return ""
    if (header.channels, data.channels) != (3, 1):
        found = header.channels
        return f"{found} channels, and data.channels={data.channels}: set data.channels={found}"
    if to_grey or header.copies:
        return ""
    return "colour, and data.channels=1: set data.channels=3, or data.to_grey=True"


def _split(data: DataConfig, listing: Listing) -> Dataset:
    columns, names = listing.columns, tuple(data.conditions)
    labels, groups = listing.labels, listing.groups or listing.names
    if label_by := data.label_by:
        labels = columns[conditions.known_column(label_by, columns, "data.label_by")]
    if data.split_by:
        groups = columns[conditions.known_column(data.split_by, columns, "data.split_by")]
    table = conditions.values(columns, names, len(listing.names))
    classes = tuple(sorted(set(labels)))
    if listing.held_out is not None and not data.split_by and data.holdout:
        held, notes = listing.held_out, listing.held_out_notes
    else:
        held, notes = splits.holdout_mask(groups, labels, data.holdout)
    index = {name: number for number, name in enumerate(classes)}
    label = np.array([index[name] for name in labels], np.int32)
    grey = all(header.channels == 1 or header.copies for header in listing.headers)
    mean, std = conditions.statistics(table[~held])
    low, high = conditions.ranges(table[~held])

    def part(mask: np.ndarray) -> Records:
        skip = data.on_bad_file == "skip"
        return Records(listing, np.flatnonzero(mask), label, table, groups, skip=skip)

    return Dataset(
        train=part(~held),
        holdout=part(held),
        classes=classes,
        conditions=names,
        preparation=_preparation(
            data, classes, mean, std, grey=grey, orientations=_kept_as_orientations(data, listing)
        ),
        kind=listing.kind,
        dtype="+".join(sorted({header.dtype for header in listing.headers})),
        refused=listing.refused,
        notes=(*listing.notes, *notes, *_padded(data, listing)),
        fingerprint=_fingerprint(
            [
                listing.kind,
                list(zip(listing.names, labels, groups, listing.sizes)),
                data.holdout,
                table.tolist(),
            ]
        ),
        low=low,
        high=high,
    )


def _kept_as_orientations(data: DataConfig, listing: Listing) -> str:
    """The Laue group where images are quaternions, '' otherwise."""
    return data.laue_group if listing.kind == "ebsd" and data.ebsd == "quaternions" else ""


def _padded(data: DataConfig, listing: Listing) -> tuple[str, ...]:
    size = tuple(data.size)
    small = sum(resize.too_small(header[:2], size, data.resample) for header in listing.headers)
    if not small:
        return ()
    return (f"{small} of {len(listing.headers)} images are smaller than data.size: padded ({data.pad})",)


def _preparation(
    data: DataConfig, classes: Sequence[str], mean: tuple, std: tuple, *, grey: bool, orientations: str = ""
) -> Preparation:
    direction = "" if grey or orientations else data.ipf_direction
    transforms = augment.allowed_by_class(classes, direction, data.symmetry)
    return Preparation(
        size=tuple(data.size),
        channels=data.channels,
        resample=data.resample,
        pad=data.pad,
        transforms=transforms if data.augment else (),
        mean=mean,
        std=std,
        to_grey=data.to_grey,
        ipf_xyz=direction == "XYZ",
        orientations=orientations,
    )


def _fingerprint(contents: list[Any]) -> str:
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:16]
