"""--mode=evaluate: what a run draws, or any folder of pictures, against real pictures, into `evaluation/`."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from microgen_jax.commands import evaluation_sets as sets
from microgen_jax.commands import record
from microgen_jax.commands.command_line import Request, nearest
from microgen_jax.commands.evaluation_sets import Run, Tiles
from microgen_jax.commands.evaluation_words import AUDIT, DESCRIPTIONS, SMALL, show, words
from microgen_jax.crystal.symmetry import laue_group
from microgen_jax.evaluation import floor, memorisation, statistics
from microgen_jax.evaluation.floor import Comparison, Plan, Statistic
from microgen_jax.training import files, hosts
from microgen_jax.types import UserError

PAIRS_SHOWN = 10
BLOCK = 512  # tiles whose nearest training pictures are searched at once


class Audit(NamedTuple):
    """The nearest training windows of both sides.

    Attributes:
      real, generated: distances, [N] and [M].
      pairs: the nearest generated tiles and their training windows, uint8 [P, H, W, C] each.
      searched: training pictures.
    """

    real: np.ndarray
    generated: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    searched: int


class Outcome(NamedTuple):
    """Entries of metrics.json, and the pooled statistics behind those that were compared."""

    metrics: dict[str, dict]
    statistics: dict[str, Statistic]
    compared: dict[str, Comparison]
    plan: Plan
    seconds: dict[str, float]


def evaluate(request: Request) -> None:
    """Writes `evaluation/metrics.json` and `evaluation/report.html`, and prints a table.

    Raises:
      UserError: sets that are missing or do not fit each other, or unknown metrics.
    """
    asked = request.config.evaluate
    _check(asked)
    if request.workdir is not None:
        files.check_writable(request.workdir)
    run = None
    if not (asked.real and asked.generated):
        run = sets.open_trained(request, draws=not asked.generated, needs_real=not asked.real)
    real = sets.named(request, "real", asked.num) if asked.real else sets.held_out(run, asked.num)
    generated = sets.named(request, "generated", asked.num) if asked.generated else None
    if len(real.images) < floor.LEAST_TILES:
        raise UserError(f"{real.origin}: {len(real.images)} real pictures; {floor.LEAST_TILES} are the least")
    if generated is not None:
        if 1 in (real.images.shape[-1], generated.images.shape[-1]):
            real, generated = sets.as_grey(real), sets.as_grey(generated)
        _check_alike(real, generated)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if generated is None:
            generated = _draw(run, real, asked.num, asked.seed, progress)
        if not hosts.first():
            return
        pictures = _recognise(real, run, asked)
        wanted = _wanted(asked.metrics, pictures, audited=run is not None)
        audit = _audit(run, real, generated, asked.audit_num, progress) if set(wanted) & set(AUDIT) else None
        outcome = _compare(real, generated, pictures, audit, wanted, asked.seed, progress)
    metrics = outcome.metrics | _skipped(asked.metrics, pictures, audited=run is not None)
    settings = _settings(request, run, real, generated, pictures, outcome, audit)
    warnings, summary = words(metrics, real, generated, outcome.plan.size, run.notes if run else ())
    show(metrics, warnings, summary)
    if request.workdir is None:
        print("nothing written: name a --workdir to keep metrics.json and report.html")
        return
    page = _page(request, metrics, settings, warnings, summary, real, generated, outcome, audit)

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
                f"evaluate.metrics: {name!r} is not known{nearest(name, known)}; there are: {', '.join(known)}"
            )
    for name, least in (("num", floor.LEAST_TILES), ("audit_num", 0), ("seed", 0)):
        if asked[name] < least:
            raise UserError(f"evaluate.{name}={asked[name]} must be at least {least}")
    if not 0 < asked.step < math.inf:
        raise UserError(f"evaluate.step={asked.step} must be above 0: micrometres of a pixel")
    laue_group(asked.laue_group)


def _check_alike(real: Tiles, generated: Tiles) -> None:
    (height, width, channels), other = real.images.shape[1:], generated.images.shape[1:]
    if (height, width) != other[:2]:
        raise UserError(
            f"real pictures are {height}x{width} px and generated ones {other[0]}x{other[1]}; "
            f"cut both to one size with --config.data.size='({min(height, other[0])},{min(width, other[1])})'"
        )
    if channels != other[2]:
        raise UserError(
            f"real pictures have {channels} channels and generated ones {other[2]}: "
            "compare colour with colour and grey with grey"
        )
    if len(generated.images) < 2:
        raise UserError(f"{generated.origin}: {len(generated.images)} generated picture; 2 are the least")


def _draw(run: Run, real: Tiles, num: int, seed: int, progress: Progress) -> Tiles:
    """As many pictures as asked for, of the held-out pictures' classes in turn."""
    labels = real.labels[np.arange(num) % len(real.labels)].astype(np.int32)
    task = progress.add_task("drawing", total=num)
    parts = []
    for part in sets.drawn(run, labels, seed):
        parts.append(part)
        progress.advance(task, len(part))
    groups = np.arange(num).astype(str)
    origin = f"drawn from the run, checkpoint {run.generator.step}"
    return Tiles(np.concatenate(parts), labels, groups, run.dataset.classes, origin)


