"""Which networks are run, what is said of those that are not, and the entries that come of them."""

from dataclasses import replace

import numpy as np
import pytest
from rich.progress import Progress

from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.errors import UserError
from microgen_jax.evaluation import ImageSet, classify_images, microstructure
from microgen_jax.evaluation.features import distances, extractors, weights
from microgen_jax.evaluation.features import metrics as features
from microgen_jax.evaluation.features.extractors import Extractor


def test_what_is_not_installed_is_said_and_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find", lambda file: None)
    networks = features.open_networks()
    assert (networks.extractors, networks.lpips, networks.names) == ([], None, ())
    assert set(networks.skipped) == {"fd_efflite0", "fid", "lpips_diversity"}
    assert "pip install -e '.[eval]'" in networks.skipped["fd_efflite0"]
    for name in ("fd_efflite0", "precision_vgg16", "lpips_diversity"):
        with pytest.raises(UserError, match="pip install"):
            features.open_networks((name,))
    with pytest.raises(UserError) as error:
        features.open_networks(("fid",))
    assert error.value.where == "inception_weights"
    with pytest.raises(UserError) as error:
        features.open_networks(inception_preprocessing="torch")
    assert error.value.where == "inception_preprocessing"
    assert features.open_networks(("two_point_x",)).skipped == {}


def test_only_the_inception_has_fid_kid_and_is() -> None:
    owners = {name: extractor for name, (extractor, _) in features.METRICS.items()}
    assert {owners[name] for name in ("fid", "kid", "is")} == {"inception-fid"}
    said = features.DESCRIPTIONS
    assert {name for name in said if "FID" in said[name] or "(IS)" in said[name]} == {"fid", "is"}
    assert "FD-EffLite0" in said["fd_efflite0"]


def fake_extractor() -> Extractor:
    """Means of quarters of an image, and of its channels."""

    def apply(params: dict, levels):
        quarters = levels.reshape(len(levels), 4, -1).mean(axis=-1)
        channels = levels.mean(axis=(1, 2)) / 255
        return {"a": quarters, "b": channels, "logits": channels}

    return Extractor("efficientnet-lite0", {}, apply, "a", "b", True, {})


def tiles(images: np.ndarray, classes: tuple[str, ...] = ("x", "y")) -> ImageSet:
    labels = np.arange(len(images)) % 2
    none = np.zeros((len(images), 0), np.float32)
    return ImageSet(images, labels, np.arange(len(images)).astype(str), none, classes, "made")


def test_entries_are_pooled_and_by_class() -> None:
    rng = np.random.default_rng(0)
    real, made = (rng.integers(0, top, (n, 8, 8, 1)).astype(np.uint8) for top, n in ((256, 240), (200, 110)))
    names = tuple(n for n, (owner, _) in features.METRICS.items() if owner == "efficientnet-lite0")
    near = "training_distance_efflite0"
    networks = features.Networks([fake_extractor()], None, (*names, near), {"fid": "no weights"})
    with Progress(disable=True) as progress:
        found, seconds = features.compare(networks, tiles(real), tiles(made), real[:40], 0, progress)
    assert list(seconds) == ["efficientnet-lite0"]
    assert (found["fid"]["value"], found["fid"]["note"]) == (None, "no weights")
    assert "nearer" not in found[near]["note"]
    assert found[near]["interval"][0] > 1  # some of the real tiles are the training tiles themselves
    assert set(found) == {"fid", near, *names, *(f"{name}/{k}" for name in names for k in "xy")}
    assert found["fd_efflite0"]["interval"][0] > 1
    assert found["kd_efflite0"]["ratio"] is None
    assert found["kd_efflite0"]["p_value"] < 0.01
    assert found["fd_efflite0/x"]["value"] is not None
    for entry in found.values():
        if entry["interval"]:
            assert entry["interval"][0] <= entry["ratio"] <= entry["interval"][1]
            assert entry["ratio"] == pytest.approx(entry["value"] / entry["baseline"])


def test_few_tiles_or_strange_channels_are_skipped_and_said() -> None:
    rng = np.random.default_rng(0)
    few = tiles(rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8))
    networks = features.Networks([fake_extractor()], None, ("fd_efflite0",), {})
    with Progress(disable=True) as progress:
        found, _ = features.compare(networks, few, few, None, 0, progress)
        assert f"{distances.MIN_VECTORS} are the least" in found["fd_efflite0"]["note"]
        nine = tiles(np.zeros((4, 8, 8, 9), np.uint8))
        found, _ = features.compare(networks, nine, nine, None, 0, progress)
        assert "the images have 9" in found["fd_efflite0"]["note"]


@pytest.mark.slow
@pytest.mark.skipif(weights.find(weights.ALEXNET) is None, reason="the extra 'eval' is not installed")
def test_copies_of_one_image_are_less_diverse() -> None:
    rng = np.random.default_rng(0)
    real = tiles(rng.integers(0, 256, (60, 32, 32, 3)).astype(np.uint8))
    alike = tiles(np.clip(real.images[:1] + rng.integers(0, 9, (60, 1, 1, 1)), 0, 255).astype(np.uint8))
    networks = features.open_networks(("lpips_diversity",))
    with Progress(disable=True) as progress:
        found, _ = features.compare(networks, real, alike, None, 0, progress)
    assert found["lpips_diversity"]["interval"][1] < 0.5


def test_features_do_not_depend_on_the_batch() -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1)).astype(np.uint8)
    done: list[int] = []
    whole = extractors.embed(fake_extractor(), images, done.append)
    assert done == [32, 32, 6]
    np.testing.assert_array_equal(whole["a"][64:], extractors.embed(fake_extractor(), images[64:])["a"])


def test_conditions_that_were_asked_for_are_measured() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(5, 12, 90)
    images = np.stack(
        [polycrystal(8, n, 24, kind="equiaxed", diameter=float(size)).image for n, size in enumerate(sizes)]
    )
    known = ((sizes - sizes.mean()) / sizes.std())[:, None].astype(np.float32)
    real, made = (
        replace(
            tiles(images[rows], ("x",)), labels=np.zeros(rows.stop - rows.start, int), conditions=known[rows]
        )
        for rows in (slice(0, 60), slice(60, 90))
    )
    with Progress(disable=True) as progress:
        outcome = microstructure.compare(
            real,
            made,
            classify_images(real.images),
            None,
            ["conditioning_accuracy"],
            ("diameter",),
            0,
            progress,
        )
    entry = outcome.metrics["conditioning_accuracy_diameter"]
    assert list(outcome.metrics) == ["conditioning_accuracy_diameter"]
    assert entry["value"] > 0.4
    assert entry["interval"][0] < 1 < entry["interval"][1]
    assert outcome.requested_and_measured["conditioning_accuracy_diameter"][0].shape == (30,)
