"""Metrics over the steps of a run, as an image."""

import io

WIDTH, HEIGHT = 7.0, 2.4  # inches, of a panel


def plot(lines: list[dict[str, float | int | None]], panels: tuple[tuple[str, ...], ...]) -> bytes | None:
    """Return a PNG with one panel for every group of names that occur; None where none does.

    Args:
      lines: lines of `metrics.jsonl`: a `step`, and values by name, None where they were not finite.
      panels: groups of names of metrics.
    """
    shown = [[name for name in names if any(name in line for line in lines)] for names in panels]
    shown = [names for names in shown if names]
    if not shown:
        return None
    from matplotlib.figure import Figure  # slow to import

    figure = Figure((WIDTH, HEIGHT * len(shown)), dpi=100, layout="constrained")
    for axes, names in zip(figure.subplots(len(shown), squeeze=False, sharex=True)[:, 0], shown):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            axes.plot(
                *zip(*points) if points else ((), ()), label=name, marker="." if len(points) < 30 else ""
            )
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
