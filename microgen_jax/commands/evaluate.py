"""--mode=evaluate: what a run draws, or any folder of images, against real images, into `evaluation/`."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from microgen_jax import files
from microgen_jax.config.command_line import Request
from microgen_jax.crystal.symmetry import laue_group
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.evaluation import (
    baseline,
    compare,
    denoising_error,
    entries,
    sets,
    statistics,
    training_copies,
)
from microgen_jax.evaluation.features import comparison
from microgen_jax.evaluation.report import content
from microgen_jax.evaluation.sets import Run, Tiles
from microgen_jax.evaluation.summary import AUDIT, CONDITIONING_ACCURACY, DESCRIPTIONS, show, words
from microgen_jax.runtime import distributed

TRAINING_FEATURES = 2000  # training tiles whose features are looked at


def evaluate(request: Request) -> None:
    """Writes `evaluation/metrics.json` and `evaluation/report.html`, and prints a table.

    Raises:
      UserError: sets that are missing or do not fit each other, or unknown metrics.
    """
    asked = request.config.evaluate
    _check(asked)
    networks = comparison.open_networks(asked)
    if request.workdir is not None:
        files.check_writable(request.workdir)
    run = None
    if not (asked.real and asked.generated):
        run = sets.open_trained(request, draws=not asked.generated, needs_real=not asked.real)
    real = sets.named(request, "real", asked.num) if asked.real else sets.held_out(run, asked.num)
    generated = sets.named(request, "generated", asked.num) if asked.generated else None
    if len(real.images) < baseline.LEAST_TILES:
        raise UserError(
            f"{real.origin}: {len(real.images)} real images; {baseline.LEAST_TILES} are the least"
        )
    if generated is not None:
        if 1 in (real.images.shape[-1], generated.images.shape[-1]):
            real, generated = sets.as_grey(real), sets.as_grey(generated)
        _check_alike(real, generated)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if generated is None:
            generated = _draw(run, real, asked.num, asked.seed, progress)
        if not distributed.is_process_0():
            return
        image_kind = _classify_images(real, run, asked)
        wanted = _wanted(asked.metrics, image_kind, audited=run is not None)
        audit = None
        if set(wanted) & set(AUDIT):
            audit = training_copies.search(run, real, generated, asked.copy_search_num, progress)
        names = run.dataset.conditions if run else ()
        outcome = compare.compare(real, generated, image_kind, audit, wanted, names, asked.seed, progress)
        classes = compare.classes_of(real, generated)
        training = None
        if run is not None and set(networks.names) & set(comparison.NEAREST):
            training = sets.training_tiles(run, TRAINING_FEATURES)
        seen, seconds = comparison.compare(networks, real, generated, classes, training, asked.seed, progress)
        restored = _restored(run, asked.metrics, progress)
    outcome = outcome._replace(
        metrics=_ordered({**outcome.metrics, **seen, **restored, **_skipped(asked.metrics, image_kind, run)}),
        seconds=outcome.seconds | seconds,
    )
    metrics = outcome.metrics
    settings = content.settings(request, run, real, generated, image_kind, outcome, audit, networks)
    notes = (*(run.notes if run else ()), *compare.missing_classes(real, generated))
    warnings, summary = words(metrics, real, generated, outcome.plan.size, notes)
    show(metrics, warnings, summary)
    if request.workdir is None:
        print("nothing written: name a --workdir to keep metrics.json and report.html")
        return
    page = content.page(request, metrics, settings, warnings, summary, real, generated, outcome, audit)

    def write(folder: Path) -> None:
        files.write_json(folder / "metrics.json", {"settings": settings, "metrics": metrics})
        (folder / "report.html").write_text(page, encoding="utf-8")

    files.write_folder(request.workdir / "evaluation", write)
    print(f"written: {request.workdir}/evaluation")


def _check(asked: Any) -> None:
    for name in asked.metrics:
        if name not in DESCRIPTIONS:
            known = list(DESCRIPTIONS)
            raise UserError(
                f"evaluate.metrics: {name!r} is not known; {did_you_mean(name, known)}there are: {', '.join(known)}"
            )
    for name, least in (("num", baseline.LEAST_TILES), ("copy_search_num", 0), ("seed", 0)):
        if getattr(asked, name) < least:
            raise UserError(f"evaluate.{name}={getattr(asked, name)} must be at least {least}")
    if not 0 < asked.pixel_size_um < math.inf:
        raise UserError(
            f"evaluate.pixel_size_um={asked.pixel_size_um} must be above 0: micrometres of a pixel"
        )
    laue_group(asked.laue_group)


def _check_alike(real: Tiles, generated: Tiles) -> None:
    (height, width, channels), other = real.images.shape[1:], generated.images.shape[1:]
    if (height, width) != other[:2]:
        raise UserError(
            f"real images are {height}x{width} px and generated ones {other[0]}x{other[1]}; "
            f"cut both to one size with --config.data.size='({min(height, other[0])},{min(width, other[1])})'"
        )
    if channels != other[2]:
        raise UserError(
            f"real images have {channels} channels and generated ones {other[2]}: "
            "compare colour with colour and grey with grey"
        )
    if len(generated.images) < 2:
        raise UserError(f"{generated.origin}: {len(generated.images)} generated image; 2 are the least")


def _draw(run: Run, real: Tiles, num: int, seed: int, progress: Progress) -> Tiles:
    """As many images as asked for, with the real images' classes and conditions in turn."""
    labels = _labels(run, real)[np.arange(num) % len(real.labels)].astype(np.int32)
    task = progress.add_task("drawing", total=num)
    told = np.full((num, len(run.dataset.conditions)), np.nan, np.float32)
    if real.conditions.shape[1] == told.shape[1]:
        told = real.conditions[np.arange(num) % len(real.labels)]
    parts = []
    for part in sets.drawn(run, labels, told, seed):
        parts.append(part)
        progress.advance(task, len(part))
    groups = np.arange(num).astype(str)
    origin = f"drawn from the run, checkpoint {run.generator.step}"
    return Tiles(np.concatenate(parts), labels, groups, told, run.dataset.classes, origin)


