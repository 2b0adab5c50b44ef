"""The notebook of docs/, cell by cell, on a tiny run."""

import json
import shutil
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tour.ipynb"
METRIC = {"value": 0.5, "baseline": 0.25, "ratio": 2.0, "interval": [0.4, 0.6], "note": ""}


@pytest.mark.slow
def test_the_tour_runs(trained, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    (workdir / "evaluation").mkdir(exist_ok=True)
    skipped = {"value": None, "note": "no orientations"}
    metrics = {"settings": {}, "metrics": {"grain_diameter": METRIC, "texture": skipped}}
    (workdir / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setenv("MICROGEN_RUN", str(workdir))
    matplotlib.use("agg")
    names: dict = {}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    assert names["frames"].shape == (4, 4, 16, 16, 3)
    printed = capsys.readouterr().out
    assert "4 updates; classes bimodal" in printed
    assert "grain_diameter" in printed
    assert "skipped: no orientations" in printed
    names["plt"].close("all")


def test_the_tour_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