def _recognise(real: Tiles, run: Run | None, asked: Any) -> statistics.Pictures:
    maps = (
        None if run is None else bool(run.config.data.ipf_direction) and run.dataset.preparation.channels == 3
    )
    return statistics.recognise(real.images, maps=maps, step=asked.step, laue_group=asked.laue_group)


def _wanted(metrics: tuple[str, ...], pictures: statistics.Pictures, *, audited: bool) -> list[str]:
    there = [*pictures.names, *(AUDIT if audited else ())]
    return [name for name in there if not metrics or name in metrics]


def _audit(run: Run, real: Tiles, generated: Tiles, limit: int, progress: Progress) -> Audit:
    pictures, labels = [], []
    reading = progress.add_task(
        "reading training pictures", total=min(limit or 10**9, len(run.dataset.train))
    )
    for picture, label in sets.training_pictures(run, limit):
        pictures.append(picture)
        labels.append(label)
        progress.advance(reading)
    elements, by_class = sets.transforms(run)
    both = np.concatenate([real.images, generated.images])
    size = both.shape[1:3]
    blocks = (sets.variants(both[n : n + BLOCK], elements, run) for n in range(0, len(both), BLOCK))
    task = progress.add_task("searching copies", total=len(both))
    parts = []
    for part in memorisation.nearest(blocks, pictures, size, by_class[labels]):
        parts.append(part)
        progress.advance(task, len(part.distance))
    found = memorisation.Nearest(*(np.concatenate(column) for column in zip(*parts)))
    first = len(real.images)
    shown = first + np.argsort(found.distance[first:], kind="stable")[:PAIRS_SHOWN]
    turned = sets.variants(both[shown], elements, run)[found.variant[shown], np.arange(len(shown))]
    corners = [(pictures[found.picture[n]], *found.corner[n]) for n in shown]
    windows = np.stack([picture[y : y + size[0], x : x + size[1]] for picture, y, x in corners])
    pairs = turned, windows
    return Audit(found.distance[:first], found.distance[first:], pairs, len(pictures))


def _compare(
    real: Tiles,
    generated: Tiles,
    pictures: statistics.Pictures,
    audit: Audit | None,
    wanted: list[str],
    seed: int,
    progress: Progress,
) -> Outcome:
    n_real, n_generated = len(real.images), len(generated.images)
    task = progress.add_task("measuring", total=n_real + n_generated)
    start = time.perf_counter()
    both = np.concatenate([real.images, generated.images])
    measured = statistics.measure(both, pictures, lambda count: progress.advance(task, count))
    seconds = {"measuring": round(time.perf_counter() - start, 2)}
    if audit is not None:
        distances = np.concatenate([audit.real, audit.generated])
        measured["training_distance"] = floor.distribution(
            distances, np.arange(len(distances)), len(distances), "1", "distance to the training data"
        )
    plan = floor.plan(real.groups, n_generated, seed=seed)
    metrics, compared = {}, {}
    names = [name for name in measured if name in wanted]
    classes = _classes(real, generated)
    task = progress.add_task("comparing", total=len(names) * (1 + len(classes)))
    for name in names:
        start = time.perf_counter()
        found = floor.compare(measured[name], plan)
        metrics[name] = _entry(found, measured[name], plan, n_real, n_generated)
        seconds[name] = round(time.perf_counter() - start, 2)
        if found is not None:
            compared[name] = found
        progress.advance(task)
    if audit is not None and "copies" in wanted:
        metrics["copies"] = _copies(audit)
    for label, other, title in classes:
        rows_real, rows_generated = (
            np.flatnonzero(real.labels == label),
            np.flatnonzero(generated.labels == other),
        )
        sizes = len(rows_real), len(rows_generated)
        if sizes[0] < floor.LEAST_TILES or sizes[1] < 2:
            reason = f"{sizes[0]} real and {sizes[1]} generated pictures are too few"
            metrics |= {f"{name}/{title}": _null(*sizes, reason) for name in names}
            progress.advance(task, len(names))
            continue
        own = floor.plan(real.groups[rows_real], sizes[1], seed=seed)
        rows = np.concatenate([rows_real, n_real + rows_generated])
        for name in names:
            statistic = floor.take(measured[name], rows)
            metrics[f"{name}/{title}"] = _entry(floor.compare(statistic, own), statistic, own, *sizes)
            progress.advance(task)
    return Outcome(metrics, measured, compared, plan, seconds)


