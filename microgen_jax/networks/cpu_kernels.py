"""Forms of convolutions and of their gradients that are faster on a CPU than XLA's own, and when they are taken.

The layers ask `on_cpu`, `on_single_cpu` and `products_win`; everywhere else XLA's convolutions run. Measurements:
docs/performance.md, docs/wgan.md.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Padding = tuple[tuple[int, int], tuple[int, int]]  # top and bottom, left and right


def on_cpu() -> bool:
    """Return whether the program runs on CPU devices."""
    return jax.default_backend() == "cpu"


def on_single_cpu() -> bool:
    """Return whether there is one device, a CPU: a scan over images then gathers none from other devices."""
    return on_cpu() and jax.device_count() == 1


def products_win(kernel: tuple[int, ...]) -> bool:
    """Return whether `kernel_gradient_by_products` was measured to be the faster form (docs/performance.md).

    Args:
      kernel: shape of the kernel, (n, m, C, K).
    """
    return on_single_cpu() and min(kernel[2:]) >= 16


def kernel_gradient_by_products(x: Array, dy: Array, size: tuple[int, int], padding: Padding) -> Array:
    """Return the gradient of a kernel, [n, m, C, K], as matrix products over about a thousand pixels each.

    The m column shifts of x side by side (mC wide) times the n row shifts of dy side by side (nK wide) hold the
    products of all shifts; they are summed in float32, over several images at a time or over strips of one.

    Args:
      x: input of the convolution [B, H, W, C].
      dy: gradient of its output [B, h, w, K].
      size: height and width of the kernel, (n, m).
      padding: zero padding of the convolution.
    """
    rows, columns = size
    batch, height, width, channels = x.shape
    out_width, features = dy.shape[2:]
    images, strip = _chunk(batch, height, out_width)
    strips = height // strip
    dy = jnp.pad(dy, ((0, 0), tuple(rows - 1 - n for n in padding[0]), (0, 0), (0, 0)))

    def add(total: Array, i: Array) -> tuple[Array, None]:
        corner = (i // strips * images, i % strips * strip, 0, 0)
        shifts = jax.lax.dynamic_slice(x, corner, (images, strip, width, channels))
        shifts = jnp.pad(shifts, ((0, 0), (0, 0), padding[1], (0, 0)))
        shifts = jnp.concatenate([shifts[:, :, j : j + out_width] for j in range(columns)], axis=-1)
        out = jax.lax.dynamic_slice(dy, corner, (images, strip + rows - 1, out_width, features))
        out = jnp.concatenate([out[:, j : j + strip] for j in reversed(range(rows))], axis=-1)
        return total + jnp.einsum("bhwk,bhwc->kc", out, shifts, preferred_element_type=jnp.float32), None

    total = jnp.zeros((rows * features, columns * channels), jnp.float32)
    total, _ = jax.lax.scan(add, total, jnp.arange(batch // images * strips))
    gradient = total.reshape(rows, features, columns, channels).transpose(0, 2, 3, 1)
    return gradient.astype(x.dtype)


def _chunk(batch: int, height: int, width: int) -> tuple[int, int]:
    """Return how many images, and rows of each, divide the batch and hold nearest to 1024 pixels (for the cache)."""
    images = [(n, height) for n in range(1, batch + 1) if batch % n == 0]
    strips = [(1, n) for n in range(1, height) if height % n == 0]
    return min(images + strips, key=lambda chunk: abs(math.log2(math.prod(chunk) * width / 1024)))


def conv_of_upsampled(x: Array, kernel: Array, conv: Callable[[Array, Array, Padding], Array]) -> Array:
    """Return the convolution of the doubled image, [B, 2H, 2W, K], with 4/9 of the products.

    Three rows of a doubled image are two of the image, and so for columns: each of the four places in a 2×2
    square has a 2×2 kernel of its own, made of sums.

    Args:
      x: the image before it is doubled [B, H, W, C].
      kernel: [3, 3, C, K].
      conv: the convolution of an image and a kernel with a padding.
    """
    batch, height, width, _ = x.shape
    sums = np.array(
        [[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype
    )  # place, tap, row of the kernel
    kernels = jnp.einsum("ami,bnj,ijck->abmnck", sums, sums, kernel)
    places = [[conv(x, kernels[a, b], ((1 - a, a), (1 - b, b))) for b in range(2)] for a in range(2)]
    y = jnp.stack([jnp.stack(row, axis=3) for row in places], axis=2)
    return y.reshape(batch, 2 * height, 2 * width, -1)


def halve_by_product(x: Array, kernel: Array) -> Array:
    """Return the 4×4 convolution of stride 2 with zero padding 1, [B, H/2, W/2, K], as one matrix product.

    Squares of 2×2 pixels become 4C channels, four neighbouring squares one row of the product.

    Args:
      x: [B, H, W, C].
      kernel: [4, 4, C, K].
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, height // 2 + 1, width // 2 + 1, 4 * channels)
    x = jnp.concatenate([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], axis=-1)
    kernel = kernel.reshape(2, 2, 2, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return jnp.einsum("bhwc,ck->bhwk", x, kernel.reshape(16 * channels, -1))
