"""metrics.json, the table on the screen and the report show the same means with the same units."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import Comparison, compare, summary
from microgen_jax.evaluation.report.page import SIZES


def tiles(start: int, count: int) -> np.ndarray:
    return np.stack([polycrystal(5, start + n, 32).image for n in range(count)])


def two_valued(images: np.ndarray) -> np.ndarray:
    return np.where(images[..., :1] > 128, 255, 0).astype(np.uint8)


class Rows(HTMLParser):
    """Cells of every table row of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.in_cell = tag in ("td", "th") or (self.in_cell and tag != "tr")
        if tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module", params=["px", "um", "phases"])
def result(request: pytest.FixtureRequest) -> Comparison:
    real, generated = tiles(0, 12), tiles(100, 10)
    if request.param == "phases":
        return compare(two_valued(real), two_valued(generated))
    return compare(real, generated, pixel_size_um=0.5 if request.param == "um" else 0.0)


def expected(result: Comparison, absent: str) -> dict[str, list[str]]:
    """Real and generated mean and unit of each pooled metric that has a value, as text."""
    return {
        name: [
            *(
                absent if entry[side] is None else summary.number(entry[side])
                for side in ("real", "generated")
            ),
            "" if entry["unit"] in (None, "1") else entry["unit"],
        ]
        for name, entry in result.items()
        if "/" not in name and not summary.is_missing(entry)
    }


def test_the_screen_table_has_the_means_of_metrics_json(result: Comparison) -> None:
    columns = [list(column.cells) for column in summary.table(result.entries).columns]
    assert {name: list(row) for name, *row in zip(*columns[:4])} == expected(result, "")


def test_the_report_has_the_means_of_metrics_json(result: Comparison) -> None:
    page = result.html("title")
    rows = Rows(page).rows
    found = {}
    for title, *cells in (row for row in rows if len(row) == 10):
        name = re.split(r"\s+", title.strip())[-1]
        found[name] = [cell.strip() for cell in cells[:3]]
    del found["metric"]
    wanted = expected(result, "–")
    assert found == wanted
    sizes = {row[0]: row[1:] for row in rows if len(row) == 4 and row[0]}
    shown = {
        name: title for name, title in SIZES.items() if name in result and result[name]["real"] is not None
    }
    assert sizes == {title: wanted[name] for name, title in shown.items()}
    link = re.search(r"data:application/json;base64,([^\"]+)", page)
    assert json.loads(base64.b64decode(link.group(1))) == json.loads(json.dumps(result.to_json()))


def test_what_is_missing_is_said_once_for_each_reason(result: Comparison) -> None:
    lines = summary.missing(result.entries)
    missing = [name for name, entry in result.items() if "/" not in name and summary.is_missing(entry)]
    named = [
        name for line in lines for name in line.removeprefix("Not measured: ").partition(":")[0].split(", ")
    ]
    assert sorted(named) == sorted(missing)
    assert len(lines) == len({result[name]["note"] for name in missing})
    assert all(line in result.html("title").replace("&#39;", "'") for line in lines)
