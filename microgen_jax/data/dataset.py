"""The entry point of this package: the `data` part of a configuration becomes a `Dataset`."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from microgen_jax.config import fields
from microgen_jax.config.schema import DataConfig
from microgen_jax.crystal.polycrystal import CLASSES
from microgen_jax.data import augment, cache, conditions, resize, splits, tiles
from microgen_jax.data.catalogue import Catalogue, CatalogueSource, place
from microgen_jax.data.decoding import Header
from microgen_jax.data.pipeline import Preparation
from microgen_jax.data.representations import Images, Orientations, PhaseName
from microgen_jax.data.representations.choice import choose
from microgen_jax.data.sources import polycrystal
from microgen_jax.data.sources.arrays import open_arrays
from microgen_jax.data.sources.detect import detect_source
from microgen_jax.data.sources.ebsd import Rendering, Tiling, open_ebsd
from microgen_jax.data.sources.file_tree import open_tree
from microgen_jax.data.sources.folder import open_folder
from microgen_jax.data.sources.image_list import find_table, open_list
from microgen_jax.data.sources.tfds import open_tfds, prepared_in
from microgen_jax.errors import UserError, argument_of
from microgen_jax.types import Source


@dataclass(frozen=True)
class Dataset:
    """A data set: lazy images of both parts of the split, and what is known about them.

    Attributes:
      train, holdout: lazy sources; `holdout` is empty where no class has two groups, or `data.holdout` is 0.
      classes: sorted names; a record's label indexes them.
      conditions: names of the continuous conditions, K of them.
      preparation: how records become batches: size, channels, the conditions' mean and std (of the training
        part), and the transforms allowed for each class.
      kind: the source found: polycrystal | folder | list | hdf5 | npz | tfds | ebsd.
      dtype: dtype of the images as stored: uint8 | uint16 | float32.
      refused: (file, reason) of everything left out under `on_bad_file='skip'`.
      notes: lines for the user ("class X has one group: it stays in training").
      unused: entries of the files that were found and not used, a line each.
      fingerprint: sha256 (first 16 hex digits) over the kind, every image's name, class, group,
        conditions and bytes, and the share held out; of polycrystals over seed, counts and size.
        Contents and times of files are not covered.
      low, high: range of each condition over the training part, in its own unit.
      class_ranges: for each class the range of each condition, None where no image of the class has it.
      pixel_size_um: pixel size of the images in um, as resampled; 0 where none is known or the images differ.
      pixel_scale: px of a stored image in one of a resampled image; 0 where the images differ.
      scans: summary of each EBSD scan: points, share unindexed, pixel size, phases, frame.
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
    unused: tuple[str, ...] = ()
    pixel_size_um: float = 0.0
    pixel_scale: float = 1.0
    scans: tuple[dict[str, Any], ...] = ()
    class_ranges: tuple[tuple[tuple[float, float] | None, ...], ...] = ()


def open_dataset(data: DataConfig, seed: int = 0, *, write_cache: bool = True) -> Dataset:
    """Open the data: find what `data.root` is, check it, split it, and return its images as lazy sources.

    Args:
      data: the `data` part of the configuration; its values are checked here too.
      seed: seed of the built-in polycrystals; the split of files does not depend on it.
      write_cache: whether a missing cache is written; False only reads what `data.cache` holds already.

    Raises:
      UserError: what is wrong with the data or with a field of `data`, named as in 'data.root'.
    """
    for name, field in fields.fields().items():
        if name.startswith("data."):
            fields.check_value(field, getattr(data, name.removeprefix("data.")))
    with argument_of("data"):
        return _open_dataset(data, seed, write_cache)


