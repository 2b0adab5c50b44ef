"""Self-attention over the pixels of an image (Vaswani et al. 2017; Ho et al. 2020, appendix B).

    out = x + W_o · softmax(Q Kᵀ / √head_dim) V

with Q, K and V dense layers of GroupNorm(x). The softmax of one query needs no other query, so many pixels are taken in
blocks of queries, whose weights are computed again on the way back: N pixels then need 1024 N numbers, not N².
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from microgen_jax.networks.layers import GroupNorm, Pointwise, zeros

QUERIES = 1024  # in a block


class Attention(nn.Module):
    """Multi-head self-attention with its residual.

    Attributes:
      head_dim: channels per head; divides the channels that come in.
      norm_groups: groups of the GroupNorm before it.
    """

    head_dim: int
    norm_groups: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Return the image with the attention's output added.

        Args:
          x: images or feature maps.
        """
        batch, height, width, channels = x.shape
        h = GroupNorm(self.norm_groups, name="group_norm")(x)
        q, k, v = (
            Pointwise(channels, name=name)(h).reshape(batch, height * width, -1, self.head_dim)
            for name in ("to_q", "to_k", "to_v")
        )
        out = dot_product_attention(q, k, v).reshape(x.shape)
        return x + Pointwise(channels, kernel_init=zeros, name="to_out_0")(out)


def dot_product_attention(
    q: Float[Array, "B N heads dim"], k: Float[Array, "B N heads dim"], v: Float[Array, "B N heads dim"]
) -> Float[Array, "B N heads dim"]:
    """Return attention with its softmax in float32; cuDNN's fused kernel on a GPU where it applies.

    Args:
      q: queries.
      k: keys.
      v: values.
    """
    if jax.default_backend() == "gpu" and _fits_cudnn(q):
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    if q.shape[1] > 2 * QUERIES:
        return in_blocks(q, k, v, QUERIES)
    return _at_once(q, k, v)


def in_blocks(
    q: Float[Array, "B N heads dim"],
    k: Float[Array, "B N heads dim"],
    v: Float[Array, "B N heads dim"],
    queries: int,
) -> Float[Array, "B N heads dim"]:
    """Return the same attention, computed for a number of queries at a time.

    Args:
      q: queries.
      k: keys.
      v: values.
      queries: number of queries in a block.
    """
    batch, pixels, heads, dim = q.shape
    padded = jnp.pad(q, ((0, 0), (0, -pixels % queries), (0, 0), (0, 0)))
    blocks = padded.reshape(batch, -1, queries, heads, dim).swapaxes(0, 1)
    out = jax.lax.map(jax.checkpoint(lambda block: _at_once(block, k, v)), blocks)
    return out.swapaxes(0, 1).reshape(padded.shape)[:, :pixels]


def _at_once(
    q: Float[Array, "B queries heads dim"], k: Float[Array, "B N heads dim"], v: Float[Array, "B N heads dim"]
) -> Float[Array, "B queries heads dim"]:
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(logits * q.shape[-1] ** -0.5, axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


def _fits_cudnn(q: Array) -> bool:
    """Return whether cuDNN takes it: bfloat16, heads of a multiple of 8 up to 128, and an even number of pixels."""
    pixels, dim = q.shape[1], q.shape[3]
    return q.dtype == jnp.bfloat16 and dim % 8 == 0 and dim <= 128 and pixels % 2 == 0
