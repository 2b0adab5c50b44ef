"""Text of a comparison: warnings, the summary in sentences, and the table."""

import numpy as np
from rich import box
from rich.table import Table

from microgen_jax.evaluation import baseline, copy_search, grain_size, statistics
from microgen_jax.evaluation.entries import FEW_TILES
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.evaluation.image_set import ImageSet
from microgen_jax.evaluation.microstructure import CONDITIONING_ACCURACY, NO_CONDITIONING

MAX_LISTED = 8  # statistics beyond their baseline that the summary names
DENOISING_SHARES = (10, 25, 50)  # of the diffusion time, in percent, at which the denoising error is measured
SIMILARITIES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS(alex)"}
VLB = "vlb"
DENOISING_ERROR = {
    f"{kind}_x0_{share}": f"denoising error: {title} of x0 predicted at {share} % of the diffusion time"
    for kind, title in SIMILARITIES.items()
    for share in DENOISING_SHARES
} | {VLB: "bound on the negative log-likelihood, bits per dimension"}
DESCRIPTIONS = {
    **statistics.DESCRIPTIONS,
    **copy_search.DESCRIPTIONS,
    **features.DESCRIPTIONS,
    **DENOISING_ERROR,
    CONDITIONING_ACCURACY: "requested against measured conditions, R²",
}


def summarise(
    metrics: dict[str, dict], real: ImageSet, generated: ImageSet, compared: int, notes: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Return warnings and the summary, in sentences.

    Args:
      metrics: entries by name.
      real: real images.
      generated: generated images.
      compared: number of tiles a side that were compared at a time.
      notes: sentences put before the warnings.
    """
    warnings = list(notes)
    copies = metrics.get("copies", {"value": None})
    if copies["value"] is not None and copies["value"] > copies["baseline"]:
        warnings.append(
            f"{copies['value']:.1%} of the generated images copy a training image, "
            f"of the real ones {copies['baseline']:.1%}: see the nearest pairs"
        )
    known = {tile.tobytes() for tile in real.images}
    if same := sum(tile.tobytes() in known for tile in generated.images):
        warnings.append(f"{same} generated images are among the real ones, pixel for pixel")
    for name, one in (("real", real), ("generated", generated)):
        constant = int(np.sum((np.ptp(one.images, axis=(1, 2)) == 0).all(axis=-1)))
        if constant:
            warnings.append(f"{constant} of {len(one.images)} {name} images are one flat colour")
    for name, one in (("real", real), ("generated", generated)):
        if one.lossy and "floating_pieces" in metrics:
            warnings.append(
                f"{one.lossy} {name} images are JPEG files: what lossy compression leaves at boundaries is counted as "
                "floating pieces, dead ends and off-key colours"
            )
    for name in ("real", "generated"):
        if "speck_share" in metrics and (noise := grain_size.noise(metrics["speck_share"][name])):
            warnings.append(f"{name} images: {noise}")
    if compared < FEW_TILES:
        warnings.append(f"only {compared} tiles a side are compared: small faults cannot be seen")
    pooled = {name: entry for name, entry in metrics.items() if "/" not in name and name != "copies"}
    sentences = [
        *_distances({name: entry for name, entry in pooled.items() if not is_score(name)}, compared),
        *_scores({name: entry for name, entry in pooled.items() if is_score(name)}),
        f"{len(generated.images)} generated images ({generated.origin}) are compared with "
        f"{len(real.images)} real ones ({real.origin}), {compared} against {compared} at a time.",
    ]
    return warnings, sentences


def describe(name: str) -> str:
    """Return the description of any metric.

    Args:
      name: name of the metric.
    """
    if name.startswith(CONDITIONING_ACCURACY):
        return f"{DESCRIPTIONS[CONDITIONING_ACCURACY]}, {name.removeprefix(CONDITIONING_ACCURACY + '_')}"
    return DESCRIPTIONS[name]


def spread(entry: dict) -> str:
    """Return the interval as text, or the standard error where there is no ratio.

    Args:
      entry: entry of a metric.
    """
    if entry["interval"] is not None:
        return "{:.3g} to {:.3g}".format(*entry["interval"])
    return f"± {entry['standard_error']:.2g}" if "standard_error" in entry else ""


def number(value: float) -> str:
    """Return a number with three digits, or more where it is 1000 or above.

    Args:
      value: the number.
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def is_score(name: str) -> bool:
    """Return whether less than the baseline is worse, not more.

    Args:
      name: name of the metric.
    """
    return name in features.SCORES or name.startswith(CONDITIONING_ACCURACY)


def is_unconditioned(name: str, entry: dict) -> bool:
    """Return whether images follow a condition no better than its mean does.

    Args:
      name: name of the metric.
      entry: its entry.
    """
    return name.startswith(CONDITIONING_ACCURACY) and entry["value"] is not None and entry["value"] < 0


def _distances(entries: dict[str, dict], compared: int) -> list[str]:
    rated = {name: entry for name, entry in entries.items() if entry["ratio"] is not None}
    beyond = {name: entry for name, entry in rated.items() if entry["interval"][0] > 1}
    sentences = ["Nothing was compared that has a real-against-real baseline; the table says why."]
    if rated:
        sentences = [
            f"{len(rated) - len(beyond)} of {len(rated)} statistics are as close to the real images as two halves "
            f"of the real images are to each other, {compared} tiles a side; fewer tiles show fewer differences."
        ]
    if beyond:
        worst = sorted(beyond, key=lambda name: -beyond[name]["ratio"])
        listed = ", ".join(
            f"{describe(name)} ({_times(beyond[name]['ratio'])})" for name in worst[:MAX_LISTED]
        )
        more = f", and {len(worst) - MAX_LISTED} more" if len(worst) > MAX_LISTED else ""
        sentences.append(f"Farther from the real images than the baseline: {listed}{more}.")
    never = [
        name
        for name, entry in entries.items()
        if entry["ratio"] is None and entry["baseline"] == 0 and entry["p_value"] < 1 - baseline.CONFIDENCE
    ]
    if never:
        listed = ", ".join(describe(name) for name in never)
        sentences.append(f"Seen in generated images only, the real ones agreeing exactly: {listed}.")
    for name, entry in entries.items():
        if "standard_error" in entry and entry.get("p_value") is not None:
            verdict = "tells both sets apart" if entry["p_value"] < 0.05 else "cannot tell the sets apart"
            sentences.append(f"The {describe(name)} {verdict} (p = {entry['p_value']:.3f}).")
    return sentences


def _scores(entries: dict[str, dict]) -> list[str]:
    low = [name for name, entry in entries.items() if entry["interval"] and entry["interval"][1] < 1]
    none = [name for name, entry in entries.items() if is_unconditioned(name, entry)]
    listed = ", ".join(
        [f"{describe(name)} ({entries[name]['ratio']:.0%})" for name in low]
        + [f"{describe(name)}: {NO_CONDITIONING}" for name in none]
    )
    return [f"Less than real images reach among themselves: {listed}."] if listed else []


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2g} times"


