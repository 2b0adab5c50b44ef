"""What `--mode=evaluate` writes down: the settings, and the page."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from microgen_jax.config import run_config
from microgen_jax.config.command_line import Request
from microgen_jax.evaluation import baseline, memorisation, statistics
from microgen_jax.evaluation.compare import Outcome
from microgen_jax.evaluation.features.comparison import Networks
from microgen_jax.evaluation.sets import Run, Tiles
from microgen_jax.evaluation.summary import describe, is_score
from microgen_jax.evaluation.training_copies import Audit


def settings(
    request: Request,
    run: Run | None,
    real: Tiles,
    generated: Tiles,
    image_kind: statistics.ImageKind,
    outcome: Outcome,
    audit: Audit | None,
    networks: Networks,
) -> dict[str, Any]:
    """What was compared, how, and with what."""
    written = {
        "evaluate": asdict(request.config.evaluate),
        "real": real.origin,
        "generated": generated.origin,
        "size": list(real.images.shape[1:]),
        "compared": outcome.plan.size,
        "real_groups": outcome.plan.groups,
        "groups": "files" if len(set(real.groups)) > 1 else "tiles",
        "splits": baseline.SPLITS,
        "resamples": baseline.RESAMPLES,
        "interval": f"{baseline.LEVEL:.0%} of the ratio, by bootstrap of tiles or groups",
        "images": image_kind._asdict(),
        "copy_below": memorisation.COPY,
        "training_images_searched": audit.searched if audit else 0,
        "seconds": outcome.seconds,
        "networks": {extractor.name: extractor.about for extractor in networks.extractors},
        "versions": run_config.versions(),
    }
    if run is not None:
        written |= {"fingerprint": run.dataset.fingerprint, "notes": list(run.notes)}
        if run.generator is not None:
            written |= {"checkpoint": run.generator.step, "sample": asdict(run.config.sample)}
    return written


def page(
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
    """The report."""
    from microgen_jax.evaluation.report import page as report

    return report.render(
        report.Story(
            title=f"Evaluation of {request.workdir.name}",
            warnings=warnings,
            summary=summary,
            metrics=metrics,
            statistics=outcome.statistics,
            compared=outcome.compared,
            distances=[name for name in metrics if "/" not in name and not is_score(name)],
            requested_and_measured=outcome.requested_and_measured,
            descriptions={name.partition("/")[0]: describe(name.partition("/")[0]) for name in metrics},
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
