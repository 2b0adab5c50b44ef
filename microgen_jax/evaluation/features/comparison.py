"""The part of `--mode=evaluate` that looks through known networks: FD-EffLite0, FID, KID, precision, LPIPS, ..."""

import time
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from microgen_jax.errors import require_known
from microgen_jax.evaluation import baseline, entries
from microgen_jax.evaluation.features import distances, inception, perceptual, weights
from microgen_jax.evaluation.features import extractors as features
from microgen_jax.evaluation.features.extractors import Extractor
from microgen_jax.evaluation.features.perceptual import Lpips
from microgen_jax.evaluation.sets import Tiles

PAIRS = 400  # of tiles, in which LPIPS diversity is measured
LPIPS = "lpips_diversity"
SUFFIX = {"efficientnet-lite0": "efflite0", "inception-fid": "inception", "vgg16": "vgg16"}
_TITLE = {"efflite0": "EffLite0", "inception": "Inception", "vgg16": "VGG16"}
_STANDARD = {"fd": "fid", "kd": "kid", "score": "is"}  # of the Inception alone
_WORDS = {
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
    name: _WORDS[measure].format(_TITLE[SUFFIX[extractor]]) for name, (extractor, measure) in METRICS.items()
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
    """What will be run, and what will not.

    Attributes:
      extractors: opened.
      lpips: opened, or None.
      names: of the metrics to be measured.
      skipped: why, by the metric that stands for the rest.
    """

    extractors: list[Extractor]
    lpips: Lpips | None
    names: tuple[str, ...]
    skipped: dict[str, str]


def open_networks(asked: Any) -> Networks:
    """Reads the weights that the metrics asked for need; with none asked for, those that are there.

    Raises:
      UserError: a metric that was asked for by name needs what is missing, or weights that are not the known ones.
    """
    known = inception.PREPROCESSINGS
    require_known("evaluate.inception_preprocessing", asked.inception_preprocessing, known)
    wanted, skipped = [name for name in asked.metrics if name in DESCRIPTIONS], {}
    if not asked.metrics:
        missing = f"the extra 'eval' is not installed: {weights.INSTALL}"
        there = {
            "efficientnet-lite0": weights.find(weights.EFFICIENTNET_LITE0) is not None,
            "inception-fid": bool(asked.inception_weights),
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
    opened = [_open(name, asked) for name in needed]
    return Networks(opened, perceptual.open_lpips() if LPIPS in wanted else None, tuple(wanted), skipped)


def _open(name: str, asked: Any) -> Extractor:
    return features.open_extractor(
        name, inception_weights=asked.inception_weights, preprocessing=asked.inception_preprocessing
    )


def compare(
    networks: Networks,
    real: Tiles,
    generated: Tiles,
    classes: list[tuple[int, int, str]],
    training: np.ndarray | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, dict], dict[str, float]]:
    """Entries of metrics.json, pooled and by class, and the seconds that each network took.

    Args:
      training: tiles that the nearest is looked for among; None leaves that out.
    """
    sizes = len(real.images), len(generated.images)
    found = {name: entries.null(*sizes, reason) for name, reason in networks.skipped.items()}
    if not networks.names:
        return found, {}
    if real.images.shape[-1] not in (1, 3):
        reason = f"networks see 1 or 3 channels, the images have {real.images.shape[-1]}"
        return found | {name: entries.null(*sizes, reason) for name in networks.names}, {}
    sets = [("", np.arange(sizes[0]), np.arange(sizes[1]))]
    for label, other, title in classes:
        rows = np.flatnonzero(real.labels == label), np.flatnonzero(generated.labels == other)
        sets.append((f"/{title}", *rows))
    both, seconds = np.concatenate([real.images, generated.images]), {}
    for extractor in networks.extractors:
        start = time.perf_counter()
        task = progress.add_task(f"features by {extractor.name}", total=len(both))
        taps = features.embed(extractor, both, lambda count, task=task: progress.advance(task, count))
        names = {name: METRICS[name][1] for name in networks.names if name in METRICS}
        names = {name: measure for name, measure in names.items() if METRICS[name][0] == extractor.name}
        for ending, rows, others in sets:
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
    sizes = len(rows), len(others)
    both = np.concatenate([rows, len(groups) + others])
    logits = taps["logits"][both] if extractor.scored else None
    try:
        plan = baseline.plan(groups[rows], len(others), seed=seed)
        pooled, mid = (taps[tap][both] for tap in (extractor.pooled, extractor.mid))
        found = distances.compare(pooled, mid, logits, plan, seed=seed)
    except ValueError as reason:
        return {f"{name}{ending}": entries.null(*sizes, str(reason)) for name in names}
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
    known = features.embed(extractor, training, lambda count: progress.advance(task, count))[extractor.pooled]
    distance = distances.nearest(pooled, known)
    sizes = len(groups), len(pooled) - len(groups)
    statistic = baseline.distribution(distance, np.arange(len(distance)), len(distance), "1", "distance")
    plan = baseline.plan(groups, sizes[1], seed=seed)
    entry = entries.compared(baseline.compare(statistic, plan), statistic, plan, *sizes)
    side = "nearer" if distance[sizes[0] :].mean() < distance[: sizes[0]].mean() else "farther"
    return entry | {
        "note": f"{entry['note']}; among {len(training)} training tiles; generated ones are {side}"
    }


def _diversity(network: Lpips, real: np.ndarray, generated: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean LPIPS over random pairs of generated tiles, its baseline that over pairs of real ones."""
    sizes = len(real), len(generated)
    if min(sizes) < distances.LEAST:
        return entries.null(*sizes, f"{min(sizes)} tiles are too few; {distances.LEAST} are the least")
    rng = np.random.default_rng(seed)
    usual, value = (perceptual.diversity(network, tiles, PAIRS, rng) for tiles in (real, generated))
    if not usual.any():
        return entries.null(*sizes, "all real tiles are the same")
    times = rng.multinomial(PAIRS, np.full(PAIRS, 1 / PAIRS), (2, baseline.RESAMPLES)) / PAIRS
    ratios = (times[0] @ value) / (times[1] @ usual)
    low, high = np.quantile(ratios, [(1 - baseline.LEVEL) / 2, (1 + baseline.LEVEL) / 2])
    return entries.null(*sizes, f"LPIPS(alex) of {PAIRS} pairs within each set") | {
        "value": float(value.mean()),
        "baseline": float(usual.mean()),
        "ratio": float(value.mean() / usual.mean()),
        "interval": [float(low), float(high)],
    }