def _labels(run: Run, real: Tiles) -> np.ndarray:
    """The run's class for every real image: that of the same name, else the run's classes in turn."""
    own = run.dataset.classes
    if set(real.classes) <= set(own):
        return np.array([own.index(name) for name in real.classes])[real.labels]
    return np.arange(len(real.labels)) % len(own)


def _classify_images(real: Tiles, run: Run | None, asked: Any) -> statistics.ImageKind:
    maps = (
        None if run is None else bool(run.config.data.ipf_direction) and run.dataset.preparation.channels == 3
    )
    return statistics.classify_images(
        real.images, maps=maps, step=asked.pixel_size_um, laue_group=asked.laue_group
    )


def _wanted(metrics: tuple[str, ...], image_kind: statistics.ImageKind, *, audited: bool) -> list[str]:
    there = [*image_kind.names, *((*AUDIT, CONDITIONING_ACCURACY) if audited else ())]
    return [name for name in there if not metrics or name in metrics]


def _restored(run: Run | None, metrics: tuple[str, ...], progress: Progress) -> dict[str, dict]:
    """How well the run's network restores held-out images, where there is one and it is wanted."""
    wanted = tuple(name for name in metrics if name in denoising_error.DESCRIPTIONS)
    if run is None or run.generator is None or not len(run.dataset.holdout) or (metrics and not wanted):
        return {}
    return denoising_error.measure(run, wanted, progress)


def _skipped(metrics: tuple[str, ...], image_kind: statistics.ImageKind, run: Run | None) -> dict[str, dict]:
    """Entries of what was asked for by name, or belongs to every evaluation, and cannot be measured here."""
    skipped = {}
    for name in metrics or AUDIT:
        if run is None and (name in AUDIT or name in comparison.NEAREST):
            skipped[name] = entries.null(0, 0, "needs the training images: name the run's --workdir")
        elif name in statistics.DESCRIPTIONS and name not in image_kind.names:
            skipped[name] = entries.null(0, 0, f"images of the kind {image_kind.kind!r} do not have it")
        elif name in denoising_error.DESCRIPTIONS and (run is None or run.generator is None):
            skipped[name] = entries.null(
                0, 0, "needs the run's network: name --workdir and leave evaluate.generated empty"
            )
        elif name == CONDITIONING_ACCURACY and (run is None or not run.dataset.conditions):
            skipped[name] = entries.null(0, 0, "needs a run with continuous conditions")
    return skipped


def _ordered(metrics: dict[str, dict]) -> dict[str, dict]:
    """Pooled figures first, then those by class."""
    return dict(sorted(metrics.items(), key=lambda item: "/" in item[0]))
