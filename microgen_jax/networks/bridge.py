"""Conversion of weights to diffusers' `UNet2DModel` and back: plain dicts of numpy arrays, no PyTorch.

    down_blocks_0/resnets_1/conv1/kernel [3, 3, C, K] <-> down_blocks.0.resnets.1.conv1.weight [K, C, 3, 3]

A dense kernel is [C, K] here and [K, C] there; the 1×1 shortcut of a block is a dense layer here and a
convolution [K, C, 1, 1] there; `scale` and `embedding` are called `weight` there. The conditions' MLP, which
diffusers lacks, takes part under its own names, `condition_embedding.linear_1.weight` and so on.
"""

import re

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

_NUMBERED = re.compile(r"(blocks|resnets|attentions|samplers|to_out)_(\d+)_?")
_NUMBER = re.compile(r"\.(\d+)")


def to_diffusers(params: dict) -> dict[str, np.ndarray]:
    """Return the parameters of `UNet` as a state dict of diffusers' `UNet2DModel`.

    Args:
      params: parameters of `UNet`.
    """
    state = {}
    for path, value in flatten_dict(params).items():
        name, array = ".".join(path[:-1]), np.asarray(value)
        state[f"{_dotted(name)}.{'bias' if path[-1] == 'bias' else 'weight'}"] = _to_torch(path, array)
    return state


def from_diffusers(state: dict[str, np.ndarray]) -> dict:
    """Return the parameters of `UNet` from a state dict of diffusers' `UNet2DModel`.

    What the dict holds is taken as it is: compare the result's shapes with those of `UNet.init`.

    Args:
      state: arrays by diffusers' names.
    """
    flat = {}
    for name, array in state.items():
        *modules, kind = _underlined(name).split(".")
        path = (*modules, "bias" if kind == "bias" else _weight_name(modules[-1]))
        flat[path] = _from_torch(path, np.asarray(array))
    return unflatten_dict(flat)


def _dotted(name: str) -> str:
    """Turn down_blocks_0.downsamplers_0_conv into down_blocks.0.downsamplers.0.conv."""
    return _NUMBERED.sub(r"\1.\2.", name).replace("..", ".").rstrip(".")


def _underlined(name: str) -> str:
    """Turn down_blocks.0.downsamplers.0.conv.weight into down_blocks_0.downsamplers_0_conv.weight."""
    return _NUMBER.sub(r"_\1", name).replace("samplers_0.conv", "samplers_0_conv")


def _weight_name(module: str) -> str:
    if module.startswith("norm") or module.endswith("norm") or module == "conv_norm_out":
        return "scale"
    return "embedding" if module == "class_embedding" else "kernel"


def _to_torch(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T[:, :, None, None] if path[-2] == "conv_shortcut" else array.T


def _from_torch(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    if path[-2] == "conv_shortcut":
        return array[:, :, 0, 0].T
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
