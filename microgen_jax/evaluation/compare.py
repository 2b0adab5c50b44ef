"""How close generated images are to real ones: the function behind `--mode=evaluate` and `microgen_jax.compare`."""

import io
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from microgen_jax import files
from microgen_jax.crystal import symmetry
from microgen_jax.crystal.symmetry import DEFAULT_LAUE_GROUP
from microgen_jax.errors import UserError, renamed, require_known
from microgen_jax.evaluation import (
    baseline,
    copy_search,
    entries,
    grain_finding,
    image_kind,
    image_set,
    microstructure,
    statistics,
    summary,
)
from microgen_jax.evaluation.copy_search import CopySearch
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.evaluation.features.metrics import Networks
from microgen_jax.evaluation.image_set import ImageSet
from microgen_jax.evaluation.memorisation import COPY
from microgen_jax.evaluation.microstructure import CONDITIONING_ACCURACY, Compared


class Comparison(Mapping[str, dict[str, Any]]):
    """Two sets of images compared: entries of metrics.json by name, a table and a report.

    An entry has `value` (the distance), `baseline` (the same distance between halves of the real images), `ratio`,
    `interval` of the ratio, the means `real` and `generated`, `unit`, `n_real`, `n_generated` and `note`.

    Attributes:
      entries: entries by name, pooled ones first; those of a class are called NAME/CLASS.
      settings: settings of the comparison.
      warnings: sentences about what the numbers do not show.
      summary: the result in sentences.
    """

    def __init__(
        self,
        entries: dict[str, dict[str, Any]],
        settings: dict[str, Any],
        warnings: list[str],
        summary: list[str],
        real: ImageSet,
        generated: ImageSet,
        compared: Compared,
        copies: CopySearch | None,
        laue_group: str,
    ) -> None:
        self.entries, self.settings, self.warnings, self.summary = entries, settings, warnings, summary
        self.real, self.generated, self.compared, self.copies = real, generated, compared, copies
        self.laue_group = laue_group

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Comparison of {len(self.entries)} metrics: {' '.join(self.summary)}"

    def table(self) -> str:
        """Return the pooled entries as a text table, then what is missing, the warnings and the summary."""
        buffer = io.StringIO()
        console = Console(file=buffer, width=max(110, shutil.get_terminal_size().columns))
        console.print(summary.table(self.entries))
        warnings = [f"Warning: {warning}" for warning in self.warnings]
        for line in [*summary.missing(self.entries), *warnings, *self.summary]:
            console.print(line, markup=False, highlight=False)
        return buffer.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json: settings and metrics."""
        return {"settings": self.settings, "metrics": self.entries}

    def report(self, path: str | Path, *, title: str = "Comparison of generated with real images") -> None:
        """Write the report, one HTML page that needs no other file.

        Args:
          path: file to be written.
          title: title of the page.
        """
        files.write_bytes(Path(path), self.html(title).encode())

    def html(self, title: str) -> str:
        """Return the report's text.

        Args:
          title: title of the page.
        """
        from microgen_jax.evaluation.report import (
            page,  # matplotlib and jinja2: only where a report is wanted
        )

        return page.render(
            page.ReportContent(
                title=title,
                warnings=self.warnings,
                summary=self.summary,
                metrics=self.entries,
                statistics=self.compared.statistics,
                ratios=self.compared.ratios,
                distances=[name for name in self.entries if "/" not in name and not summary.is_score(name)],
                requested_and_measured=self.compared.requested_and_measured,
                descriptions={name: summary.describe(name) for name in self.entries if "/" not in name},
                real=image_set.images_by_class(self.real),
                generated=image_set.images_by_class(self.generated),
                pairs=self.copies.pairs if self.copies else None,
                laue_group=self.laue_group,
                key=self.settings["images"]["key"],
                method=self.settings["grains"],
                json_text=json.dumps(self.to_json(), indent=1, allow_nan=False),
            )
        )


def compare(
    real: Any,
    generated: Any,
    *,
    groups: Sequence | np.ndarray | None = None,
    pixel_size_um: float = 0.0,
    laue_group: str = DEFAULT_LAUE_GROUP,
    colour_key: str = "tsl",
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    ipf_maps: bool | None = None,
    condition_names: tuple[str, ...] = (),
    training: Any = None,
    networks: Networks | None = None,
    denoising_error: Mapping[str, dict[str, Any]] | None = None,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare generated images with real ones; every distance is given with that between halves of the real ones.

    Args:
      real: uint8 images [N, H, W, C] or [N, H, W], a list of images, an object that `np.asarray` turns into such
        images, or an `ImageSet` with classes and conditions.
      generated: generated images, like `real`.
      groups: scan, specimen or series of each real image, [N], which a split keeps together; None splits images.
      pixel_size_um: width of a pixel in micrometres, for lengths and ASTM grain size numbers; 0 takes that of the real
        images, and leaves lengths in px where it is not known.
      laue_group: Laue group of the sector in which IPF colours are compared.
      colour_key: IPF key of the colours, 'tsl' or 'edax'.
      metrics: names of the metrics that are wanted; None or () takes all that the images allow.
      seed: seed of the splits and resamples.
      ipf_maps: whether colour images are IPF maps; None decides by their colours.
      condition_names: names of the columns of `ImageSet.conditions`.
      training: training images that copies are searched among, like `real` or `TrainingImages`; None searches none.
      networks: opened feature networks; None opens those that `metrics` need and that are installed.
      denoising_error: entries of a diffusion model's denoising error, which are added.
      notes: sentences put before the warnings.
      settings: further settings, which are written down.
      progress: progress display; None shows none.

    Returns:
      The entries by name; `.table()`, `.report(path)` and `.to_json()` show and write them.

    Raises:
      UserError: images of a wrong type, range or shape, sets that do not fit each other, an unknown metric or Laue
        group, or a metric whose weights are not installed.
    """
    metrics = tuple(metrics or ())
    check(metrics=metrics, pixel_size_um=pixel_size_um, laue_group=laue_group, seed=seed)
    real = image_set.as_image_set(real, "real", groups=groups)
    generated = image_set.as_image_set(generated, "generated")
    real, generated = image_set.matched(real, generated, min_real=baseline.MIN_REAL_TILES)
    networks = features.open_networks(metrics) if networks is None else networks
    if training is not None:
        training = copy_search.as_training_images(training)
        training = copy_search.as_grey(training) if real.images.shape[-1] == 1 else training
    progress = Progress(disable=True) if progress is None else progress
    kind = image_kind.classify_images(
        real.images,
        ipf_maps=ipf_maps,
        pixel_size_um=pixel_size_um or real.pixel_size_um,
        laue_group=laue_group,
        colour_key=colour_key,
    )
    measurable = [*statistics.names_of(kind), *(copy_search.DESCRIPTIONS if training else ())]
    measurable += [CONDITIONING_ACCURACY] if condition_names else []
    wanted = [name for name in measurable if not metrics or name in metrics]
    copies = None
    if set(wanted) & set(copy_search.DESCRIPTIONS):
        copies = copy_search.search(training, real, generated, progress)
    compared = microstructure.compare(
        real, generated, kind, copies, wanted, tuple(condition_names), seed, progress
    )
    tiles = training.tiles if training else None
    seen, seconds = features.compare(networks, real, generated, tiles, seed, progress)
    error = dict(denoising_error or {})
    skipped = _skipped(metrics, kind, training is not None, error, condition_names)
    # pooled entries first, then those by class
    found = dict(sorted((compared.metrics | seen | error | skipped).items(), key=lambda item: "/" in item[0]))
    notes = (*notes, *image_set.missing_classes(real, generated))
    warnings, sentences = summary.summarise(found, real, generated, compared.plan.size, notes)
    written = {
        "real": real.origin,
        "generated": generated.origin,
        "size": list(real.images.shape[1:]),
        "compared": compared.plan.size,
        "real_groups": compared.plan.groups,
        "groups": "files" if len(set(real.groups)) > 1 else "tiles",
        "splits": baseline.SPLITS,
        "resamples": baseline.RESAMPLES,
        "interval": f"{baseline.CONFIDENCE:.0%} of the ratio, by bootstrap of tiles or groups",
        "images": kind._asdict(),
        "grains": grain_finding.method(kind),
        "copy_below": COPY,
        "training_images_searched": copies.searched if copies else 0,
        "seconds": compared.seconds | seconds,
        "networks": {extractor.name: extractor.about for extractor in networks.extractors},
        "seed": seed,
    }
    everything = dict(settings or {}) | written
    return Comparison(found, everything, warnings, sentences, real, generated, compared, copies, laue_group)


