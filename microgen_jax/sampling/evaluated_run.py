"""A trained run that is evaluated: its data and network, and what a comparison needs of them beside the images."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from microgen_jax import data
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.crystal.symmetry import DEFAULT_LAUE_GROUP
from microgen_jax.data import Dataset
from microgen_jax.data.representations import Orientations
from microgen_jax.data.representations.choice import shows_ipf_maps
from microgen_jax.errors import UserError
from microgen_jax.evaluation import TrainingImages, copy_search
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.evaluation.summary import DENOISING_ERROR
from microgen_jax.sampling import denoising_error, evaluation_sets
from microgen_jax.sampling.generator import Generator
from microgen_jax.sampling.opening import open_run

ORIENTATIONS_NOTE = (
    "orientations are compared by their IPF-Z colours; decoding allows no dead end and no off-key colour"
)
TRAINING_FEATURES = 2000  # training tiles whose features are compared


class EvaluatedRun(NamedTuple):
    """A trained run, opened.

    Attributes:
      config: configuration of the run, with the `sample`, `evaluate` and `mesh` parts to use.
      dataset: dataset that it was trained on.
      generator: the trained model; None where existing samples are evaluated.
      notes: sentences for the report.
    """

    config: Config
    dataset: Dataset
    generator: Generator | None
    notes: tuple[str, ...]


def open_evaluated(
    config: Config,
    resolved: Resolved,
    workdir: Path,
    *,
    generates: bool,
    needs_holdout: bool,
    write_cache: bool,
) -> EvaluatedRun:
    """Return a run with its data.

    Args:
      config: configuration of the run, with the `sample`, `evaluate` and `mesh` parts to use.
      resolved: what the run's data decided.
      workdir: folder of the run.
      generates: whether images are to be generated.
      needs_holdout: whether held-out images are needed.
      write_cache: whether the folder of decoded images may be written.

    Raises:
      UserError: there is no checkpoint or data, or no image is held out.
    """
    dataset = data.open_dataset(config.data, config.seed, write_cache=write_cache)
    if needs_holdout and len(dataset.holdout) == 0:
        problem = "is empty, and the run has no held-out images"
        raise UserError("evaluate.real", problem, "name a folder of real images")
    changed = dataset.fingerprint != resolved.fingerprint
    notes = ("the data have changed since the run was trained on them",) if changed else ()
    if isinstance(dataset.preparation.representation, Orientations):
        notes += (ORIENTATIONS_NOTE,)
    generator = open_run(config, resolved, workdir) if generates else None
    return EvaluatedRun(config, dataset, generator, notes)


def arguments(run: EvaluatedRun, networks: features.Networks, progress: Progress) -> dict[str, Any]:
    """Return what `evaluation.compare` takes of a run beside the images.

    Args:
      run: the run.
      networks: opened feature networks.
      progress: progress display.
    """
    settings = {"fingerprint": run.dataset.fingerprint, "notes": list(run.notes)}
    if run.generator is not None:
        settings |= {"checkpoint": run.generator.step, "sample": asdict(run.config.sample)}
    return {
        "laue_group": _laue_group(run),
        "colour_key": run.config.data.colour_key,
        "ipf_maps": shows_ipf_maps(run.config.data, run.dataset.preparation.representation),
        "condition_names": run.dataset.conditions,
        "training": _training_images(run, networks, progress),
        "denoising_error": _denoising_error(run, progress),
        "notes": run.notes,
        "settings": settings,
    }


def _laue_group(run: EvaluatedRun) -> str:
    """Laue group of the IPF colours: as asked for, else that of the data."""
    phases = [phase for scan in run.dataset.scans for phase in scan["phases"].values() if phase["share"]]
    groups = {phase["laue_group"] for phase in phases}
    of_scans = groups.pop() if len(groups) == 1 else ""
    return run.config.evaluate.laue_group or of_scans or run.config.data.laue_group or DEFAULT_LAUE_GROUP


def _training_images(
    run: EvaluatedRun, networks: features.Networks, progress: Progress
) -> TrainingImages | None:
    """Training images for the metrics that need them; None where no metric does."""
    asked = run.config.evaluate
    copies = not asked.metrics or set(asked.metrics) & set(copy_search.DESCRIPTIONS)
    near = set(networks.names) & set(features.NEAREST)
    if not (copies or near):
        return None
    num, num_tiles = asked.copy_search_num if copies else 1, TRAINING_FEATURES if near else 0
    return evaluation_sets.training_images(run.dataset, num, progress, num_tiles=num_tiles)


def _denoising_error(run: EvaluatedRun, progress: Progress) -> dict[str, dict]:
    metrics = run.config.evaluate.metrics
    names = tuple(name for name in metrics if name in DENOISING_ERROR)
    if run.generator is None or not len(run.dataset.holdout) or (metrics and not names):
        return {}
    method, params, workers = run.generator.method, run.generator.params, run.config.data.workers
    return denoising_error.measure(method, params, run.dataset, names, progress, workers=workers)