def _classes(real: Tiles, generated: Tiles) -> list[tuple[int, int, str]]:
    """Classes of the real tiles, as numbered on either side; none where the sides' classes are not the same."""
    if len(real.classes) < 2 or set(real.classes) != set(generated.classes):
        return []
    return [(n, generated.classes.index(name), name) for n, name in enumerate(real.classes)]


def _entry(
    found: Comparison | None, statistic: Statistic, plan: Plan, n_real: int, n_generated: int
) -> dict[str, Any]:
    if found is None:
        return _null(n_real, n_generated, "does not occur in every set that was to be compared")
    notes = [f"in {statistic.unit}; {plan.size} against {plan.size} tiles"]
    if plan.size < SMALL:
        notes.append("small samples: the interval is rough")
    exists = math.isfinite(found.ratio)
    if not exists:
        notes.append("the real tiles do not differ at all, the generated ones do")
    return {
        "value": found.value,
        "floor": found.floor,
        "ratio": found.ratio if exists else None,
        "interval": list(found.interval) if exists else None,
        "n_real": n_real,
        "n_generated": n_generated,
        "note": "; ".join(notes),
    }


def _null(n_real: int, n_generated: int, reason: str) -> dict[str, Any]:
    empty = dict.fromkeys(("value", "floor", "ratio", "interval"))
    return {**empty, "n_real": n_real, "n_generated": n_generated, "note": reason}


def _copies(audit: Audit) -> dict[str, Any]:
    value, usual = (float(np.mean(part < memorisation.COPY)) for part in (audit.generated, audit.real))
    return {
        "value": value,
        "floor": usual,
        "ratio": value / usual if usual else None,
        "interval": None,
        "n_real": len(audit.real),
        "n_generated": len(audit.generated),
        "note": f"shares nearer than {memorisation.COPY} to one of {audit.searched} training pictures; "
        "the floor is the held-out pictures' share",
    }


def _skipped(metrics: tuple[str, ...], pictures: statistics.Pictures, *, audited: bool) -> dict[str, dict]:
    """Entries of what was asked for by name, or belongs to every evaluation, and cannot be measured here."""
    skipped = {}
    for name in metrics or AUDIT:
        if name in AUDIT and not audited:
            skipped[name] = _null(0, 0, "needs the training pictures: name the run's --workdir")
        elif name in statistics.DESCRIPTIONS and name not in pictures.names:
            skipped[name] = _null(0, 0, f"pictures of the kind {pictures.kind!r} do not have it")
    return skipped


def _settings(
    request: Request,
    run: Run | None,
    real: Tiles,
    generated: Tiles,
    pictures: statistics.Pictures,
    outcome: Outcome,
    audit: Audit | None,
) -> dict[str, Any]:
    settings = {
        "evaluate": request.config.evaluate.to_dict(),
        "real": real.origin,
        "generated": generated.origin,
        "size": list(real.images.shape[1:]),
        "compared": outcome.plan.size,
        "real_groups": outcome.plan.groups,
        "groups": "files" if len(set(real.groups)) > 1 else "tiles",
        "splits": floor.SPLITS,
        "resamples": floor.RESAMPLES,
        "interval": f"{floor.LEVEL:.0%} of the ratio, by bootstrap of tiles or groups",
        "pictures": pictures._asdict(),
        "copy_below": memorisation.COPY,
        "training_pictures_searched": audit.searched if audit else 0,
        "seconds": outcome.seconds,
        "versions": record.versions(),
    }
    if run is not None:
        settings |= {"fingerprint": run.dataset.fingerprint, "notes": list(run.notes)}
        if run.generator is not None:
            settings |= {"checkpoint": run.generator.step, "sample": run.config.sample.to_dict()}
    return settings


def _page(
    request: Request,
    metrics: dict[str, dict],
    settings: dict[str, Any],
    warnings: list[str],
    summary: list[str],
    real: Tiles,
    generated: Tiles,
    outcome: Outcome,
    audit: Audit | None,
) -> str:
    from microgen_jax.evaluation import report  # matplotlib and jinja2 are slow to import

    return report.render(
        report.Story(
            title=f"Evaluation of {request.workdir.name}",
            warnings=warnings,
            summary=summary,
            metrics=metrics,
            statistics=outcome.statistics,
            compared=outcome.compared,
            descriptions=DESCRIPTIONS,
            real=_by_class(real),
            generated=_by_class(generated),
            pairs=audit.pairs if audit else None,
            laue_group=request.config.evaluate.laue_group,
            settings=json.dumps(settings, indent=1),
        )
    )


def _by_class(tiles: Tiles) -> np.ndarray:
    """Tiles in the order that shows every class in turn, classes by name."""
    rows = [np.flatnonzero(tiles.labels == tiles.classes.index(name)) for name in sorted(tiles.classes)]
    turn = sorted((place, n, row) for n, own in enumerate(rows) for place, row in enumerate(own))
    return tiles.images[[row for _, _, row in turn]]