def table(metrics: dict[str, dict]) -> Table:
    """Return the pooled entries that have a value as a table.

    Args:
      metrics: entries by name.
    """
    headers = ("metric", "mean, real", "generated", "unit", "distance", "baseline", "ratio", "interval")
    rows = Table(*headers, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place in (0, -1):
        rows.columns[place].no_wrap = True
    for name, entry in metrics.items():
        if "/" not in name and not is_missing(entry):
            real, generated, *distances = (
                "" if entry[key] is None else number(entry[key])
                for key in ("real", "generated", "value", "baseline", "ratio")
            )
            if is_unconditioned(name, entry):
                distances[0] = NO_CONDITIONING
            last = entry["note"] if entry["value"] is None else spread(entry)
            unit = "" if entry["unit"] in (None, "1") else entry["unit"]
            rows.add_row(name, real, generated, unit, *distances, last)
    return rows


def missing(metrics: dict[str, dict]) -> list[str]:
    """Return a line for each reason why pooled metrics have no value.

    Args:
      metrics: entries by name.
    """
    names: dict[str, list[str]] = {}
    for name, entry in metrics.items():
        if "/" not in name and is_missing(entry):
            names.setdefault(entry["note"], []).append(name)
    return [f"Not measured: {', '.join(own)}: {reason}." for reason, own in names.items()]


def is_missing(entry: dict) -> bool:
    """Return whether a metric has neither a distance nor a mean.

    Args:
      entry: entry of the metric.
    """
    return entry["value"] is None and entry["real"] is None and entry["generated"] is None
