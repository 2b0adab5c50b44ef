"""The figure of docs/samplers.md from what the two benchmarks wrote.

python -m tests.benchmarks.sampling_figure samplers.json conditioning_accuracy.json docs/figures/sampling.png
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

MARKERS = {"ancestral": "o", "dpmpp2m": "s", "dpmpp2m_sde": "D", "ddim": "^", "unipc": "v"}
COLOURS = {name: f"C{i}" for i, name in enumerate(MARKERS)}
LINES = {1.0: "-", 1.03: "--"}  # eps_scale and its line


def main(samplers: str, accuracy: str, out: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    data, *rows = json.loads(Path(samplers).read_text())["rows"]
    for name, eps_scale in sorted({(row["sampler"], row["eps_scale"]) for row in rows}):
        if eps_scale not in LINES:
            continue
        mine = [row for row in rows if (row["sampler"], row["eps_scale"]) == (name, eps_scale)]
        mine.sort(key=lambda row: row["calls"])
        calls, middle = [row["calls"] for row in mine], [row["distance"] for row in mine]
        around = [
            [row["distance"] - row["low"] for row in mine],
            [row["high"] - row["distance"] for row in mine],
        ]
        label = name if eps_scale == 1 else f"{name}, eps_scale {eps_scale:g}"
        left.errorbar(
            calls,
            middle,
            around,
            marker=MARKERS[name],
            ls=LINES[eps_scale],
            color=COLOURS[name],
            capsize=3,
            label=label,
        )
    left.axhspan(0, data["high"], color="0.85", label="data against data")
    left.set(xscale="log", xlabel="network calls", ylabel="distance to the data", ylim=(0, None))
    left.legend(fontsize=8)

    measured = json.loads(Path(accuracy).read_text())
    asked = measured["requested"]["grain_diameter"]
    for row in measured["rows"]:
        if row["condition"] == "grain_diameter":
            label = "data" if row["guidance"] == "data" else f"guidance {row['guidance']:g}"
            right.plot(asked, row["measured"], "k--" if row["guidance"] == "data" else "o-", label=label)
    right.plot(asked, asked, color="0.7", lw=1)
    right.set(xlabel="requested grain diameter, px", ylabel="measured, px")
    right.legend()
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