def _open_dataset(data: DataConfig, seed: int, write_cache: bool) -> Dataset:
    if len(data.size) != 2:
        raise UserError("size", f"{data.size} must be height and width", "as in --config.data.size='(64,64)'")
    if data.window == "grid" and data.resample != "none":
        problem = f"'grid' cuts at the original pixel size, and data.resample is {data.resample!r}"
        raise UserError("window", problem, "set data.resample=none")
    data = replace(data, root=os.path.expanduser(data.root))
    kind = detect_source(data.source, data.root, data.name)
    data = replace(data, representation=choose(data, kind))
    if kind == "polycrystal":
        return _polycrystals(data, seed)
    found = _open(data, kind)
    catalogue = _filter(data, found)
    if data.cache:
        catalogue = _cached(data, catalogue, found.names, write_cache)
    if data.filename_pattern:
        columns = conditions.pattern_columns(catalogue.names, data.filename_pattern)
        if both := sorted(columns.keys() & catalogue.columns.keys()):
            raise UserError(
                "filename_pattern", f"names the column {both[0]!r}, which the data have too", "rename it"
            )
        catalogue = catalogue._replace(columns={**catalogue.columns, **columns})
    if data.window == "grid" and kind != "ebsd":
        catalogue = tiles.cut(catalogue, data.size, data.tile_overlap)
    return _split(data, catalogue)


def _open(data: DataConfig, kind: str) -> Catalogue:
    if kind == "tfds":
        return open_tfds(data.name, data_dir=data.root, value_range=data.value_range)
    path, on_bad_file = Path(data.root), data.on_bad_file
    if kind == "list":
        folder = path if path.is_dir() or path.suffix.lower() == ".zip" else path.parent
        tree = open_tree(folder)
        table = find_table(tree, data.root) if folder == path else path.name
        return open_list(
            tree,
            table,
            root=data.root,
            folder=str(folder),
            value_range=data.value_range,
            max_pixels=data.max_pixels,
            on_bad_file=on_bad_file,
        )
    tree = open_tree(path)
    if kind == "folder":
        return open_folder(
            tree,
            root=data.root,
            value_range=data.value_range,
            max_pixels=data.max_pixels,
            on_bad_file=on_bad_file,
        )
    if kind == "ebsd":
        return open_ebsd(
            tree,
            root=data.root,
            rendering=Rendering(
                data.ipf_direction,
                data.colour_key,
                data.laue_group,
                data.fill_unindexed,
                data.representation,
                data.min_confidence,
            ),
            tiling=Tiling(data.size, data.tile_overlap, data.min_indexed),
            holdout=data.holdout,
            on_bad_file=on_bad_file,
        )
    return open_arrays(
        tree,
        kind,
        root=data.root,
        key=data.key,
        layout=data.layout,
        value_range=data.value_range,
        max_pixels=data.max_pixels,
        on_bad_file=on_bad_file,
    )


def _polycrystals(data: DataConfig, seed: int) -> Dataset:
    size, names = data.size, data.conditions
    if data.channels not in polycrystal.CHANNELS:
        problem = f"the built-in polycrystals do not have {data.channels} channels"
        raise UserError("channels", problem, "set 3 (IPF colours) or 1 (grain boundaries)")
    lines, orientations = data.channels == 1, data.representation == "orientation"
    fresh = max(round(data.count * data.holdout), len(CLASSES))
    shown = {"boundaries": lines, "orientations": orientations}
    form = [name for name, on in shown.items() if on]
    train = polycrystal.Polycrystals(seed, 0, data.count, size, names, **shown)
    holdout = polycrystal.Polycrystals(seed, data.count, fresh, size, names, **shown)
    sample = train.condition_sample() if names else np.empty((0, 0), np.float32)
    mean, std = conditions.statistics(sample)
    low, high = conditions.ranges(sample)
    elongated = CLASSES.index(polycrystal.ELONGATED)
    phases = (PhaseName("cubic", polycrystal.LAUE_GROUP),) if orientations else ()
    preparation = _preparation(data, CLASSES, mean, std, grey=lines, phases=phases)
    if preparation.transforms:
        transforms = list(preparation.transforms)
        orthotropic = augment.PROCESS["orthotropic"]
        transforms[elongated] = tuple(e for e in transforms[elongated] if e in orthotropic)
        preparation = preparation._replace(transforms=tuple(transforms))
    return Dataset(
        train=train,
        holdout=holdout,
        classes=CLASSES,
        conditions=names,
        preparation=preparation,
        kind="polycrystal",
        dtype="float32" if orientations else "uint8",
        refused=(),
        notes=(
            f"the hold-out is {fresh} further polycrystals",
            f"the polycrystals are made from seed={seed}",
        ),
        fingerprint=_fingerprint(["polycrystal", seed, data.count, fresh, *size, *names, *form]),
        low=low,
        high=high,
        pixel_size_um=data.pixel_size_um,
        class_ranges=conditions.class_ranges(sample, train.labels[: len(sample)], len(CLASSES)),
    )


