"""An exported folder in PyTorch: the same weights and noise give the same image. Not part of the plain suite.

python -m pytest -m reference -s                     makes an environment with torch and diffusers, minutes
MICROGEN_REFERENCE_PYTHON=... python -m pytest -m reference -s      takes one that has them
MICROGEN_REFERENCE_RUN=runs/quickstart ...                          a trained run instead of a tiny one
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import microgen_jax
from microgen_jax.crystal.polycrystal import polycrystal
from microgen_jax.images import png
from microgen_jax.sampling import batching
from microgen_jax.types import Condition

PIPELINE = """
import sys
from diffusers import DDPMPipeline
images = DDPMPipeline.from_pretrained(sys.argv[1])(batch_size=2, num_inference_steps=3, output_type="np").images
print(images.shape, 0 <= images.min() < images.max() <= 1)
"""
SCRIPT = Path(__file__).parents[1] / "fixtures" / "diffusers_ddim.py"


@pytest.fixture(scope="module")
def torch_python(tmp_path_factory) -> str:
    if given := os.environ.get("MICROGEN_REFERENCE_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("reference") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    packages = ["torch==2.13.0", "diffusers", "safetensors", "numpy"]
    subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.reference
def test_diffusers_samples_the_same_images(run, trained, torch_python, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(os.environ.get("MICROGEN_REFERENCE_RUN", trained), workdir)
    assert run(mode="export", workdir=workdir, config=None).returncode == 0
    generator = microgen_jax.load(workdir, sampler="ddim", steps=50, guidance=1.0)
    label = np.arange(4, dtype=np.int32) % len(generator.classes)
    keys = batching.image_keys(jnp.uint32(0), jnp.arange(4))
    size = (*generator.config.data.size, generator.resolved.channels)
    first = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 0)
    noise = jax.vmap(lambda key: jax.random.normal(key, size))(first)
    ours = jax.jit(generator.method.generate)(
        generator.params, keys, Condition(label, np.zeros((4, 0), np.float32))
    )
    np.savez(tmp_path / "noise.npz", xt=noise, label=label)
    out = tmp_path / "theirs.npy"
    subprocess.run(
        [torch_python, SCRIPT, workdir / "export" / "diffusers", tmp_path / "noise.npz", out], check=True
    )
    difference = np.abs(np.load(out) - ours)
    print(f"\n50 DDIM steps, largest difference {difference.max():.1e}, mean {difference.mean():.1e}")
    assert difference.max() < 1e-3


@pytest.mark.reference
def test_a_model_of_one_class_is_a_pipeline_of_diffusers(run, torch_python, tmp_path):
    maps, workdir = tmp_path / "maps", tmp_path / "run"
    (maps / "all").mkdir(parents=True)
    for i in range(12):
        (maps / "all" / f"{i}.png").write_bytes(png(polycrystal(0, i, 16).image))
    for mode in ("train", "export"):
        result = run(mode=mode, workdir=workdir, config__data__root=maps)
        assert result.returncode == 0, result.stderr
    command = [torch_python, "-c", PIPELINE, str(workdir / "export" / "diffusers")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"\nDDPMPipeline: {printed.strip()}")
    assert printed.strip().endswith("(2, 16, 16, 3) True")
