"""Judging a run and judging folders: metrics.json, a report that stands alone, and bad input in one line."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from configs import default
from microgen_jax.commands.evaluate import open_trained
from microgen_jax.config import fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.crystal.polycrystal import CLASSES, polycrystal
from microgen_jax.data import open_dataset
from microgen_jax.images import png

KEYS = {
    *("value", "baseline", "ratio", "interval", "real", "generated", "unit", "n_real", "n_generated", "note"),
}


def tiles(start: int, count: int, size: int = 16, **descriptors) -> np.ndarray:
    return np.stack([polycrystal(9, start + i, size, **descriptors).image for i in range(count)])


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    np.savez(folder / "real.npz", images=tiles(0, 40))
    np.savez(folder / "other.npz", images=tiles(1000, 24))
    np.savez(folder / "large.npz", images=tiles(0, 6, 24))
    np.savez(folder / "grey.npz", images=tiles(0, 6)[..., :1])
    np.savez(folder / "flat.npz", images=np.full((6, 16, 16, 3), 255, np.uint8))
    np.savez(folder / "few.npz", images=tiles(0, 3))
    np.savez(folder / "nan.npz", images=np.full((6, 16, 16, 3), np.nan, np.float32))
    escaped = folder / "<b>bold & <i>"
    escaped.mkdir()
    for n, image in enumerate(tiles(2000, 24)):
        (escaped / f"{n}.png").write_bytes(png(image))
    return folder


class Page(HTMLParser):
    """Tags, and every address that a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "action")
        ]


def evaluate(run, sets: Path, real: str, generated: str, **flags):
    paths = {"config__evaluate__real": sets / real, "config__evaluate__generated": sets / generated}
    plain = {"config__data__size": None, "config__data__count": None}
    return run(mode="evaluate", config=None, **(plain | paths | flags))


def test_two_sets_need_no_run_and_the_report_stands_alone_and_escapes(run, sets, tmp_path) -> None:
    result = evaluate(run, sets, "real.npz", "<b>bold & <i>", workdir=tmp_path / "<script>w")
    assert result.returncode == 0, result.stderr
    written = tmp_path / "<script>w" / "evaluation"
    assert sorted(p.name for p in written.iterdir()) == ["metrics.json", "report.html"]
    content = json.loads((written / "metrics.json").read_text())
    assert set(content) == {"settings", "metrics"}
    assert content["settings"]["compared"] == 20
    for name, entry in content["metrics"].items():
        assert set(entry) == KEYS, name
        if entry["ratio"] is not None:
            assert entry["ratio"] == pytest.approx(
                entry["value"] / entry["baseline"] if entry["baseline"] else 1
            )
            assert entry["interval"][0] <= entry["ratio"] <= entry["interval"][1]
            assert (entry["n_real"], entry["n_generated"]) == (40, 24)
            assert "small" in entry["note"]
    assert content["metrics"]["copies"]["value"] is None
    assert "workdir" in content["metrics"]["copies"]["note"]

    text = (written / "report.html").read_text()
    page = Page(text)
    assert not {"script", "link", "b", "i", "iframe"} & set(page.tags)
    assert all(
        address.startswith(("data:image/png;base64,", "data:application/json;base64,", "#"))
        for address in page.addresses
    )
    assert not re.findall(r"@import|url\(\s*['\"]?(?!#)", text)
    assert page.tags.count("svg") > 5
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text
    assert text.index("Summary") < text.index("<svg")


def test_nothing_is_written_without_a_workdir(run, sets, tmp_path) -> None:
    result = evaluate(
        run, sets, "real.npz", "other.npz", workdir=None, config__evaluate__metrics="('two_point_x',)"
    )
    assert result.returncode == 0, result.stderr
    assert "two_point_x" in result.stdout
    assert "grain_diameter" not in result.stdout
    assert "--workdir" in result.stdout


def test_quality_is_watched_while_training(trained) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    watched = [line for line in lines if "quality" in line]
    assert [line["step"] for line in watched] == [2, 4]
    assert all(line["quality"] > 2 and line["quality/intensity"] > 1 for line in watched)


def test_a_run_is_judged_against_its_held_out_images(run, trained) -> None:
    result = run(
        mode="evaluate",
        workdir=trained,
        config=None,
        config__evaluate__num=12,
        config__evaluate__copy_search_num=20,
    )
    assert result.returncode == 0, result.stderr
    content = json.loads((trained / "evaluation" / "metrics.json").read_text())
    metrics, settings = content["metrics"], content["settings"]
    assert settings["checkpoint"] == 4
    assert settings["training_images_searched"] == 20
    assert metrics["copies"]["value"] == 0
    assert metrics["copies"]["n_generated"] == 12
    assert metrics["training_distance"]["value"] > 0
    assert metrics["psnr_x0_10"]["value"] > metrics["psnr_x0_50"]["value"] > 0
    assert metrics["vlb"]["value"] > metrics["vlb"]["standard_error"] > 0
    assert metrics["intensity"]["interval"][0] > 1  # four steps of training make noise
    assert metrics["intensity/equiaxed"]["value"] is None
    assert "too few" in metrics["intensity/equiaxed"]["note"]
    assert "Nearest training images" in (trained / "evaluation" / "report.html").read_text()


