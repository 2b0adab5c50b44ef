"""Grains of images: one way for reports and for inspect, whatever noise and unindexed pixels there are."""

import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import classify_images, entries, grain_finding, grain_size, statistics
from microgen_jax.evaluation.image_kind import ImageKind


def tiles(count: int) -> np.ndarray:
    return np.stack([polycrystal(4, n, 48).image for n in range(count)])


def spoilt(images: np.ndarray, share: float, value: int) -> np.ndarray:
    at = np.random.default_rng(0).random(images.shape[:3]) < share
    return np.where(at[..., None], np.uint8(value), images)


def outlines(images: np.ndarray) -> np.ndarray:
    step = np.zeros(images.shape[:3], bool)
    step[:, :, 1:] |= (np.diff(images.astype(int), axis=2) != 0).any(axis=-1)
    step[:, 1:] |= (np.diff(images.astype(int), axis=1) != 0).any(axis=-1)
    return np.where(step, 255, 0).astype(np.uint8)[..., None]


@pytest.mark.parametrize(
    "spoil", [lambda x: x, lambda x: spoilt(x, 0.03, 0), lambda x: spoilt(x, 0.03, 255), outlines]
)
def test_report_and_inspect_find_the_same_grains(spoil) -> None:
    """The numbers of whole maps, as `inspect` prints them, are those of a report on the same images."""
    images = spoil(tiles(6))
    kind = classify_images(images)
    found = grain_size.pooled(
        grain_size.grain_sizes(grain_finding.regions(image[None], kind)[0]) for image in images
    ).to_json()
    measured = statistics.measure(images, kind)
    means = {name: entries.mean_of(statistic, np.ones(6, bool)) for name, statistic in measured.items()}
    assert found["whole"] > 20
    assert found["mean_diameter"] == pytest.approx(means["grain_diameter"], rel=1e-9)
    assert found["mean_diameter_edge_corrected"] == pytest.approx(
        means["grain_diameter_edge_corrected"], rel=1e-9
    )
    assert found["speck_share"] == pytest.approx(means["speck_share"], rel=1e-9)


def test_black_is_unindexed_in_ipf_maps_only() -> None:
    images = tiles(4)
    kind = classify_images(images)
    assert kind.ipf
    assert (grain_finding.regions(images, kind) >= 0).all()
    lost = images.copy()
    lost[:, 10:14, 10:14] = 0
    found = grain_finding.regions(lost, kind)
    np.testing.assert_array_equal(found < 0, lost.max(axis=-1) == 0)
    assert (grain_finding.regions(lost, kind._replace(ipf=False)) >= 0).all()


def test_the_method_is_named() -> None:
    colour = ImageKind("colour", True, False, 0.0)
    assert "20 of 255" in grain_finding.method(colour)
    assert "boundary lines" in grain_finding.method(colour._replace(content="lines"))
    assert grain_finding.method(colour._replace(content="grey")) == ""
