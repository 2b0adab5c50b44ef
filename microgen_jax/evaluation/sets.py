"""The two sets of tiles that `--mode=evaluate` compares: a run's, or those of any two folders or files."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from jaxtyping import Float, Int, UInt8

from microgen_jax import data
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run, may_write_cache
from microgen_jax.config.schema import Config
from microgen_jax.data import Dataset, augment, resize
from microgen_jax.data.pipeline import prepare
from microgen_jax.errors import UserError, renamed
from microgen_jax.images import to_uint8
from microgen_jax.runtime import distributed
from microgen_jax.sampling.generator import Generator, open_run
from microgen_jax.types import Source


@dataclass(frozen=True)
class Tiles:
    """Tiles of one side.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int [N], rows of `classes`.
      groups: text [N], what belongs together.
      conditions: float32 [N, K], standardised as the run was trained with them; K is 0 where there is no run.
      classes: names.
      origin: in words.
    """

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    groups: np.ndarray
    conditions: Float[np.ndarray, "N K"]
    classes: tuple[str, ...]
    origin: str


@dataclass(frozen=True)
class Run:
    """A trained run, opened.

    Attributes:
      config: its own, with `sample` and `mesh` from the flags.
      dataset: that it was trained on.
      generator: None where samples that exist are judged.
      notes: what must be said.
    """

    config: Config
    dataset: Dataset
    generator: Generator | None
    notes: tuple[str, ...]


def open_trained(request: Request, *, draws: bool, needs_real: bool) -> Run:
    """Opens the run in the work directory and its data.

    Raises:
      UserError: no run, no checkpoint, no data, or none held out.
    """
    workdir = request.workdir
    if workdir is None:
        raise UserError(
            "--workdir is missing: name the folder of a trained run, or give both "
            "--config.evaluate.real and --config.evaluate.generated"
        )
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    if config.data.root:
        distributed.log(f"reading {config.data.root}, the data.root of {workdir}/config.json")
    dataset = data.open_dataset(config.data, config.seed, write_cache=may_write_cache(request, config))
    if needs_real and len(dataset.holdout) == 0:
        raise UserError("the run has no held-out images: name others with --config.evaluate.real=FOLDER")
    changed = dataset.fingerprint != run.resolved.fingerprint
    notes = ("the data have changed since the run was trained on them",) if changed else ()
    return Run(config, dataset, open_run(config, run.resolved, workdir) if draws else None, notes)


def held_out(run: Run, num: int) -> Tiles:
    """Up to `num` held-out tiles of a run, spread evenly, as the model sees them."""
    source, count = run.dataset.holdout, min(num, len(run.dataset.holdout))
    return _read(source, run.dataset, count, "held-out images of the run")


def drawn(
    run: Run, labels: np.ndarray, conditions: np.ndarray, seed: int
) -> Iterator[UInt8[np.ndarray, "B H W C"]]:
    """Images of the run's generator with these classes and standardised conditions, batch by batch."""
    return run.generator.batches(labels, conditions, seed)


def named(request: Request, field: str, num: int) -> Tiles:
    """Up to `num` tiles of the folder, npz or other source that `evaluate.real` or `.generated` names.

    Images are cut to `data.size` where it was set on the command line or by a config file; if not, all must
    have one size. Grey images stay grey.

    Raises:
      UserError: nothing there, nothing that can be read, or different sizes.
    """
    asked = getattr(request.config.evaluate, field)
    chosen = request.workdir / "samples" / asked if request.workdir else None
    root = str(chosen / "samples.npz") if chosen and (chosen / "samples.npz").is_file() else asked
    config = request.config.data
    source = "auto" if config.source == "polycrystal" else config.source
    plain = {
        "holdout": 0.0,
        "augment": False,
        "conditions": (),
        "split_by": "",
        "label_by": "",
        "pad": "reflect",
    }
    config = replace(config, root=root, name="", source=source, **plain)
    with renamed({"data.root": f"evaluate.{field}"}):
        dataset = data.open_dataset(config, 0)
        free = not request.has_config and "data.size" not in request.overrides
        if free:
            size = _common_size(dataset.train, num, field)
            dataset = data.open_dataset(replace(config, size=size), 0)
        return _read(dataset.train, dataset, min(num, len(dataset.train)), root, keep_grey=True)


