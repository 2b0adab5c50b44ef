"""Charts as SVG text for the report; their ink is `currentColor`, so that they follow its light or dark page."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK = "#010203"  # replaced by currentColor
REAL, GENERATED = "#2b7bba", "#d9730d"
_STYLE = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "microgen",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def ratios(names: Sequence[str], ratio: Float[np.ndarray, "N"], interval: Float[np.ndarray, "N 2"]) -> str:
    """Ratios to the baseline with their intervals, a line each below its name, on a logarithmic axis."""
    with mpl.rc_context(_STYLE):
        figure, axes = _blank(4.8, 0.6 + 0.36 * len(names))
        low = max(0.1, min(0.5, float(ratio.min()) / 1.5))
        place = np.arange(len(names))[::-1]
        within = interval[:, 0] <= 1
        for chosen, colour in ((within, REAL), (~within, GENERATED)):
            middle, ends = np.maximum(ratio[chosen], low), np.maximum(interval[chosen], low)
            axes.hlines(place[chosen], ends[:, 0], ends[:, 1], color=colour, linewidth=2)
            axes.plot(middle, place[chosen], "o", color=colour, markersize=5)
        for y, name in zip(place, names):
            axes.annotate(name, (0, y + 0.14), xycoords=("axes fraction", "data"), va="bottom")
        axes.axvline(1, color=INK, linewidth=0.8, linestyle="--", alpha=0.4)
        axes.set(
            xscale="log",
            yticks=[],
            xlabel="distance over the real-against-real baseline",
            ylim=(-0.5, len(names) - 0.3),
        )
        axes.spines["left"].set_visible(False)
        axes.set_xlim(low, None)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        return _svg(figure)


def bands(
    grid: Float[np.ndarray, "L"],
    real: Float[np.ndarray, "3 L"],
    generated: Float[np.ndarray, "3 L"],
    axis: str,
    values: str,
    *,
    cumulated: bool,
) -> str:
    """Two pooled curves, or cumulated distributions, with the bands of their resamples."""
    with mpl.rc_context(_STYLE):
        figure, axes = _blank(3.5, 2.3)
        for (low, middle, high), colour, name in ((real, REAL, "real"), (generated, GENERATED, "generated")):
            step = {"step": "post"} if cumulated else {}
            axes.fill_between(grid, low, high, color=colour, alpha=0.25, linewidth=0, **step)
            steps = {"drawstyle": "steps-post"} if cumulated else {}
            axes.plot(grid, middle, color=colour, linewidth=1.3, label=name, **steps)
        axes.set(xlabel=axis, ylabel=values)
        if cumulated:
            seen = grid[(real[1] < 0.999) | (generated[1] < 0.999)]
            axes.set_xlim(grid[0], seen[-1] if len(seen) > 1 else grid[-1])
        axes.legend(frameon=False, fontsize=8)
        return _svg(figure)


def scatter(requested: Float[np.ndarray, "N"], measured: Float[np.ndarray, "N"], name: str) -> str:
    """Points beside the line on which they are equal."""
    with mpl.rc_context(_STYLE):
        figure, axes = _blank(3.5, 2.6)
        ends = [float(requested.min()), float(requested.max())]
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--")
        axes.plot(requested, measured, "o", color=GENERATED, markersize=3, alpha=0.6)
        axes.set(xlabel=f"{name} requested, standardised", ylabel="measured, standardised")
        return _svg(figure)


def sectors(
    real: Float[np.ndarray, "Y X"],
    generated: Float[np.ndarray, "Y X"],
    corners: Sequence[tuple[str, float, float]],
) -> str:
    """Two densities over a sector in multiples of random; corners by name, x and y in shares of a side."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.6, 2.8), layout="constrained")
        both = figure.subplots(1, 2)
        top = float(np.nanmax([real, generated]))
        for axes, values, name in zip(both, (real, generated), ("real", "generated")):
            shown = axes.imshow(values, origin="lower", vmin=0, vmax=top, cmap="viridis")
            axes.set_title(name, fontsize=9, loc="left")
            axes.set_axis_off()
            for corner, x, y in corners:
                place = x * real.shape[1] - 0.5, y * real.shape[0] - 0.5
                side = {"ha": "right" if x > 0.5 else "left", "va": "bottom" if y > 0.5 else "top"}
                axes.annotate(corner, place, fontsize=8, annotation_clip=False, **side)
        figure.colorbar(shown, ax=list(both), label="multiples of random", location="bottom")
        return _svg(figure)


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace(INK, "currentColor")
