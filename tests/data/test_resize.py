"""Windows, sampling, padding, channels and ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen_jax.data import open_dataset, resize
from microgen_jax.errors import UserError


def original(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Every pixel its own value."""
    return np.arange(height * width * channels, dtype=np.uint16).reshape(height, width, channels)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    resample=st.sampled_from(["none", "nearest", "stretch"]),
    seed=st.none() | st.integers(0, 9),
)
def test_sampling_takes_whole_pixels_and_makes_up_none(shape, size, resample, seed):
    image = original(*shape)
    rng = None if seed is None else np.random.default_rng(seed)
    window = resize.fit(image, size, resample=resample, rng=rng)
    assert window.shape == (*size, 3)
    assert {tuple(p) for p in window.reshape(-1, 3)} <= {tuple(p) for p in image.reshape(-1, 3)}


@pytest.mark.parametrize(
    ("shapes", "resample", "scale"),
    [
        ([(32, 64), (100, 32)], "nearest", 2.0),
        ([(32, 64), (100, 32)], "none", 1.0),
        ([(32, 64)], "stretch", 0.0),
        ([(32, 32)], "stretch", 2.0),
        ([(32, 64), (64, 64)], "area", 0.0),
    ],
)
def test_images_have_one_scale_where_they_are_resampled_alike(shapes, resample, scale):
    assert resize.common_scale(shapes, (16, 16), resample)[0] == scale


def test_lengths_that_are_not_scaled_with_the_images_are_said(tmp_path, save, data_config):
    for diameter in (4, 8):
        save(tmp_path / f"d_{diameter}.png", (32, 48, 3), seed=diameter)
    names = {"filename_pattern": "d_(?P<d>[0-9]+)", "conditions": ("d",), "pixel_size_um": 0.3}
    resampled = open_dataset(data_config(tmp_path, resample="area", **names))
    (note,) = (note for note in resampled.notes if "data.resample" in note)
    assert "a pixel is 2 px of the files; conditions are those of the files" in note
    assert (resampled.pixel_size_um, resampled.pixel_scale) == (0.3, 2.0)  # of the model's images, as set
    save(tmp_path / "d_6.png", (64, 48, 3))
    notes = open_dataset(data_config(tmp_path, resample="nearest", **names)).notes
    assert any("a pixel is 2 to 3 px of the files: images differ" in note for note in notes)
    assert not any("data.resample" in note for note in open_dataset(data_config(tmp_path, **names)).notes)


def test_a_window_is_at_the_original_pixel_size_and_reaches_every_corner():
    image, rng = original(9, 11), np.random.default_rng(0)
    windows = [resize.fit(image, (8, 8), rng=rng) for _ in range(200)]
    for window in windows:
        top, left = divmod(int(window[0, 0, 0]) // 3, 11)
        np.testing.assert_array_equal(window, image[top : top + 8, left : left + 8])
    assert {divmod(int(w[0, 0, 0]) // 3, 11) for w in windows} == {(t, f) for t in range(2) for f in range(4)}


@pytest.mark.parametrize("resample", ["nearest", "area"])
def test_the_aspect_ratio_is_kept_unless_stretch_is_asked_for(resample):
    rows, columns = np.indices((32, 64), dtype=np.uint8)
    window = resize.fit(np.stack([rows, columns], -1), (16, 16), resample=resample).astype(float)
    assert np.diff(window[:, 0, 0]).mean() == np.diff(window[0, :, 1]).mean() == 2
    stretched = resize.fit(np.stack([rows, columns], -1), (16, 16), resample="stretch").astype(float)
    assert (np.diff(stretched[:, 0, 0]).mean(), np.diff(stretched[0, :, 1]).mean()) == (2, 4)


def test_area_keeps_the_mean():
    image = np.random.default_rng(0).integers(0, 65536, (32, 32, 1), dtype=np.uint16)
    window = resize.fit(image, (8, 8), resample="area")
    np.testing.assert_allclose(window, image.reshape(8, 4, 8, 4, 1).mean((1, 3)), rtol=1e-5)


def test_small_images_are_padded_as_asked():
    image = original(3, 4, 1)
    np.testing.assert_array_equal(
        resize.fit(image, (9, 10), pad="reflect")[..., 0],
        np.pad(image[..., 0], ((3, 3), (3, 3)), "reflect"),
    )
    digit = np.zeros((28, 28, 1), np.uint8)
    digit[10:20, 10:20] = 9
    np.testing.assert_array_equal(
        resize.fit(digit, (32, 32), pad="background"), np.pad(digit, ((2, 2), (2, 2), (0, 0)))
    )


def test_channels_change_only_where_nothing_is_lost_or_grey_is_asked_for():
    grey = original(2, 2, 1)
    colour = resize.to_channels(grey, 3)
    assert colour.shape == (2, 2, 3)
    np.testing.assert_array_equal(resize.to_channels(colour, 1), grey)
    for found, wanted in ((3, 1), (5, 3)):
        with pytest.raises(UserError) as caught:
            resize.to_channels(original(2, 2, found), wanted)
        assert caught.value.where == "channels"
    white = np.full((1, 1, 3), 255, np.uint8)
    white[0, 0, 0] = 254
    assert resize.to_channels(white, 1, to_grey=True).item() == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_span_minus_one_to_one(dtype):
    top = np.iinfo(dtype).max
    values = resize.to_float(np.array([0, 1, top], dtype).reshape(1, 3, 1)).ravel()
    np.testing.assert_allclose(values, [-1, 2 / top - 1, 1], rtol=1e-6)
    assert values.dtype == np.float32


def test_every_8_bit_value_comes_back():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    back = np.rint((resize.to_float(values) + 1) * 127.5)
    np.testing.assert_array_equal(back, values)