def check(*, metrics: Sequence[str], pixel_size_um: float, laue_group: str, seed: int) -> None:
    """Refuse arguments of `compare` that cannot be, before anything is read.

    Args:
      metrics: names of metrics.
      pixel_size_um: width of a pixel in micrometres, or 0.
      laue_group: name of a Laue group.
      seed: seed of the splits.

    Raises:
      UserError: an unknown metric or Laue group, or a number out of range.
    """
    for name in metrics:
        require_known("metrics", name, summary.DESCRIPTIONS)
    if not 0 <= pixel_size_um < math.inf:
        raise UserError(
            "pixel_size_um", f"{pixel_size_um} micrometres", "give a width above 0, or 0 = not known"
        )
    if seed < 0:
        raise UserError("seed", f"{seed}", "give a whole number from 0 on")
    with renamed({"name": "laue_group"}):
        symmetry.laue_group(laue_group)


def _skipped(
    metrics: tuple[str, ...],
    kind: image_kind.ImageKind,
    has_training: bool,
    denoising_error: Mapping[str, dict],
    condition_names: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """Entries of what was asked for by name, or belongs to every comparison, and cannot be measured here."""
    reasons = {}
    for name in metrics or copy_search.DESCRIPTIONS:
        if not has_training and (name in copy_search.DESCRIPTIONS or name in features.NEAREST):
            reasons[name] = "needs the training images: name the run's --workdir"
        elif name in statistics.DESCRIPTIONS and name not in statistics.names_of(kind):
            reasons[name] = f"images that show {kind.content} do not have it"
        elif name in summary.DENOISING_ERROR and name not in denoising_error:
            reasons[name] = "needs the run's network: name --workdir and leave evaluate.generated empty"
        elif name == CONDITIONING_ACCURACY and not condition_names:
            reasons[name] = "needs a run with continuous conditions"
    return {name: entries.entry(0, 0, reason) for name, reason in reasons.items()}
