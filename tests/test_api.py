"""What `microgen_jax` exports, and the script of docs/api.md."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import microgen_jax
from tests.command_line import ENVIRONMENT, ROOT
from tests.commands.stored import same_bits, state
from tests.config.error_lines import write_scan

FIRST_ARGUMENT = {
    "compare": "real",
    "inspect": "path",
    "load": "workdir",
    "read_map": "path",
    "train": "config",
    "training_status": "workdir",
}


@pytest.mark.parametrize("name", microgen_jax.__all__)
def test_every_public_name_is_there(name):
    found = getattr(microgen_jax, name)
    assert found.__doc__
    if name in FIRST_ARGUMENT:
        assert next(iter(inspect.signature(found).parameters)) == FIRST_ARGUMENT[name]


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(microgen_jax, "no_such_name")
    assert set(microgen_jax.__all__) == set(microgen_jax._LOCATIONS) == set(dir(microgen_jax))


def test_the_script_of_the_docs_is_short_and_compiles():
    script = _script()
    assert len([line for line in script.splitlines() if line.strip()]) <= 25
    compile(script, "docs/api.md", "exec")


@pytest.mark.slow
def test_train_equals_the_command_bit_for_bit(trained, tmp_path):
    """On one device each: a program for one of eight devices may round otherwise."""
    code = (
        "import sys; from pathlib import Path; import microgen_jax; from microgen_jax.config import run_config; "
        "microgen_jax.train(run_config.read(Path(sys.argv[1])).config, sys.argv[2])"
    )
    line = [sys.executable, "-c", code, str(trained), str(tmp_path)]
    subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, check=True, timeout=300)
    assert losses(tmp_path) == losses(trained)
    assert same_bits(state(tmp_path, 4), state(trained, 4))
    one, other = (microgen_jax.load(folder).sample(2, seed=1).images for folder in (tmp_path, trained))
    np.testing.assert_array_equal(one, other)


def losses(workdir: Path) -> list[float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_the_script_of_the_docs_runs(run, tmp_path, monkeypatch):
    trained = run(workdir=tmp_path / "run", config__data__conditions="('grain_diameter',)")
    assert trained.returncode == 0, trained.stderr
    write_scan(tmp_path / "scan.ang", 96)
    monkeypatch.chdir(tmp_path)
    exec(compile(_script(), "docs/api.md", "exec"), {})
    for sampler in ("ddim", "dpmpp2m"):
        assert os.path.isfile(f"samples_{sampler}/manifest.json")


def _script() -> str:
    text = (Path(__file__).resolve().parents[1] / "docs" / "api.md").read_text()
    return text.split("## A script")[1].split("```python\n")[1].split("```")[0]
