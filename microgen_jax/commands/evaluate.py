"""--mode=evaluate: samples of a run, or any folder of images, against real images, into `evaluation/`."""

from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from microgen_jax import evaluation, files
from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request, for_run, may_write_cache
from microgen_jax.crystal.symmetry import DEFAULT_LAUE_GROUP
from microgen_jax.errors import UserError, argument_of
from microgen_jax.evaluation import ImageSet, image_set
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.runtime import distributed
from microgen_jax.sampling import evaluated_run, evaluation_sets
from microgen_jax.sampling.evaluated_run import EvaluatedRun


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
        evaluation.check(**shared, laue_group=asked.laue_group or DEFAULT_LAUE_GROUP)
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
        data = request.config.data
        group = asked.laue_group or data.laue_group or DEFAULT_LAUE_GROUP
        further = {"laue_group": group, "colour_key": data.colour_key, "settings": {}}
        if run is not None:
            further = evaluated_run.arguments(run, networks, progress)
        further["settings"] = {"evaluate": asdict(asked), "versions": run_config.versions()} | further[
            "settings"
        ]
        result = evaluation.compare(
            real, generated, **shared, **further, networks=networks, progress=progress
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


def open_trained(request: Request, *, generates: bool, needs_holdout: bool) -> EvaluatedRun:
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
    return evaluated_run.open_evaluated(
        config,
        run.resolved,
        workdir,
        generates=generates,
        needs_holdout=needs_holdout,
        write_cache=may_write_cache(request, config),
    )


def _named(request: Request, field: str) -> ImageSet:
    """Images that `evaluate.real` or `.generated` names: a path, or samples of the run by their name."""
    name, num = getattr(request.config.evaluate, field), request.config.evaluate.num
    config, sized = request.config.data, request.has_config or "data.size" in request.overrides
    size = config.size if sized else None
    if request.workdir and (samples := request.workdir / "samples" / name / "samples.npz").is_file():
        name, config = samples, replace(config, value_range="auto")  # samples are 8-bit images
    return evaluation_sets.open_images(name, field, num=num, reading=config, size=size)
