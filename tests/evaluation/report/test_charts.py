"""Charts are plain SVG that follows the page's ink."""

from xml.etree import ElementTree

import numpy as np

from microgen_jax.evaluation import ipf_density
from microgen_jax.evaluation.report import charts


def check(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "currentColor" in svg
    assert "metadata" not in svg
    assert charts.INK not in svg


def test_every_chart_is_well_formed_and_transparent() -> None:
    check(charts.ratios(["a", "b & c"], np.array([1.0, 3.0]), np.array([[0.0, 2.0], [2.0, 4.0]])))
    curve = np.stack([np.linspace(1, 0, 9) + shift for shift in (-0.1, 0, 0.1)])
    check(charts.bands(np.arange(9.0), curve, curve + 0.2, "lag in px", "probability", cumulated=False))
    check(charts.bands(np.arange(9.0), 1 - curve, 1 - curve, "levels", "share up to", cumulated=True))
    density = ipf_density.as_image(np.ones(len(ipf_density.sector("m-3m").share)))
    corners = ipf_density.corners("m-3m")
    assert {name for name, _, _ in corners} == {"[001]", "[101]", "[111]"}
    assert all(-0.01 <= place <= 1.01 for _, *places in corners for place in places)
    check(charts.sectors(density, 2 * density, corners))


def test_the_same_figures_give_the_same_text() -> None:
    curve = np.zeros((3, 4))
    first, again = (charts.bands(np.arange(4.0), curve, curve, "px", "", cumulated=False) for _ in range(2))
    assert first == again
