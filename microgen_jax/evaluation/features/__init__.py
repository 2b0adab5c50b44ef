"""Features of images by pretrained networks, and distances between sets of them."""

from microgen_jax.evaluation.features.extractors import Extractor, embed, open_extractor
from microgen_jax.evaluation.features.frechet import (
    frechet_between,
    frechet_distance,
    kernel_distance,
    moments,
)
from microgen_jax.evaluation.features.perceptual import lpips, open_lpips, psnr, ssim

__all__ = [
    "Extractor",
    "embed",
    "frechet_between",
    "frechet_distance",
    "kernel_distance",
    "lpips",
    "moments",
    "open_extractor",
    "open_lpips",
    "psnr",
    "ssim",
]