def _filter(data: DataConfig, catalogue: Catalogue) -> Catalogue:
    """Refuse images that do not fit the configuration."""
    faults = [_misfit(header, data) for header in catalogue.headers]
    bad = [(name, f"{problem}; {fix}") for name, (problem, fix) in zip(catalogue.names, faults) if problem]
    if not bad:
        return catalogue
    if data.on_bad_file == "raise" or len(bad) == len(faults):
        problem, fix = next(fault for fault in faults if fault[0])
        more = f" ({len(bad)} of {len(faults)} images)" if len(bad) > 1 else ""
        raise UserError(place(catalogue.root, bad[0][0]), problem + more, fix)
    return catalogue.keep([n for n, (problem, _) in enumerate(faults) if not problem], bad)


# Fields that the pixels of a kind of source depend on, beside its files.
PIXEL_FIELDS = {
    "folder": ("value_range",),
    "list": ("value_range",),
    "hdf5": ("key", "layout", "value_range"),
    "npz": ("key", "layout", "value_range"),
    "tfds": ("value_range",),
    "ebsd": (
        "representation",
        "ipf_direction",
        "colour_key",
        "laue_group",
        "fill_unindexed",
        "min_confidence",
    ),
}


def _cached(data: DataConfig, catalogue: Catalogue, names: Sequence[str], write: bool) -> Catalogue:
    """Read the images from a cache, which is stale where any of `names`, all images found, has changed."""
    root = Path(data.root)
    if catalogue.kind == "list" and root.is_file() and root.suffix.lower() != ".zip":
        files = [root.parent / name for name in names]
    elif catalogue.kind == "tfds":
        files = cache.files_of(prepared_in(data.name, data.root))
    else:
        files = cache.files_of(root)
    settings = {name: getattr(data, name) for name in PIXEL_FIELDS.get(catalogue.kind, ())}
    skip = data.on_bad_file == "skip"
    return cache.cached(catalogue, Path(data.cache), files=files, settings=settings, skip=skip, write=write)


def _misfit(header: Header, data: DataConfig) -> tuple[str, str]:
    """Return problem and fix of an image that does not fit; '' and '' where it does."""
    maps = data.representation == "orientation"
    if (maps or data.pad == "refuse") and resize.too_small(header[:2], data.size, data.resample):
        way = "data.representation=image: orientations cannot be padded" if maps else "data.pad=reflect"
        problem = f"{header.height}x{header.width} px is smaller than data.size={data.size}"
        return problem, f"lower it, or set {way}"
    found, wanted = header.channels, data.channels
    if maps or found == wanted or (found, wanted) == (1, 3):
        return "", ""
    if (found, wanted) == (3, 1) and (data.to_grey or header.copies):
        return "", ""
    return resize.channel_fault(found, wanted)


