"""The sampler as one compiled-anywhere function: a `jax.export` artifact of a symbolic batch.

    images = call(weights, seed, index, label, condition)

weights: the averaged parameters by name; seed: uint32; index: int32 [B], the number of each image of that seed;
label: int32 [B], the number of classes standing for "no class"; condition: float32 [B, K] in the data's own units,
NaN where not given. What comes back is uint8 [B, H, W, C], the images of `--mode=sample`.
"""

from pathlib import Path

import jax
import jax.export  # a module of its own, which `import jax` leaves out
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from microgen_jax import files
from microgen_jax.export.model_card import STABLEHLO, model_card
from microgen_jax.export.trained_model import FACTS, TrainedModel, save_arrays
from microgen_jax.types import Condition

PLATFORMS = ("cpu", "cuda", "tpu")

LOADER = '''\
"""Samples four images beside this file."""
import json
from pathlib import Path

import jax.export
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

folder = Path(__file__).parent
facts = json.loads((folder / "microgen.json").read_text())
sample = jax.export.deserialize((folder / "sampler.stablehlo").read_bytes()).call
weights = load_file(folder / "weights.safetensors")
index = np.arange(4, dtype=np.int32)  # image i of a seed is always the same
label = index % max(len(facts["classes"]), 1)
condition = np.full((len(index), len(facts["conditions"])), np.nan, np.float32)  # NaN: not given
images = np.asarray(sample(weights, np.uint32(0), index, label, condition))
np.save(folder / "images.npy", images)
for i, image in enumerate(images):
    Image.fromarray(image[..., :3].squeeze()).save(folder / f"{i}.png")
'''


def by_name(params: dict) -> dict[str, ArrayLike]:
    """Return the parameters under one name each, such as `down_blocks_0/resnets_0/conv1/kernel`.

    Args:
      params: tree of parameters.
    """
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {"/".join(part.key for part in path): value for path, value in flat}


def write_folder(folder: Path, model: TrainedModel) -> None:
    """Write the sampler, its weights, its loader, microgen.json and the model card.

    Args:
      folder: empty folder.
      model: model to write.
    """
    (folder / "sampler.stablehlo").write_bytes(serialise(model))
    save_arrays(folder / "weights.safetensors", by_name(jax.device_get(model.params)))
    files.write_json(folder / FACTS, model.facts())
    (folder / "sample.py").write_text(LOADER)
    (folder / "README.md").write_text(model_card(model, "jax", STABLEHLO.format(loader=LOADER)))


def serialise(model: TrainedModel) -> bytes:
    """Return the sampler as a serialised artifact, without its weights.

    Args:
      model: model with the sampler's settings.
    """
    resolved, method = model.resolved, model.method
    mean, std = (np.asarray(values, np.float32)[None] for values in (resolved.mean, resolved.std))
    structure = jax.tree.structure(model.params)

    def call(weights: dict, seed: Array, index: Array, label: Array, condition: Array) -> Array:
        params = jax.tree.unflatten(structure, [weights[name] for name in names])
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), index)
        images = method.generate(params, keys, Condition(label, (condition - mean) / std))
        return jnp.clip(jnp.rint((images + 1.0) * 127.5), 0, 255).astype(jnp.uint8)

    weights = by_name(model.params)
    names = list(weights)
    (batch,) = jax.export.symbolic_shape("batch")
    rows = jax.ShapeDtypeStruct((batch,), jnp.int32)
    arguments = (
        {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()},
        jax.ShapeDtypeStruct((), jnp.uint32),
        rows,
        rows,
        jax.ShapeDtypeStruct((batch, len(resolved.conditions)), jnp.float32),
    )
    return bytes(jax.export.export(jax.jit(call), platforms=PLATFORMS)(*arguments).serialize())
