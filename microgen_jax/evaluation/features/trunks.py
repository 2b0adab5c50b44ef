"""AlexNet and VGG16 up to their last convolution, as LPIPS takes them (Zhang et al. 2018; Simonyan and Zisserman 2015).

Trained on ImageNet. Input is scaled as the published LPIPS does; taps are the outputs of the ReLU before each pool.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from microgen_jax.evaluation.features import layers

SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)  # of levels in [-1, 1]
SCALE = np.array([0.458, 0.448, 0.450], np.float32)
MIN_SIDE = 32  # px a side below which a pool would have nothing left
# side, stride, padding of each convolution, 0 a max pool; `True` marks a tap
ALEXNET = ((11, 4, 2, True), 0, (5, 1, 2, True), 0, (3, 1, 1, True), (3, 1, 1, True), (3, 1, 1, True))
_PLAIN, _TAP = (3, 1, 1, False), (3, 1, 1, True)
VGG16 = (
    *(_PLAIN, _TAP, 0),
    *(_PLAIN, _TAP, 0),
    *(_PLAIN, _PLAIN, _TAP, 0),
    *(_PLAIN, _PLAIN, _TAP, 0),
    *(_PLAIN, _PLAIN, _TAP),
)
PLANS = {"alex": (ALEXNET, 3), "vgg": (VGG16, 2)}  # convolutions and pools; side of a pool


def parameters(state: dict) -> list[layers.ConvWeights]:
    """Convolutions in order, from a tree {"Conv_0": {"kernel", "bias"}, ...}."""
    return [
        layers.ConvWeights(state[f"Conv_{n}"]["kernel"], state[f"Conv_{n}"]["bias"])
        for n in range(len(state))
    ]


def prepare(images: Float[Array, "B H W 3"]) -> Float[Array, "B h w 3"]:
    """Levels 0 to 255 as the trunks want them; images too small are enlarged a whole number of times."""
    size = layers.fits(images.shape[1:3], MIN_SIDE)
    x = images if size == images.shape[1:3] else layers.bilinear(images, size)
    return (x / 127.5 - 1 - SHIFT.reshape(1, 1, 1, 3)) / SCALE.reshape(1, 1, 1, 3)


def apply(
    name: str, params: list[layers.ConvWeights], x: Float[Array, "B H W 3"]
) -> list[Float[Array, "B h w _"]]:
    """The five taps of `alex` or `vgg`."""
    plan, side = PLANS[name]
    taps, convs = [], iter(params)
    for layer in plan:
        if layer == 0:
            x = layers.max_pool(x, side, 2)
            continue
        _, stride, padding, tapped = layer
        x = jax.nn.relu(layers.conv(x, next(convs), stride, ((padding, padding), (padding, padding))))
        if tapped:
            taps.append(x)
    return taps


def means(taps: list[Array]) -> dict[str, Float[Array, "B _"]]:
    """Means over the pixels of each tap."""
    return {f"relu{n + 1}": jnp.mean(tap, axis=(1, 2)) for n, tap in enumerate(taps)}
