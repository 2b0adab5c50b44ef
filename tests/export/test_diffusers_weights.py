"""Weights of older diffusers folders: names of the attention, and half precision."""

import numpy as np
from safetensors.numpy import save_file

from microgen_jax.export.diffusers import DiffusersFolder, read_weights


def test_old_attention_names_and_half_precision_are_read(tmp_path):
    (tmp_path / "unet").mkdir()
    place = "down_blocks.1.attentions.0"
    old = {
        "query": "to_q",
        "key": "to_k",
        "value": "to_v",
        "proj_attn": "to_out.0",
        "group_norm": "group_norm",
    }
    arrays = {f"{place}.{name}.weight": np.full(2, n, np.float16) for n, name in enumerate(old)}
    save_file(arrays, tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors")
    found = read_weights(DiffusersFolder(tmp_path / "unet", {}, {}, {}, (), is_ours=False))
    assert list(found) != list(arrays)
    for n, name in enumerate(old.values()):
        np.testing.assert_array_equal(found[f"{place}.{name}.weight"], np.full(2, n, np.float32))
