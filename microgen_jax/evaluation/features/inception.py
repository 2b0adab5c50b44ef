"""The Inception network of the standard FID: Inception-v3 of December 2015 as TensorFlow had it.

It is not the Inception of the paper (Szegedy et al. 2016): 1008 outputs, no auxiliary head, average pools that leave
the padding out, a max pool in the last block's pool branch (Heusel et al. 2017 and the code published with it).
Features are the means over the pixels after the two max pools of the stem, the last block of 768 channels, and the
last block of all.

Two preprocessings are in use, and their FIDs differ slightly: `pytorch` resizes by the pixels' middles and maps
levels by 2 x / 255 - 1; `tensorflow` resizes by the pixels' corners and maps by (x - 128) / 128, as the original
graph did.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from microgen_jax.evaluation.features import layers

SIZE = 299
EPS = 1e-3
PREPROCESSINGS = ("pytorch", "tensorflow")
POOLED, MID = "2048", "768"  # taps
_INSIDE = ((0, 0), (0, 0))


def parameters(state: dict[str, np.ndarray]) -> dict:
    """The parameters of `apply`, by the blocks' names, from a PyTorch state dict."""
    names = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    convs = {name: layers.folded(state, f"{name}.conv", f"{name}.bn", EPS) for name in names}
    return convs | {"fc": (np.ascontiguousarray(state["fc.weight"].T), state["fc.bias"])}


def prepare(images: Float[Array, "B H W 3"], preprocessing: str) -> Float[Array, "B h w 3"]:
    """Levels 0 to 255 as the network wants them."""
    x = layers.bilinear(images, (SIZE, SIZE), half_pixel=preprocessing == "pytorch")
    return x / 127.5 - 1 if preprocessing == "pytorch" else (x - 128) / 128


def apply(params: dict, x: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B _"]]:
    """The taps 64, 192, 768 and 2048, and the logits without bias, as the Inception Score takes them."""

    def run(x: Array, *names: str, stride: int = 1, inside: bool = False) -> Array:
        """Convolutions one after the other; only the last one has the stride."""
        for n, name in enumerate(names):
            layer = params[name]
            around = _INSIDE if inside else tuple((k // 2, k // 2) for k in layer.kernel.shape[:2])
            x = jax.nn.relu(layers.conv(x, layer, stride if n == len(names) - 1 else 1, around))
        return x

    taps = {}
    x = run(x, "Conv2d_1a_3x3", stride=2, inside=True)
    x = run(x, "Conv2d_2a_3x3", inside=True)
    x = layers.max_pool(run(x, "Conv2d_2b_3x3"), 3, 2)
    taps["64"] = layers.pixel_mean(x)
    x = layers.max_pool(run(x, "Conv2d_3b_1x1", "Conv2d_4a_3x3", inside=True), 3, 2)
    taps["192"] = layers.pixel_mean(x)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _wide(x, name, ("branch5x5", 2), ("branch3x3dbl", 3), run)
    x = _shrinking(x, "Mixed_6a", "branch3x3", "branch3x3dbl_{}", 3, run)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _wide(x, name, ("branch7x7", 3), ("branch7x7dbl", 5), run)
    taps["768"] = layers.pixel_mean(x)
    x = _shrinking(x, "Mixed_7a", "branch3x3_{}", "branch7x7x3_{}", 4, run)
    x = _split(x, "Mixed_7b", layers.mean_of_neighbours(x), run)
    x = _split(x, "Mixed_7c", layers.max_pool(x, 3, 1, 1), run)
    taps["2048"] = layers.pixel_mean(x)
    return taps | {"logits": taps["2048"] @ params["fc"][0]}


def _wide(x: Array, block: str, middle: tuple[str, int], long: tuple[str, int], run) -> Array:
    """A 1×1 convolution, two chains and a mean, side by side."""
    chains = [run(x, *(f"{block}.{name}_{n + 1}" for n in range(count))) for name, count in (middle, long)]
    pooled = run(layers.mean_of_neighbours(x), f"{block}.branch_pool")
    return jnp.concatenate([run(x, f"{block}.branch1x1"), *chains, pooled], axis=-1)


def _shrinking(x: Array, block: str, short: str, long: str, count: int, run) -> Array:
    """Two chains whose last convolution has stride 2 and no padding, and a max pool."""
    names = [f"{block}.{short.format(n + 1)}" for n in range(2 if "{" in short else 1)]
    others = [f"{block}.{long.format(n + 1)}" for n in range(count)]
    chains = [run(run(x, *chain[:-1]), chain[-1], stride=2, inside=True) for chain in (names, others)]
    return jnp.concatenate([*chains, layers.max_pool(x, 3, 2)], axis=-1)


def _split(x: Array, block: str, pooled: Array, run) -> Array:
    """The last blocks: chains that end in a row and a column side by side."""
    short = run(x, f"{block}.branch3x3_1")
    long = run(x, f"{block}.branch3x3dbl_1", f"{block}.branch3x3dbl_2")
    parts = [run(short, f"{block}.branch3x3_2{side}") for side in "ab"]
    parts += [run(long, f"{block}.branch3x3dbl_3{side}") for side in "ab"]
    first, last = run(x, f"{block}.branch1x1"), run(pooled, f"{block}.branch_pool")
    return jnp.concatenate([first, *parts, last], axis=-1)
