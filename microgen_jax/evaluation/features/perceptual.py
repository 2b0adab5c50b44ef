"""Similarity of two images of the same object; not for images that are unrelated.

(1) PSNR = 10 log10(255^2 / mean squared difference), in decibels.
(2) SSIM, mean over the pixels of (2 m1 m2 + c1)(2 c12 + c2) / ((m1^2 + m2^2 + c1)(v1 + v2 + c2)) with moments under a
    Gaussian of 1.5 px, 11 px wide, c1 = (0.01 255)^2, c2 = (0.03 255)^2 (Wang et al. 2004, eq. 13); the rim of 5 px,
    where the window leaves the image, is left out; channels are averaged.
(3) LPIPS, sum over five layers of the mean over the pixels of sum_c w_c (a_c - b_c)^2, a and b the features of unit
    length of a trunk trained on ImageNet (Zhang et al. 2018, eq. 1; version 0.1 of the published weights).
"""

from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from scipy import ndimage

from microgen_jax.errors import UserError
from microgen_jax.evaluation.features import layers, trunks, weights

BATCH = 32
RIM = 5  # px, half the window of eq. 2
_SIGMA, _C1, _C2 = 1.5, (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Lpips(NamedTuple):
    """LPIPS network: a trunk and its heads.

    Attributes:
      name: trunk, 'alex' or 'vgg'.
      convs: convolutions of the trunk.
      heads: weights w of eq. 3, float32 [C] for each of the five layers.
    """

    name: str
    convs: list[layers.ConvWeights]
    heads: list[Array]


def psnr(a: UInt8[np.ndarray, "N H W C"], b: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N"]:
    """Return the PSNR of each pair, eq. 1, in decibels; infinite where both are equal.

    Args:
      a: images.
      b: images that they are compared with, in the same order.
    """
    error = np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)


def ssim(a: UInt8[np.ndarray, "N H W C"], b: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N"]:
    """Return the SSIM of each pair, eq. 2.

    Args:
      a: images.
      b: images that they are compared with, in the same order.

    Raises:
      UserError: images of less than 11 px a side.
    """
    if min(a.shape[1:3]) <= 2 * RIM:
        raise UserError("a", f"images of {a.shape[1]}x{a.shape[2]} px", "SSIM needs 11 px a side or more")
    x, y = a.astype(np.float64), b.astype(np.float64)
    smooth = partial(ndimage.gaussian_filter, sigma=(0, _SIGMA, _SIGMA, 0), radius=(0, RIM, RIM, 0))
    mx, my = smooth(x), smooth(y)
    vx, vy, covariance = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    luminance = (2 * mx * my + _C1) / (mx * mx + my * my + _C1)
    structure = (2 * covariance + _C2) / (vx + vy + _C2)
    return (luminance * structure)[:, RIM:-RIM, RIM:-RIM].mean(axis=(1, 2, 3))


def open_lpips(name: str = "alex") -> Lpips:
    """Return LPIPS with its weights on the default device; they are read once a process.

    Args:
      name: trunk, 'alex' or 'vgg'.

    Raises:
      UserError: the package with the weights is not installed, or they are not the known ones.
    """
    file, trunk = {"alex": (weights.ALEXNET, "AlexNet_0"), "vgg": (weights.VGG16, "VGG16_0")}[name]
    return _read_lpips(name, weights.require(file), trunk)


@cache
def _read_lpips(name: str, path: Path, trunk: str) -> Lpips:
    tree = weights.read_arrays(path)
    heads = [tree[f"NetLinLayer_{n}"]["Conv_0"]["kernel"].reshape(-1) for n in range(5)]
    return Lpips(name, *jax.device_put((trunks.parameters(tree[trunk]), heads)))


def lpips(
    network: Lpips, a: UInt8[np.ndarray, "N H W C"], b: UInt8[np.ndarray, "N H W C"]
) -> Float[np.ndarray, "N"]:
    """Return the LPIPS distance of each pair, eq. 3, float32; one channel is repeated into three.

    Args:
      network: opened LPIPS network.
      a: images.
      b: images that they are compared with, in the same order.
    """
    params, found = (network.convs, network.heads), []
    for start in range(0, len(a), BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), len(a) - 1)
        found.append(np.asarray(_lpips(network.name, params, a[rows], b[rows]))[: len(a) - start])
    return np.concatenate(found)


def diversity(
    network: Lpips, images: UInt8[np.ndarray, "N H W C"], pairs: int, rng: np.random.Generator
) -> Float[np.ndarray, "pairs"]:
    """Return the LPIPS distance, eq. 3, between random pairs of different images of one set.

    Args:
      network: opened LPIPS network.
      images: the set.
      pairs: number of pairs.
      rng: generator of the pairs.
    """
    first = rng.integers(len(images), size=pairs)
    second = (first + rng.integers(1, len(images), size=pairs)) % len(images)
    return lpips(network, images[first], images[second])


@partial(jax.jit, static_argnums=0)
def _lpips(name: str, params: tuple, a: Array, b: Array) -> Array:
    convs, heads = params
    both = jnp.concatenate([a, b])
    both = jnp.broadcast_to(both, (*both.shape[:3], 3)).astype(jnp.float32)
    total = jnp.zeros(len(a))
    for tap, head in zip(trunks.apply(name, convs, trunks.prepare(both)), heads):
        unit = tap / (jnp.sqrt(jnp.sum(tap**2, axis=-1, keepdims=True)) + 1e-10)
        squares = (unit[: len(a)] - unit[len(a) :]) ** 2
        total += jnp.einsum("bhwc,c->b", squares, head) / (tap.shape[1] * tap.shape[2])
    return total
