"""Features of images by known networks, all behind one interface: levels in, vectors out.

  efficientnet-lite0  in the extra `eval`; its Frechet distance is printed as FD-EffLite0
  vgg16               in the extra `eval`
  inception-fid       from a file that the user gives; only its distances may be called FID and KID, its score IS

Grey images are repeated into three channels. Networks run under `jit` on the default device, in batches of one shape.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from microgen_jax.errors import UserError
from microgen_jax.evaluation.features import efficientnet, inception, trunks, weights

BATCH = 32
EXTRACTORS = ("efficientnet-lite0", "inception-fid", "vgg16")


class Extractor(NamedTuple):
    """A network that makes vectors of images.

    Attributes:
      name: one of EXTRACTORS.
      params: of the network.
      apply: `(params, levels float32 [B, H, W, 3]) -> taps`, each float32 [B, D]; `logits` are of classes.
      pooled: the tap that distances are taken of.
      mid: the mid-level tap.
      scored: whether there are logits.
      about: provenance, for the settings.
    """

    name: str
    params: dict
    apply: Callable[[dict, Array], dict[str, Array]]
    pooled: str
    mid: str
    scored: bool
    about: dict[str, str]

    @property
    def taps(self) -> tuple[str, ...]:
        return (self.pooled, self.mid, *(("logits",) if self.scored else ()))


def open_extractor(name: str, *, inception_weights: str = "", preprocessing: str = "pytorch") -> Extractor:
    """Reads a network's weights.

    Args:
      name: one of EXTRACTORS.
      inception_weights: the file `pt_inception-2015-12-05-6726825d.pth`.
      preprocessing: of inception-fid, one of `inception.PREPROCESSINGS`.

    Raises:
      UserError: weights that are missing or others than the known ones.
    """
    if name == "efficientnet-lite0":
        file = weights.EFFICIENTNET_LITE0
        return efficientnet_lite0(weights.read_torch(weights.require(file)), {"sha256": file.sha256})
    if name == "vgg16":
        file = weights.VGG16
        tree = weights.read_arrays(weights.require(file))
        return vgg16(tree["VGG16_0"], {"sha256": file.sha256})
    if not inception_weights:
        raise UserError(
            "FID and IS need the Inception weights of 2015: give the file pt_inception-2015-12-05-6726825d.pth "
            "with --config.evaluate.inception_weights=FILE"
        )
    path = Path(inception_weights).expanduser()
    weights.check(path, weights.INCEPTION_SHA256)
    about = {"sha256": weights.INCEPTION_SHA256, "preprocessing": preprocessing}
    return inception_fid(weights.read_torch(path), preprocessing, about)


def efficientnet_lite0(state: dict, about: dict[str, str]) -> Extractor:
    """EfficientNet-Lite0 with the weights of a PyTorch state dict."""

    def apply(params: dict, levels: Array) -> dict[str, Array]:
        return efficientnet.apply(params, efficientnet.prepare(levels))

    params = efficientnet.parameters(state)
    return Extractor("efficientnet-lite0", params, apply, efficientnet.POOLED, efficientnet.MID, True, about)


def inception_fid(state: dict, preprocessing: str, about: dict[str, str]) -> Extractor:
    """The Inception of the FID with the weights of a PyTorch state dict."""

    def apply(params: dict, levels: Array) -> dict[str, Array]:
        return inception.apply(params, inception.prepare(levels, preprocessing))

    params = inception.parameters(state)
    return Extractor("inception-fid", params, apply, inception.POOLED, inception.MID, True, about)


def vgg16(tree: dict, about: dict[str, str]) -> Extractor:
    """VGG16's convolutions: relu5_3 is the pooled tap, relu3_3 the mid-level one."""

    def apply(params: dict, levels: Array) -> dict[str, Array]:
        return trunks.means(trunks.apply("vgg", params["convs"], trunks.prepare(levels)))

    return Extractor("vgg16", {"convs": trunks.parameters(tree)}, apply, "relu5", "relu3", False, about)


def embed(
    extractor: Extractor,
    images: UInt8[np.ndarray, "N H W C"],
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Float[np.ndarray, "N _"]]:
    """The taps of all images, float32."""
    parts = list(batches(extractor, images, advance))
    return {tap: np.concatenate([part[tap] for part in parts]) for tap in extractor.taps}


def batches(
    extractor: Extractor,
    images: UInt8[np.ndarray, "N H W C"],
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[dict[str, Float[np.ndarray, "_ _"]]]:
    """The taps batch by batch, for moments over any number of images.

    Raises:
      ValueError: two channels, or more than three.
    """
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images of {images.shape[-1]} channels have no features: 1 or 3 are needed")
    run = jax.jit(partial(_run, extractor.apply, extractor.taps))
    params = jax.device_put(extractor.params)
    for start in range(0, len(images), BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), len(images) - 1)
        count = min(BATCH, len(images) - start)
        yield {tap: values[:count] for tap, values in jax.device_get(run(params, images[rows])).items()}
        advance(count)


def _run(apply: Callable, taps: tuple[str, ...], params: dict, images: Array) -> dict[str, Array]:
    colour = jnp.broadcast_to(images, (*images.shape[:3], 3)).astype(jnp.float32)
    found = apply(params, colour)
    return {tap: found[tap] for tap in taps}
