"""Features of images by known networks behind one interface: levels in, feature vectors out.

  efficientnet-lite0  in the extra `eval`; its Frechet distance is printed as FD-EffLite0
  vgg16               in the extra `eval`
  inception-fid       from a file that the user gives; only its distances may be called FID and KID, its score IS

Grey images are repeated into three channels. Networks run under `jit` on the default device, in batches of one shape.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
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
    """A network that turns images into feature vectors.

    Attributes:
      name: name of the network, one of EXTRACTORS.
      params: parameters of the network.
      apply: function `(params, levels float32 [B, H, W, 3]) -> taps`, each float32 [B, D]; the tap `logits` holds
        the logits of the classes.
      pooled: name of the tap whose vectors are compared.
      mid: name of the mid-level tap.
      scored: whether there are logits.
      about: provenance of the weights.
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
        """Names of the taps that are computed."""
        return (self.pooled, self.mid, *(("logits",) if self.scored else ()))


def open_extractor(name: str, *, inception_weights: str = "", preprocessing: str = "pytorch") -> Extractor:
    """Return a network with its weights.

    Args:
      name: name of the network, one of EXTRACTORS.
      inception_weights: path of the file `pt_inception-2015-12-05-6726825d.pth`.
      preprocessing: how inception-fid resizes images, one of `inception.PREPROCESSINGS`.

    Raises:
      UserError: weights that are missing or not the known ones.
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
            "inception_weights",
            "is empty, and FID, KID and IS need the Inception weights of 2015",
            "name the file pt_inception-2015-12-05-6726825d.pth",
        )
    path = Path(inception_weights).expanduser()
    weights.check(path, weights.INCEPTION_SHA256)
    about = {"sha256": weights.INCEPTION_SHA256, "preprocessing": preprocessing}
    return inception_fid(weights.read_torch(path), preprocessing, about)


def efficientnet_lite0(state: dict, about: dict[str, str]) -> Extractor:
    """Return EfficientNet-Lite0 with the weights of a PyTorch state dict.

    Args:
      state: state dict.
      about: provenance of the weights.
    """
    params = efficientnet.parameters(state)
    return Extractor(
        "efficientnet-lite0", params, _efficientnet, efficientnet.POOLED, efficientnet.MID, True, about
    )


def inception_fid(state: dict, preprocessing: str, about: dict[str, str]) -> Extractor:
    """Return the Inception of the FID with the weights of a PyTorch state dict.

    Args:
      state: state dict.
      preprocessing: how images are resized, one of `inception.PREPROCESSINGS`.
      about: provenance of the weights.
    """
    params = inception.parameters(state)
    apply = _inception(preprocessing)
    return Extractor("inception-fid", params, apply, inception.POOLED, inception.MID, True, about)


def vgg16(tree: dict, about: dict[str, str]) -> Extractor:
    """Return VGG16's convolutions: relu5_3 is the pooled tap, relu3_3 the mid-level one.

    Args:
      tree: parameters by layer.
      about: provenance of the weights.
    """
    return Extractor("vgg16", {"convs": trunks.parameters(tree)}, _vgg16, "relu5", "relu3", False, about)


def embed(
    extractor: Extractor,
    images: UInt8[np.ndarray, "N H W C"],
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Float[np.ndarray, "N _"]]:
    """Return the taps of all images, float32.

    Args:
      extractor: the network.
      images: images of 1 or 3 channels.
      advance: function called with the number of images done since its last call.
    """
    parts = list(batches(extractor, images, advance))
    return {tap: np.concatenate([part[tap] for part in parts]) for tap in extractor.taps}


def batches(
    extractor: Extractor,
    images: UInt8[np.ndarray, "N H W C"],
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[dict[str, Float[np.ndarray, "_ _"]]]:
    """Yield the taps batch by batch, for moments over any number of images.

    Args:
      extractor: the network.
      images: images of 1 or 3 channels.
      advance: function called with the number of images done since its last call.

    Raises:
      UserError: two channels, or more than three.
    """
    if images.shape[-1] not in (1, 3):
        raise UserError("images", f"{images.shape[-1]} channels", "networks take 1 or 3 channels")
    params = jax.device_put(extractor.params)
    for start in range(0, len(images), BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), len(images) - 1)
        count = min(BATCH, len(images) - start)
        found = jax.device_get(_run(extractor.apply, extractor.taps, params, images[rows]))
        yield {tap: values[:count] for tap, values in found.items()}
        advance(count)


def _efficientnet(params: dict, levels: Array) -> dict[str, Array]:
    return efficientnet.apply(params, efficientnet.prepare(levels))


@cache  # one function, and so one compiled program, for each preprocessing
def _inception(preprocessing: str) -> Callable[[dict, Array], dict[str, Array]]:
    def apply(params: dict, levels: Array) -> dict[str, Array]:
        return inception.apply(params, inception.prepare(levels, preprocessing))

    return apply


def _vgg16(params: dict, levels: Array) -> dict[str, Array]:
    return trunks.means(trunks.apply("vgg", params["convs"], trunks.prepare(levels)))


@partial(jax.jit, static_argnums=(0, 1))
def _run(apply: Callable, taps: tuple[str, ...], params: dict, images: Array) -> dict[str, Array]:
    colour = jnp.broadcast_to(images, (*images.shape[:3], 3)).astype(jnp.float32)
    found = apply(params, colour)
    return {tap: found[tap] for tap in taps}
