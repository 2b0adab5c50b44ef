"""The report in headless Chromium: no complaint, no request to anywhere, figures that can be seen, light and dark."""

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import baseline, classify_images, statistics
from microgen_jax.evaluation.report import page as report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSERS_OWN = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")  # its clock, its updates
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-pings",
    "--enable-logging=stderr",
    "--window-size=1280,3000",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    images = np.stack([polycrystal(3, i, 32).image for i in range(60)])
    originals = classify_images(images)
    measured = statistics.measure(images, originals)
    plan = baseline.plan_splits(np.arange(30), 30)
    compared = {name: baseline.compare(statistic, plan) for name, statistic in measured.items()}
    compared = {name: found for name, found in compared.items() if found is not None}
    base = {
        "real": 1.0,
        "generated": 2.0,
        "unit": "px",
        "n_real": 30,
        "n_generated": 30,
        "note": "</p><script>console.error('not escaped')</script>",
    }
    metrics = {
        name: {"value": c.value, "baseline": c.baseline, "ratio": c.ratio, "interval": list(c.interval)}
        | base
        for name, c in compared.items()
    }
    text = report.render(
        report.ReportContent(
            title="A report <b>of</b> a test",
            warnings=["<img src=http://nowhere.example/x.png> is no image"],
            summary=["All is said here."],
            metrics=metrics,
            statistics=measured,
            ratios=compared,
            distances=list(compared),
            requested_and_measured={"strain": (np.arange(30.0), np.arange(30.0) + 1)},
            descriptions=statistics.DESCRIPTIONS | {"strain": "strain"},
            real=images[:30],
            generated=images[30:],
            pairs=(images[:5], images[30:35]),
            laue_group="m-3m",
            key="tsl",
            method="colour steps",
            json_text="{}",
        )
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the report was not looked at")
@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (22, 24, 27))])
def test_nothing_complains_and_everything_shows(page: Path, tmp_path: Path, theme: str, paper) -> None:
    shot, log = tmp_path / "shot.png", tmp_path / "net.json"
    dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    result = subprocess.run(
        [CHROMIUM, *QUIET, *dark, f"--screenshot={shot}", f"--log-net-log={log}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shot.is_file(), result.stderr[-2000:]
    assert "CONSOLE" not in result.stderr
    started = [event.get("params", {}).get("url", "") for event in json.loads(log.read_text())["events"]]
    hosts = {urlsplit(url).hostname or "" for url in started if url.startswith("http")}
    assert not [host for host in hosts if not host.endswith(BROWSERS_OWN)]
    original = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert tuple(original[5, 5]) == paper
    inked = np.abs(original - np.array(paper)).max(axis=-1) > 60
    filled = inked.reshape(30, 100, -1).any(axis=(1, 2))
    assert filled[:25].mean() > 0.9  # figures down the whole page
    colourful = np.ptp(original, axis=-1) > 150
    assert colourful.mean() > 0.05  # the images themselves
