"""Grids, bytes and GIFs."""

import io

import numpy as np
from PIL import Image

from microgen_jax.images import gif, grid, png, read, to_uint8


def test_bytes_are_rounded_and_clipped():
    values = np.float32([-2.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 5, 1, 1)
    assert to_uint8(values).ravel().tolist() == [0, 0, 128, 255, 255]
    levels = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_uint8(levels / 127.5 - 1), levels.astype(np.uint8))


def test_grid_holds_every_image_in_order():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 4, 6, 3), np.uint8)
    sheet = grid(images, columns=3, gap=1)
    assert sheet.shape == (2 * 5 - 1, 3 * 7 - 1, 3)
    for i in range(5):
        y, x = (i // 3) * 5, (i % 3) * 7
        assert (sheet[y : y + 4, x : x + 6] == i).all()
    assert (sheet[5:, 14:] == 255).all()


def test_grey_and_many_channels_can_be_shown():
    assert grid(np.zeros((2, 4, 4, 1), np.uint8)).shape[-1] == 3
    assert grid(np.zeros((2, 4, 4, 9), np.uint8)).shape[-1] == 3


def test_png_and_gif_go_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (8, 9, 3), np.uint8)
    (tmp_path / "x.png").write_bytes(png(image))
    np.testing.assert_array_equal(read(tmp_path / "x.png"), image)
    with Image.open(io.BytesIO(gif([image, 255 - image, image]))) as animation:
        assert animation.n_frames == 3
