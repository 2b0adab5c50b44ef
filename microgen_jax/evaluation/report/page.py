"""A comparison as one HTML page that needs no other file: summary, images, curves, all values, settings."""

import base64
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment
from markupsafe import Markup

from microgen_jax.evaluation import ipf_density
from microgen_jax.evaluation.baseline import BaselineRatio, Statistic
from microgen_jax.evaluation.microstructure import NO_CONDITIONING
from microgen_jax.evaluation.report import charts
from microgen_jax.evaluation.summary import is_missing, is_unconditioned, missing, number
from microgen_jax.images import grid, png

SHOWN = 36  # images in a grid
ZOOM_TO = 96  # px that a small tile is enlarged to
SIZES = {
    "grain_diameter": "mean grain diameter",
    "grain_diameter_edge_corrected": "the same, corrected for what image edges cut",
    "grain_diameter_by_area": "mean grain diameter, weighted by area",
    "astm_e112": "ASTM grain size number G (E112, mean intercept)",
    "astm_e2627": "ASTM grain size number G (E2627, mean area)",
    "aspect_ratio": "mean aspect ratio",
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1c1c1c; --dim: #666; --line: #ddd; --warn: #fff1d6; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e6e6; --dim: #9a9a9a; --line: #3a3d42; --warn: #46350f; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --ink: #000; --dim: #444; --line: #bbb; --warn: #eee; }
  figure, tr, .warning { break-inside: avoid; }
}
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 66rem; padding: 0 1rem; }
p { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.warning { background: var(--warn); padding: .6rem .9rem; border-radius: 4px; }
.dim, figcaption { color: var(--dim); }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0 0 1rem; } .pair figure { flex: 1 1 20rem; max-width: calc(50% - .75rem); } .pair img { width: 100%; }
@media (max-width: 46rem) { .pair figure { max-width: 100%; } }
details { margin-top: 1rem; } summary { cursor: pointer; }
img, svg { max-width: 100%; height: auto; } img { image-rendering: pixelated; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
table.narrow { width: auto; } table.narrow td, table.narrow th { padding-right: 1.2rem; }
td.text, td.dim { overflow-wrap: anywhere; min-width: 11rem; }
@media (max-width: 46rem) { td.text { min-width: 7rem; } }
code { font-size: .78rem; } td { vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.line { white-space: nowrap; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for warning in warnings %}<p class="warning"><strong>Warning.</strong> {{ warning }}</p>
{% endfor %}
<section id="summary">
<h2>Summary</h2>
{% for sentence in summary %}<p>{% if loop.first %}
<strong>{{ sentence }}</strong>{% else %}
{{ sentence }}{% endif %}</p>
{% endfor %}
</section>
{% if sizes %}<section id="sizes">
<h2>Grain size</h2>
<table class="narrow">
<thead><tr><th></th><th class="number">real</th><th class="number">generated</th><th>unit</th></tr></thead>
<tbody>
{% for row in sizes %}<tr><td>{{ row.name }}</td><td class="number"><strong>{{ row.real }}</strong></td>
<td class="number"><strong>{{ row.generated }}</strong></td><td>{{ row.unit }}</td></tr>
{% endfor %}
</tbody>
</table>
<p class="dim">{{ sizes_note }}</p>
</section>{% endif %}
{% if overview %}<h2>Distances</h2>
<figure>{{ overview }}<figcaption>Ratio 1: as far from the real images as real images are from
each other. Blue: within that distance. Orange: the whole interval lies above 1.</figcaption></figure>{% endif %}
<h2>Images</h2>
<div class="row pair">
{% for name, image in grids %}<figure><img alt="{{ name }}" src="data:image/png;base64,{{ image }}">
<figcaption>{{ name }}</figcaption></figure>
{% endfor %}
</div>
{% if pairs %}<h2>Nearest training images</h2>
<figure><img alt="generated above, nearest training image below" src="data:image/png;base64,{{ pairs }}">
<figcaption>The generated images that are nearest to a training image, nearest first; above each the generated one,
below it the training window.</figcaption></figure>{% endif %}
{% if curves %}<h2>Curves and distributions</h2>
<div class="row">
{% for name, chart in curves %}<figure>{{ chart }}<figcaption>{{ name }}</figcaption></figure>
{% endfor %}
</div>{% endif %}
{% macro table(rows) %}<div class="wide"><table>
<thead><tr><th>metric</th><th class="number">real</th><th class="number">generated</th><th>unit</th>
<th class="number">distance</th><th class="number">baseline</th><th class="number">ratio</th>
<th class="number">interval</th><th class="number">images</th><th>note</th></tr></thead>
<tbody>
{% for row in rows %}<tr><td class="text">{{ row.title }}<br><code class="dim">{{ row.name }}</code></td>
<td class="number">{{ row.real }}</td>
<td class="number">{{ row.generated }}</td><td>{{ row.unit }}</td><td class="number">{{ row.value }}</td>
<td class="number">{{ row.baseline }}</td><td class="number">{{ row.ratio }}</td>
<td class="number line">{{ row.interval }}</td><td class="number line">{{ row.images }}</td>
<td class="dim">{{ row.note }}</td></tr>
{% endfor %}
</tbody>
</table></div>{% endmacro %}
<h2>All values</h2>
<p class="dim">Real, generated: means over all images of a side. Distance: between the two distributions or curves, in
the same unit; it is no mean. Baseline: the same distance between halves of the real images. Images: real and
generated.</p>
{{ table(rows) }}
{% for line in missing %}<p class="dim">{{ line }}</p>
{% endfor %}
{% if by_class %}<details><summary>By class</summary>
{{ table(by_class) }}
</details>{% endif %}
<h2>Settings and provenance</h2>
<p><a download="metrics.json" href="data:application/json;base64,{{ settings }}">
metrics.json</a>: settings and all values.</p>
</body>
</html>
"""


class ReportContent(NamedTuple):
    """Content of a report.

    Attributes:
      title: title of the page.
      warnings: sentences in plain text.
      summary: sentences in plain text.
      metrics: entries of metrics.json, by name.
      statistics: pooled statistics, by name.
      ratios: values and baselines of the pooled statistics with their curves, by name.
      distances: names of the pooled metrics whose ratio is plotted.
      requested_and_measured: requested and measured values of each continuous condition.
      descriptions: descriptions of the metrics, by name.
      real: uint8 tiles [n, H, W, C].
      generated: uint8 tiles [n, H, W, C], in the same order of classes.
      pairs: generated tiles and their nearest training windows, nearest first; or None.
      laue_group: Laue group of the colour density.
      key: IPF key of the colours.
      method: how grains are found, in words.
      json_text: content of metrics.json.
    """

    title: str
    warnings: list[str]
    summary: list[str]
    metrics: dict[str, dict]
    statistics: dict[str, Statistic]
    ratios: dict[str, BaselineRatio]
    distances: list[str]
    requested_and_measured: dict[str, tuple[np.ndarray, np.ndarray]]
    descriptions: dict[str, str]
    real: np.ndarray
    generated: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray] | None
    laue_group: str
    key: str
    method: str
    json_text: str


def render(content: ReportContent) -> str:
    """Return the page as HTML; every text is escaped.

    Args:
      content: content of the report.
    """
    template = Environment(autoescape=True, trim_blocks=False).from_string(PAGE)
    return template.render(
        title=content.title,
        warnings=content.warnings,
        summary=content.summary,
        overview=_overview(content),
        grids=_grids(content),
        pairs=_pairs(*content.pairs) if content.pairs else "",
        curves=[(content.descriptions[name], Markup(chart)) for name, chart in _curves(content)],
        rows=_rows(content, by_class=False),
        by_class=_rows(content, by_class=True),
        missing=missing(content.metrics),
        sizes=_sizes(content),
        sizes_note=_sizes_note(content),
        settings=base64.b64encode(content.json_text.encode()).decode(),
    )


def _overview(content: ReportContent) -> Markup:
    plotted = [name for name in content.distances if content.metrics[name]["interval"] is not None]
    if not plotted:
        return Markup()
    ratio, interval = (
        np.array([content.metrics[name][key] for name in plotted]) for key in ("ratio", "interval")
    )
    return Markup(charts.ratios([content.descriptions[name] for name in plotted], ratio, interval))


def _curves(content: ReportContent) -> list[tuple[str, str]]:
    found = []
    for name, ratio in content.ratios.items():
        statistic = content.statistics[name]
        if name == "colour_density":
            sector = content.laue_group, content.key
            both = (ipf_density.as_image(one[1], *sector) for one in (ratio.real, ratio.generated))
            found.append((name, charts.sectors(*both, ipf_density.corners(*sector))))
        elif len(statistic.grid) > 2:
            cumulated = statistic.distribution
            chart = charts.bands(
                statistic.grid,
                ratio.real,
                ratio.generated,
                statistic.axis,
                _value_axis(name, statistic),
                cumulated=cumulated,
            )
            found.append((name, chart))
    for name, (requested, measured) in content.requested_and_measured.items():
        condition = name.removeprefix("conditioning_accuracy_")
        found.append((name, charts.scatter(requested, measured, condition)))
    return found


def _rows(content: ReportContent, *, by_class: bool) -> list[dict[str, str]]:
    return [
        {"name": name, "title": _title(name, content)} | _shown(name, entry)
        for name, entry in content.metrics.items()
        if ("/" in name) == by_class and (by_class or not is_missing(entry))
    ]


def _title(name: str, content: ReportContent) -> str:
    pooled, _, own = name.partition("/")
    return content.descriptions[pooled] + (f", {own}" if own else "")


def _sizes(content: ReportContent) -> list[dict[str, str]]:
    """What a reader looks for first: mean sizes of both sides with their units."""
    return [
        {"name": title} | _shown(name, content.metrics[name])
        for name, title in SIZES.items()
        if name in content.metrics and content.metrics[name]["real"] is not None
    ]


def _sizes_note(content: ReportContent) -> str:
    found = content.metrics.get("grain_diameter")
    if found is None:
        return ""
    height, width = content.real.shape[1:3]
    in_px = " In px, as no pixel size is known (pixel_size_um)." if found["unit"] == "px" else ""
    return (
        f"Grains are found by {content.method}. Diameters are those of circles of equal area. The first row leaves out "
        f"grains that an edge of the {height}x{width} px images cuts; the second corrects for it, as large grains are "
        f"cut more often.{in_px}"
    )


def _grids(content: ReportContent) -> list[tuple[str, str]]:
    """Images of both sides at one scale."""
    sides = ("real", content.real), ("generated", content.generated)
    columns = math.ceil(math.sqrt(min(SHOWN, max(len(tiles) for _, tiles in sides))))
    return [
        (f"{name}, {min(SHOWN, len(tiles))} of {len(tiles)}", _image(tiles[:SHOWN], columns))
        for name, tiles in sides
    ]


def _value_axis(name: str, statistic: Statistic) -> str:
    if statistic.distribution:
        return "share up to"
    if name.startswith("two_point"):
        return "correlation"
    return {"power_spectrum": "log10 of power"}.get(name, "probability")


def _shown(name: str, entry: dict) -> dict[str, str]:
    low, high = entry["interval"] or (None, None)
    interval = "" if low is None else f"{_number(low)} to {_number(high)}"
    if "standard_error" in entry:
        p_value = entry.get("p_value")
        interval = f"± {_number(entry['standard_error'])}" + (
            "" if p_value is None else f", p = {p_value:.3f}"
        )
    shown = {key: _number(entry[key]) for key in ("value", "baseline", "ratio", "real", "generated")}
    if is_unconditioned(name, entry):
        shown["value"] = NO_CONDITIONING
    return {
        **shown,
        "unit": "" if entry["unit"] in (None, "1") else entry["unit"],
        "interval": interval,
        "images": f"{entry['n_real']}, {entry['n_generated']}",
        "note": entry["note"],
    }


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _image(tiles: UInt8[np.ndarray, "n H W C"], columns: int) -> str:
    zoom = max(1, ZOOM_TO // tiles.shape[1])
    larger = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    return base64.b64encode(png(grid(larger, columns, gap=4))).decode()


def _pairs(generated: np.ndarray, training: np.ndarray) -> str:
    return _image(np.concatenate([generated, training]), columns=len(generated))
