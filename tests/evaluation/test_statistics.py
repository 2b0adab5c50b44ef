"""Every kind of image is recognised and measured, tile by tile, whatever the blocks."""

import numpy as np
import pytest

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.evaluation import baseline, classify_images, grain_finding, grains, statistics


def tiles(start: int, count: int, **descriptors) -> np.ndarray:
    return np.stack([polycrystal(2, start + i, 32, **descriptors).image for i in range(count)])


def outlines(images: np.ndarray) -> np.ndarray:
    """Dark boundaries, one pixel wide, on white."""
    step = np.zeros(images.shape[:3], bool)
    step[:, :, 1:] |= (images[:, :, 1:] != images[:, :, :-1]).any(axis=-1)
    step[:, 1:] |= (images[:, 1:] != images[:, :-1]).any(axis=-1)
    return np.where(step, 0, 255).astype(np.uint8)[..., None]


def grey(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=-1, keepdims=True).astype(np.uint8)


def phases(images: np.ndarray) -> np.ndarray:
    return np.where(images[..., :1] > np.median(images[..., 0]), 255, 0).astype(np.uint8)


KINDS = {"colour": lambda images: images, "lines": outlines, "phases": phases, "grey": grey}


@pytest.mark.parametrize("content", list(KINDS))
def test_each_kind_has_all_its_statistics(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = KINDS[content](tiles(0, 12))
    kind = classify_images(images)
    assert (kind.content, kind.ipf) == (content, content == "colour")
    if content == "lines":
        assert kind.dark
    whole = statistics.measure(images, kind)
    assert tuple(whole) == statistics.names_of(kind)
    monkeypatch.setattr(statistics, "BLOCK", 5)
    told = []
    parts = statistics.measure(images, kind, told.append)
    assert told == [5, 5, 2]
    one = np.ones((1, 12))
    for name, statistic in whole.items():
        assert np.isfinite(baseline.pool(statistic, one)).all(), name
        np.testing.assert_allclose(
            baseline.pool(parts[name], one), baseline.pool(statistic, one), err_msg=name
        )


def test_copied_channels_are_grey() -> None:
    assert classify_images(np.repeat(grey(tiles(0, 4)), 3, axis=-1)).content == "grey"


def test_pooled_numbers_are_those_of_the_grains() -> None:
    images = tiles(0, 10)
    kind = classify_images(images, pixel_size_um=0.5)
    found = statistics.measure(images, kind)
    labels = grains.absorb_specks(grain_finding.regions(images, kind))
    measured = grains.measure(labels)
    whole = 0.5 * measured.diameter[measured.whole]  # um

    def pooled(name: str) -> np.ndarray:
        return baseline.pool(found[name], np.ones((1, 10)))[0]

    mu, sigma = grains.lognormal(whole)
    assert (pooled("lognormal_mu")[0], pooled("lognormal_sigma")[0]) == pytest.approx((mu, sigma))
    assert pooled("grain_diameter") @ found["grain_diameter"].grid == pytest.approx(whole.mean())
    by_area = pooled("grain_diameter_by_area") @ found["grain_diameter_by_area"].grid
    assert by_area == pytest.approx(0.5 * grains.area_weighted_mean(measured))
    assert found["grain_diameter"].unit == found["chord_length_x"].unit == "um"
    area = measured.area[measured.whole].mean()
    assert pooled("astm_e2627")[0] == pytest.approx(grains.astm_area(np.array([area]), 0.5)[0])
    assert pooled("dead_ends")[0] == 0
    assert pooled("off_key")[0] == 0


@pytest.mark.parametrize(
    ("fault", "seen_by"),
    [
        ("grains", "grain_diameter_by_area"),
        ("elongated", "elongation"),
        ("texture", "colour_density"),
        ("colours", "off_key"),
        ("noise", "floating_pieces"),
        ("blur", "colour_gradient"),
    ],
)
def test_a_fault_is_seen_by_its_statistic(fault: str, seen_by: str) -> None:
    common = {"kind": "equiaxed", "diameter": 9.0, "sigma": 0.3}
    real = tiles(0, 60, **common)
    changed = {
        "grains": {"diameter": 7.0},
        "elongated": {"kind": "elongated", "aspect_ratio": 2.5},
        "texture": {"kind": "textured", "texture": "fibre111", "sharpness": 10.0},
    }
    made = tiles(500, 60, **(common | changed.get(fault, {})))
    rng = np.random.default_rng(0)
    if fault == "colours":
        made = np.where(rng.random((*made.shape[:3], 1)) < 0.05, made // 2, made)
    if fault == "noise":
        made = np.where(rng.random((*made.shape[:3], 1)) < 0.01, 255 - made, made)
    if fault == "blur":
        made = ((made.astype(int) * 3 + np.roll(made, 1, axis=2)) // 4).astype(np.uint8)
    both = np.concatenate([real, made])
    found = statistics.measure(both, classify_images(real))
    plan = baseline.plan_splits(np.arange(60), 60)
    assert baseline.compare(found[seen_by], plan).interval[0] > 1
    if fault == "texture":
        assert baseline.compare(found["grain_diameter"], plan).interval[0] <= 1