def _split(data: DataConfig, catalogue: Catalogue) -> Dataset:
    columns, names = catalogue.columns, data.conditions
    labels, groups = catalogue.labels, catalogue.groups or catalogue.names
    if label_by := data.label_by:
        labels = columns[conditions.known_column(label_by, columns, "label_by")]
    if data.split_by:
        groups = columns[conditions.known_column(data.split_by, columns, "split_by")]
    table = conditions.values(columns, names, len(catalogue.names))
    classes = tuple(sorted(set(labels)))
    if catalogue.held_out is not None and not data.split_by and data.holdout:
        held, notes = catalogue.held_out, catalogue.held_out_notes
    else:
        held, notes = splits.holdout_mask(groups, labels, data.holdout)
    index = {name: number for number, name in enumerate(classes)}
    label = np.array([index[name] for name in labels], np.int32)
    grey = all(header.channels == 1 or header.copies for header in catalogue.headers)
    mean, std = conditions.statistics(table[~held])
    low, high = conditions.ranges(table[~held])
    shapes = [(header.height, header.width) for header in catalogue.headers]
    scale, *scales = resize.common_scale(shapes, data.size, data.resample)

    def part(mask: np.ndarray) -> CatalogueSource:
        skip = data.on_bad_file == "skip"
        return CatalogueSource(catalogue, np.flatnonzero(mask), label, table, groups, skip=skip)

    return Dataset(
        train=part(~held),
        holdout=part(held),
        classes=classes,
        conditions=names,
        preparation=_preparation(
            data,
            classes,
            mean,
            std,
            grey=grey,
            phases=catalogue.phases,
            frames=catalogue.frames or (augment.IMAGE_AXES,),
        ),
        kind=catalogue.kind,
        dtype="+".join(sorted({header.dtype for header in catalogue.headers})),
        refused=catalogue.refused,
        notes=(
            *catalogue.notes,
            *conditions.decimal_commas(columns, names),
            *conditions.unknown_values(table, names),
            *notes,
            *_padded(data, catalogue),
            *_resampled(data, scale, scales),
        ),
        fingerprint=_fingerprint(
            [
                catalogue.kind,
                list(zip(catalogue.names, labels, groups, catalogue.sizes)),
                data.holdout,
                table.tolist(),
            ]
        ),
        low=low,
        high=high,
        unused=(*catalogue.unused, *_unused_columns(data, catalogue)),
        pixel_size_um=data.pixel_size_um or catalogue.pixel_size_um * scale,
        pixel_scale=scale,
        scans=catalogue.scans,
        class_ranges=conditions.class_ranges(table[~held], label[~held], len(classes)),
    )


def _unused_columns(data: DataConfig, catalogue: Catalogue) -> tuple[str, ...]:
    used = {data.label_by, data.split_by, *data.conditions, *catalogue.serving}
    reason = "named neither by data.label_by, data.conditions nor data.split_by"
    return tuple(f"the column {name!r}: {reason}" for name in catalogue.columns if name not in used)


def _padded(data: DataConfig, catalogue: Catalogue) -> tuple[str, ...]:
    size = data.size
    small = sum(resize.too_small(header[:2], size, data.resample) for header in catalogue.headers)
    if not small:
        return ()
    return (f"{small} of {len(catalogue.headers)} images are smaller than data.size: padded ({data.pad})",)


def _resampled(data: DataConfig, scale: float, scales: Sequence[float]) -> tuple[str, ...]:
    """Return a line on the pixels of resampled images, where they are others than those of the files."""
    if scale == 1:
        return ()
    low, high = scales
    size = f"{scale:.4g}" if scale else f"{low:.4g} to {high:.4g}"
    lost = "" if scale else ": images differ, and no length in um is given unless data.pixel_size_um is set"
    kept = "; conditions are those of the files, so lengths in px among them are not scaled"
    return (
        f"data.resample={data.resample}: a pixel is {size} px of the files{lost}{kept * bool(data.conditions)}",
    )


def _preparation(
    data: DataConfig,
    classes: Sequence[str],
    mean: tuple,
    std: tuple,
    *,
    grey: bool,
    phases: tuple[PhaseName, ...] = (),
    frames: Sequence[augment.Frame] = (augment.IMAGE_AXES,),
) -> Preparation:
    direction = "" if grey or phases else data.ipf_direction
    transforms = augment.allowed_by_class(classes, direction, data.symmetry, frames)
    return Preparation(
        size=data.size,
        representation=Orientations(phases) if phases else Images(data.channels, data.to_grey),
        resample=data.resample,
        pad=data.pad,
        transforms=transforms if data.augment else (),
        mean=mean,
        std=std,
        ipf_xyz=direction == "XYZ",
    )


def _fingerprint(contents: list[Any]) -> str:
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:16]