def as_grey(tiles: Tiles) -> Tiles:
    """Tiles whose channels are all the same, with one of them; others as they are."""
    copies = bool((tiles.images == tiles.images[..., :1]).all())
    return replace(tiles, images=tiles.images[..., :1]) if copies else tiles


def training_images(run: Run, limit: int) -> Iterator[tuple[np.ndarray, int]]:
    """uint8 [h, w, C] and class of up to `limit` training images: whole where the model sees crops of them."""
    source, preparation = run.dataset.train, run.dataset.preparation
    count = min(limit, len(source)) if limit else len(source)
    for n in range(count):
        original = source[n * len(source) // count]
        small = resize.too_small(original.image.shape[:2], preparation.size, preparation.resample)
        if preparation.resample == "none" and not small:
            pixels = resize.to_channels(original.image, preparation.channels, to_grey=preparation.to_grey)
            image = resize.to_float(pixels, original.image.dtype)
        else:
            image = prepare(original, preparation).image
        yield to_uint8(image), original.label


def training_tiles(run: Run, limit: int) -> UInt8[np.ndarray, "N H W C"]:
    """Up to `limit` training images as the model sees them without augmentation."""
    count = min(limit, len(run.dataset.train))
    return _read(run.dataset.train, run.dataset, count, "training images").images


def transforms(run: Run) -> tuple[tuple[str, ...], np.ndarray]:
    """The transforms under which copies are looked for, and which of them each class has, bool [K, T]."""
    height, width = run.dataset.preparation.size
    by_class = run.dataset.preparation.transforms or (("identity",),) * len(run.dataset.classes)
    fitting = [
        element
        for element in augment.DIHEDRAL
        if (height == width or not augment.swaps_axes(element)) and any(element in own for own in by_class)
    ]
    return tuple(fitting), np.array([[element in own for element in fitting] for own in by_class])


def variants(images: np.ndarray, elements: tuple[str, ...], run: Run) -> UInt8[np.ndarray, "T N H W C"]:
    """Every tile under every transform."""
    xyz = run.dataset.preparation.ipf_xyz
    return np.stack(
        [np.stack([augment.apply(image, element, ipf_xyz=xyz) for image in images]) for element in elements]
    )


def _read(source: Source, dataset: Dataset, count: int, origin: str, *, keep_grey: bool = False) -> Tiles:
    if count == 0:
        raise UserError(f"{origin}: no images")
    chosen = [n * len(source) // count for n in range(count)]
    labels, groups, conditions, channels = [], [], [], set()

    def rows() -> Iterator[np.ndarray]:
        for n in chosen:
            original = source[n]
            labels.append(original.label)
            groups.append(original.group)
            channels.add(original.image.shape[-1])
            prepared = prepare(original, dataset.preparation)
            conditions.append(prepared.condition)
            yield to_uint8(prepared.image)

    images = np.stack(list(rows()))
    images = images[..., :1] if keep_grey and channels == {1} else images
    told = np.array(conditions, np.float32).reshape(len(images), -1)
    return Tiles(images, np.array(labels), np.array(groups), told, dataset.classes, origin)


def _common_size(source: Source, num: int, field: str) -> tuple[int, int]:
    sizes = {original.image.shape[:2] for original in islice(_each(source), min(num, len(source)))}
    if len(sizes) > 1:
        some = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:3])
        raise UserError(
            f"evaluate.{field}: images of {len(sizes)} sizes ({some}, ...); "
            "cut them with --config.data.size='(64,64)'"
        )
    return sizes.pop()


def _each(source: Source) -> Iterator:
    return (source[n] for n in range(len(source)))
