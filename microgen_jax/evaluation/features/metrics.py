"""Metrics in the features of known networks: FD-EffLite0, FID, KID, precision, recall, LPIPS diversity, ..."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from rich.progress import Progress

from microgen_jax.errors import require_known
from microgen_jax.evaluation import baseline, entries
from microgen_jax.evaluation.features import distances, extractors, inception, perceptual, weights
from microgen_jax.evaluation.features.extractors import Extractor
from microgen_jax.evaluation.features.perceptual import Lpips
from microgen_jax.evaluation.image_set import ImageSet, shared_classes

PAIRS = 400  # of tiles, in which LPIPS diversity is measured
LPIPS = "lpips_diversity"
SUFFIX = {"efficientnet-lite0": "efflite0", "inception-fid": "inception", "vgg16": "vgg16"}
_TITLE = {"efflite0": "EffLite0", "inception": "Inception", "vgg16": "VGG16"}
_STANDARD = {"fd": "fid", "kd": "kid", "score": "is"}  # of the Inception alone
_TEXTS = {
    "fd": "Frechet distance (FD-{})",
    "fd_mid": "Frechet distance of mid-level {} features",
    "kd": "kernel distance of {} features",
    "precision": "precision in {} features",
    "recall": "recall in {} features",
    "density": "density in {} features",
    "coverage": "coverage in {} features",
    "score": "score of the classes that {} sees",
}


def _metrics() -> dict[str, tuple[str, str]]:
    """Extractor and measure of every metric."""
    found = {}
    for extractor, suffix in SUFFIX.items():
        for measure in distances.MEASURES:
            if measure == "score" and extractor == "vgg16":
                continue
            standard = _STANDARD.get(measure) if extractor == "inception-fid" else None
            found[standard or f"{measure}_{suffix}"] = (extractor, measure)
    return found


METRICS = _metrics()
NEAREST = {f"training_distance_{suffix}": extractor for extractor, suffix in SUFFIX.items()}
DESCRIPTIONS = {
    name: _TEXTS[measure].format(_TITLE[SUFFIX[extractor]]) for name, (extractor, measure) in METRICS.items()
} | {
    "fid": "Frechet Inception distance (FID)",
    "kid": "kernel Inception distance (KID)",
    "is": "Inception Score (IS)",
    LPIPS: "mean LPIPS between tiles of one set",
    **{
        name: f"distance to the nearest training image in {_TITLE[SUFFIX[extractor]]} features"
        for name, extractor in NEAREST.items()
    },
}
OWNERS = {name: extractor for name, (extractor, _) in METRICS.items()} | NEAREST
SCORES = {
    LPIPS,
    *(name for name, (_, measure) in METRICS.items() if measure in (*distances.SCORES, "score")),
}


class Networks(NamedTuple):
    """Opened networks, and the metrics they are opened for.

    Attributes:
      extractors: networks that features are taken from.
      lpips: LPIPS network, or None.
      names: names of the metrics to be measured.
      skipped: reason of each metric that cannot be measured, by the metric that stands for the rest.
    """

    extractors: list[Extractor]
    lpips: Lpips | None
    names: tuple[str, ...]
    skipped: dict[str, str]


def open_networks(
    metrics: Sequence[str] = (), *, inception_weights: str = "", inception_preprocessing: str = "pytorch"
) -> Networks:
    """Return the networks that metrics need, their weights read; without names, those whose weights are there.

    Args:
      metrics: names of metrics; () takes all whose weights are there.
      inception_weights: file with the Inception weights of the standard FID; '' = none.
      inception_preprocessing: how images are resized to 299 px, one of `inception.PREPROCESSINGS`.

    Raises:
      UserError: a metric that was asked for by name needs weights that are missing or not the known ones.
    """
    require_known("inception_preprocessing", inception_preprocessing, inception.PREPROCESSINGS)
    wanted, skipped = [name for name in metrics if name in DESCRIPTIONS], {}
    if not metrics:
        missing = f"the extra 'eval' is not installed: {weights.INSTALL}"
        there = {
            "efficientnet-lite0": weights.find(weights.EFFICIENTNET_LITE0) is not None,
            "inception-fid": bool(inception_weights),
            "vgg16": False,
        }
        wanted = [name for name, extractor in OWNERS.items() if there[extractor]]
        if not there["efficientnet-lite0"]:
            skipped["fd_efflite0"] = missing
        if not there["inception-fid"]:
            skipped["fid"] = "needs the Inception weights: --config.evaluate.inception_weights=FILE"
        if weights.find(weights.ALEXNET) is None:
            skipped[LPIPS] = missing
        else:
            wanted.append(LPIPS)
    needed = dict.fromkeys(OWNERS[name] for name in wanted if name in OWNERS)
    opened = [
        extractors.open_extractor(
            name, inception_weights=inception_weights, preprocessing=inception_preprocessing
        )
        for name in needed
    ]
    return Networks(opened, perceptual.open_lpips() if LPIPS in wanted else None, tuple(wanted), skipped)


def compare(
    networks: Networks,
    real: ImageSet,
    generated: ImageSet,
    training: UInt8[np.ndarray, "P H W C"] | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, dict], dict[str, float]]:
    """Return entries of metrics.json, pooled and by class, and the seconds that each network took.

    Args:
      networks: opened networks.
      real: real images.
      generated: generated images.
      training: training images whose nearest is looked for; None leaves that out.
      seed: seed of the splits, pairs and permutations.
      progress: progress display.
    """
    sizes = len(real.images), len(generated.images)
    found = {name: entries.entry(*sizes, reason) for name, reason in networks.skipped.items()}
    if not networks.names:
        return found, {}
    if real.images.shape[-1] not in (1, 3):
        reason = f"networks see 1 or 3 channels, the images have {real.images.shape[-1]}"
        return found | {name: entries.entry(*sizes, reason) for name in networks.names}, {}
    subsets = [("", np.arange(sizes[0]), np.arange(sizes[1]))]
    for label, other, title in shared_classes(real, generated):
        rows = np.flatnonzero(real.labels == label), np.flatnonzero(generated.labels == other)
        subsets.append((f"/{title}", *rows))
    both, seconds = np.concatenate([real.images, generated.images]), {}
    for extractor in networks.extractors:
        start = time.perf_counter()
        task = progress.add_task(f"features by {extractor.name}", total=len(both))
        taps = extractors.embed(extractor, both, lambda count, task=task: progress.advance(task, count))
        names = {name: METRICS[name][1] for name in networks.names if name in METRICS}
        names = {name: measure for name, measure in names.items() if METRICS[name][0] == extractor.name}
        for ending, rows, others in subsets:
            found |= _distances(extractor, taps, names, real.groups, rows, others, ending, seed)
        name = f"training_distance_{SUFFIX[extractor.name]}"
        if name in networks.names and training is not None:
            found[name] = _nearest(extractor, taps[extractor.pooled], training, real.groups, seed, progress)
        seconds[extractor.name] = round(time.perf_counter() - start, 2)
    if networks.lpips is not None:
        start = time.perf_counter()
        found[LPIPS] = _diversity(networks.lpips, real.images, generated.images, seed)
        seconds[LPIPS] = round(time.perf_counter() - start, 2)
    return found, seconds


def _distances(
    extractor: Extractor,
    taps: dict[str, np.ndarray],
    names: dict[str, str],
    groups: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
    ending: str,
    seed: int,
) -> dict[str, dict]:
    """Entries of one network's distances between some real and some generated tiles."""
    sizes = len(rows), len(others)
    plan = None
    if sizes[0] >= baseline.MIN_REAL_TILES and sizes[1] >= 2:
        plan = baseline.plan_splits(groups[rows], len(others), seed=seed)
    if plan is None or plan.size < distances.MIN_VECTORS:
        size = min(sizes) if plan is None else plan.size
        reason = f"{size} tiles a side are too few for features; {distances.MIN_VECTORS} are the least"
        return {f"{name}{ending}": entries.entry(*sizes, reason) for name in names}
    both = np.concatenate([rows, len(groups) + others])
    logits = taps["logits"][both] if extractor.scored else None
    pooled, mid = (taps[tap][both] for tap in (extractor.pooled, extractor.mid))
    found = distances.compare(pooled, mid, logits, plan, seed=seed)
    return {f"{name}{ending}": entries.of_features(found[measure], *sizes) for name, measure in names.items()}