@pytest.mark.parametrize("asked", [False, True])
def test_a_cache_that_config_json_alone_names_is_not_written(sets, tmp_path, capsys, asked) -> None:
    cache = str(tmp_path / "cache")
    config = default.get_config()
    config.data.update(root=str(sets / "real.npz"), size=(16, 16))
    resolved = run_config.resolve(open_dataset(fields.freeze(config).data))
    config.data.cache = cache
    run_config.write(tmp_path, fields.freeze(config), resolved)
    mine = default.get_config()
    mine.data.cache = cache if asked else ""
    request = Request(fields.freeze(mine), {"data.cache": cache} if asked else {}, False, tmp_path)
    run = open_trained(request, generates=False, needs_holdout=True)
    assert run.dataset.train[0].image.shape[:2] == (16, 16)
    assert Path(cache).exists() == asked
    shown = capsys.readouterr().out
    assert shown == f"reading {sets / 'real.npz'}, the data.root of {tmp_path}/config.json\n"


def test_samples_by_name_are_judged_and_copies_are_counted(run, trained, tmp_path) -> None:
    config = json.loads((trained / "config.json").read_text())["config"]
    seen = [polycrystal(config["seed"], i, 16, kind=CLASSES[i % 4]).image for i in range(6)]
    folder = trained / "samples" / "stolen"
    folder.mkdir(parents=True)
    np.savez(folder / "samples.npz", images=np.stack(seen), labels=np.zeros(6, int))
    result = run(
        mode="evaluate",
        workdir=trained,
        config=None,
        config__evaluate__generated="stolen",
        config__evaluate__copy_search_num=0,
        config__evaluate__metrics="('intensity','copies')",
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())["metrics"]
    assert metrics["copies"]["value"] == 1
    assert "copy a training image" in result.stdout


def test_classes_of_other_real_images_go_by_name(run, trained, tmp_path) -> None:
    for row, name in enumerate((CLASSES[0], CLASSES[2], "other")):
        folder = tmp_path / "maps" / name
        folder.mkdir(parents=True)
        for n, image in enumerate(tiles(3000 + 4 * row, 4)):
            (folder / f"{n}.png").write_bytes(png(image))

    def judge(root: Path) -> tuple[dict, str]:
        result = run(
            mode="evaluate",
            workdir=trained,
            config=None,
            config__evaluate__real=root,
            config__evaluate__metrics="('intensity',)",
            config__evaluate__num=8,
        )
        assert result.returncode == 0, result.stderr
        metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())["metrics"]
        return metrics, " ".join(result.stdout.split())

    metrics, shown = judge(tmp_path / "maps")
    assert "classes of the real images only, not compared: other" in shown
    assert {f"intensity/{name}" for name in (CLASSES[0], CLASSES[2])} < set(metrics)
    for image in (tmp_path / "maps" / "other").iterdir():
        image.unlink()
    (tmp_path / "maps" / "other").rmdir()
    metrics, shown = judge(tmp_path / "maps")
    assert [metrics[f"intensity/{name}"]["n_generated"] for name in (CLASSES[0], CLASSES[2])] == [4, 4]
    assert f"classes of the generated images only, not compared: {CLASSES[1]}" in shown


def test_flat_images_are_reported_and_do_not_stop(run, sets, tmp_path) -> None:
    metrics = "('intensity','grain_diameter')"
    result = evaluate(run, sets, "real.npz", "flat.npz", workdir=tmp_path, config__evaluate__metrics=metrics)
    assert result.returncode == 0, result.stderr
    assert "one flat colour" in result.stdout
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["metrics"]
    assert metrics["grain_diameter"]["value"] is None
    assert "does not occur" in metrics["grain_diameter"]["note"]


@pytest.mark.parametrize(
    ("real", "generated", "flags", "where"),
    [
        ("real.npz", "large.npz", {}, "evaluate.generated"),
        ("real.npz", "grey.npz", {}, "evaluate.generated"),
        ("few.npz", "real.npz", {}, "evaluate.real"),
        ("nan.npz", "real.npz", {}, "evaluate.real"),
        ("none.npz", "real.npz", {}, "evaluate.real"),
        ("real.npz", "real.npz", {"metrics": "('two_pont_x',)"}, "evaluate.metrics"),
        ("real.npz", "real.npz", {"num": "1"}, "evaluate.num"),
        ("real.npz", "real.npz", {"pixel_size_um": "-1.0"}, "evaluate.pixel_size_um"),
        ("real.npz", "real.npz", {"laue_group": "m-4m"}, "evaluate.laue_group"),
        ("real.npz", "", {"generated": ""}, "--workdir"),
    ],
)
def test_bad_input_is_one_line(run, sets, tmp_path, real, generated, flags, where) -> None:
    flags = {f"config__evaluate__{name}": value for name, value in flags.items()}
    result = evaluate(run, sets, real, generated, workdir=tmp_path / "w", **flags)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {where}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "w").exists()
