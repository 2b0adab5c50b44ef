"""Small images on disk, and the `data` part of a configuration that names them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microgen_jax.config.schema import DataConfig


@pytest.fixture
def data_config() -> Callable[..., DataConfig]:
    """The defaults for images of a root, with some fields changed; not checked."""

    def build(root: Path | str, **fields) -> DataConfig:
        small = {"root": str(root), "size": (16, 16), "workers": 2, "representation": "image"}
        return DataConfig(**{**small, **fields})

    return build


@pytest.fixture
def save() -> Callable[..., np.ndarray]:
    """Writes a random image (or the one given), making its folder."""

    def write(path: Path, shape: tuple[int, ...] = (20, 24, 3), seed: int = 0, pixels=None) -> np.ndarray:
        if pixels is None:
            pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return write
