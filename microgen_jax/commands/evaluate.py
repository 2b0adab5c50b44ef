"""--mode=evaluate: samples of a run, or any folder of images, against real images, into `evaluation/`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from microgen_jax import data, evaluation, files
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run, may_write_cache
from microgen_jax.config.schema import Config
from microgen_jax.data import Dataset
from microgen_jax.errors import UserError, argument_of
from microgen_jax.evaluation import copy_search, image_set
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.evaluation.summary import DENOISING_ERROR
from microgen_jax.runtime import distributed
from microgen_jax.sampling import Generator, denoising_error, evaluation_sets, open_run

DEFAULT_GROUP = "m-3m"
TRAINING_FEATURES = 2000  # training tiles whose features are compared


class Run(NamedTuple):
    """A trained run, opened.

    Attributes:
      config: configuration of the run, with `sample` and `mesh` from the flags.
      dataset: dataset that it was trained on.
      generator: the trained model; None where existing samples are evaluated.
      notes: sentences for the report.
    """

    config: Config
    dataset: Dataset
    generator: Generator | None
    notes: tuple[str, ...]


def evaluate(request: Request) -> None:
    """Write `evaluation/metrics.json` and `evaluation/report.html`, and print a table.

    Args:
      request: what was asked for on the command line.

    Raises:
      UserError: sets that are missing or do not fit each other, or unknown metrics.
    """
    asked = request.config.evaluate
    shared = {name: getattr(asked, name) for name in ("metrics", "pixel_size_um", "seed")}
    with argument_of("evaluate"):
        evaluation.check(**shared, laue_group=asked.laue_group or DEFAULT_GROUP)
        networks = features.open_networks(
            asked.metrics,
            inception_weights=asked.inception_weights,
            inception_preprocessing=asked.inception_preprocessing,
        )
    if request.workdir is not None:
        files.check_writable(request.workdir)
    run, generated = None, None
    if not (asked.real and asked.generated):
        run = open_trained(request, generates=not asked.generated, needs_holdout=not asked.real)
    with argument_of("evaluate"):
        real = _named(request, "real") if asked.real else evaluation_sets.held_out(run.dataset, asked.num)
        image_set.check_number(real, evaluation.MIN_REAL_TILES)
        if asked.generated:
            generated = _named(request, "generated")
            real, generated = image_set.matched(real, generated, min_real=evaluation.MIN_REAL_TILES)
    with argument_of("evaluate"), Progress(console=Console(stderr=True), transient=True) as progress:
        if generated is None:
            generated = evaluation_sets.generate(run.generator, real, asked.num, asked.seed, progress)
        if not distributed.is_process_0():
            return
        further = {"evaluate": asdict(asked), "versions": run_config.versions()}
        result = evaluation.compare(
            real,
            generated,
            **shared,
            **_colours(request, run),
            ipf_maps=None if run is None else _shows_ipf_maps(run),
            condition_names=run.dataset.conditions if run else (),
            training=_training_images(request, run, networks, progress),
            networks=networks,
            denoising_error=_denoising_error(run, asked.metrics, progress),
            notes=run.notes if run else (),
            settings=further | _settings(run),
            progress=progress,
        )
    print(result.table(), end="")
    if request.workdir is None:
        print("nothing written: name a --workdir to keep metrics.json and report.html")
        return

    def write(folder: Path) -> None:
        files.write_json(folder / "metrics.json", result.to_json())
        result.report(folder / "report.html", title=f"Evaluation of {request.workdir.name}")

    files.write_folder(request.workdir / "evaluation", write)
    print(f"written: {request.workdir}/evaluation")


def open_trained(request: Request, *, generates: bool, needs_holdout: bool) -> Run:
    """Return the run in the work directory with its data.

    Args:
      request: what was asked for on the command line.
      generates: whether images are to be generated.
      needs_holdout: whether held-out images are needed.

    Raises:
      UserError: there is no run, checkpoint or data, or no image is held out.
    """
    workdir = request.workdir
    if workdir is None:
        fix = "name the folder of a trained run, or give both evaluate.real and evaluate.generated"
        raise UserError("--workdir", "is missing", fix)
    run = run_config.read(workdir)
    config = for_run(request, run.config)
    if config.data.root:
        distributed.log(f"reading {config.data.root}, the data.root of {workdir}/config.json")
    dataset = data.open_dataset(config.data, config.seed, write_cache=may_write_cache(request, config))
    if needs_holdout and len(dataset.holdout) == 0:
        raise UserError(
            "evaluate.real", "is empty, and the run has no held-out images", "name a folder of real images"
        )
    changed = dataset.fingerprint != run.resolved.fingerprint
    notes = ("the data have changed since the run was trained on them",) if changed else ()
    generator = open_run(config, run.resolved, workdir) if generates else None
    return Run(config, dataset, generator, notes)


def _named(request: Request, field: str) -> evaluation.ImageSet:
    """Images that `evaluate.real` or `.generated` names: a path, or samples of the run by their name."""
    name = getattr(request.config.evaluate, field)
    samples = request.workdir / "samples" / name / "samples.npz" if request.workdir else None
    is_run = samples is not None and samples.is_file()
    path = samples if is_run else name
    config = replace(
        request.config.data, **({"value_range": "auto"} if is_run else {})
    )  # samples are 8-bit images
    sized = request.has_config or "data.size" in request.overrides
    num = request.config.evaluate.num
    return evaluation_sets.open_images(
        path, field, num=num, reading=config, size=config.size if sized else None
    )


def _colours(request: Request, run: Run | None) -> dict[str, str]:
    """Laue group and key of the IPF colours: as asked for, else those of the data."""
    asked = request.config.data if run is None else run.config.data
    scans = run.dataset.scans if run else ()
    groups = {phase["laue_group"] for scan in scans for phase in scan["phases"].values() if phase["share"]}
    of_scans = groups.pop() if len(groups) == 1 else ""
    group = request.config.evaluate.laue_group or of_scans or asked.laue_group or DEFAULT_GROUP
    return {"laue_group": group, "colour_key": asked.colour_key}


def _shows_ipf_maps(run: Run) -> bool:
    return bool(run.config.data.ipf_direction) and run.dataset.preparation.channels == 3


def _training_images(
    request: Request, run: Run | None, networks: features.Networks, progress: Progress
) -> evaluation.TrainingImages | None:
    """Training images for the metrics that need them; None where there are none or no metric does."""
    asked = request.config.evaluate
    copies = not asked.metrics or set(asked.metrics) & set(copy_search.DESCRIPTIONS)
    near = set(networks.names) & set(features.NEAREST)
    if run is None or not (copies or near):
        return None
    num = asked.copy_search_num if copies else 1
    return evaluation_sets.training_images(
        run.dataset, num, progress, num_tiles=TRAINING_FEATURES if near else 0
    )


def _denoising_error(run: Run | None, metrics: tuple[str, ...], progress: Progress) -> dict[str, dict]:
    names = tuple(name for name in metrics if name in DENOISING_ERROR)
    if run is None or run.generator is None or not len(run.dataset.holdout) or (metrics and not names):
        return {}
    generator = run.generator
    return denoising_error.measure(
        generator.method, generator.params, run.dataset, names, progress, workers=run.config.data.workers
    )


def _settings(run: Run | None) -> dict[str, object]:
    if run is None:
        return {}
    found: dict[str, object] = {"fingerprint": run.dataset.fingerprint, "notes": list(run.notes)}
    if run.generator is not None:
        found |= {"checkpoint": run.generator.step, "sample": asdict(run.config.sample)}
    return found