def _nearest(
    extractor: Extractor,
    pooled: np.ndarray,
    training: np.ndarray,
    groups: np.ndarray,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Distances of real and generated tiles to the nearest training tile, compared like any distribution."""
    task = progress.add_task(f"training features by {extractor.name}", total=len(training))
    known = extractors.embed(extractor, training, lambda count: progress.advance(task, count))[
        extractor.pooled
    ]
    distance = distances.nearest(pooled, known)
    sizes = len(groups), len(pooled) - len(groups)
    statistic = baseline.distribution(distance, np.arange(len(distance)), len(distance), "1", "distance")
    plan = baseline.plan_splits(groups, sizes[1], seed=seed)
    entry = entries.compared(baseline.compare(statistic, plan), statistic, plan, *sizes)
    side = "nearer" if distance[sizes[0] :].mean() < distance[: sizes[0]].mean() else "farther"
    return entry | {
        "note": f"{entry['note']}; among {len(training)} training tiles; generated ones are {side}"
    }


def _diversity(network: Lpips, real: np.ndarray, generated: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean LPIPS over random pairs of generated tiles, its baseline that over pairs of real ones."""
    sizes = len(real), len(generated)
    if min(sizes) < distances.MIN_VECTORS:
        reason = f"{min(sizes)} tiles are too few; {distances.MIN_VECTORS} are the least"
        return entries.entry(*sizes, reason)
    rng = np.random.default_rng(seed)
    usual, value = (perceptual.diversity(network, tiles, PAIRS, rng) for tiles in (real, generated))
    if not usual.any():
        return entries.entry(*sizes, "all real tiles are the same")
    times = rng.multinomial(PAIRS, np.full(PAIRS, 1 / PAIRS), (2, baseline.RESAMPLES)) / PAIRS
    ratios = (times[0] @ value) / (times[1] @ usual)
    low, high = np.quantile(ratios, [(1 - baseline.CONFIDENCE) / 2, (1 + baseline.CONFIDENCE) / 2])
    means = float(usual.mean()), float(value.mean())
    return entries.entry(
        *sizes,
        f"LPIPS(alex) of {PAIRS} pairs within each set",
        value=means[1],
        baseline=means[0],
        ratio=float(value.mean() / usual.mean()),
        interval=[float(low), float(high)],
        real=means[0],
        generated=means[1],
        unit="1",
    )
