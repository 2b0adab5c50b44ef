"""The wheel, outside of the checkout: the ready-made configs by name, a short training and samples."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import ENVIRONMENT, ROOT, TINY

PACKED = ("microgen_jax", "configs", "pyproject.toml", "README.md", "LICENSE")


def finished(*line, **options) -> subprocess.CompletedProcess:
    result = subprocess.run([str(part) for part in line], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr[-800:]
    return result


@pytest.fixture(scope="module")
def microgen(tmp_path_factory) -> Path:
    """The command of a wheel in an environment of its own, whose other packages are this one's."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PACKED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    finished(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    finished(python, "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=folder)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    return folder / "venv" / "bin" / "microgen"


@pytest.mark.slow
def test_the_installed_command_trains_and_samples_outside_of_the_checkout(microgen, tmp_path):
    environment = {
        name: value for name, value in {**os.environ, **ENVIRONMENT}.items() if name != "PYTHONPATH"
    }
    outside = {"cwd": tmp_path, "env": environment}
    python = microgen.with_name("python")
    found = finished(python, "-c", "import microgen_jax; print(microgen_jax.__file__)", **outside).stdout
    assert Path(found.strip()).is_relative_to(microgen.parents[1])
    tiny = [f"--{name}={value}" for name, value in TINY.items() if name != "config"]
    finished(microgen, "--config=quickstart", "--workdir=run", *tiny, **outside)
    finished(microgen, "--mode=sample", "--workdir=run", "--config.sample.num=2", **outside)
    with np.load(tmp_path / "run" / "samples" / "default" / "samples.npz") as samples:
        assert samples["images"].shape == (2, 16, 16, 3)
