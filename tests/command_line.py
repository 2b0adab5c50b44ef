"""`main.py` as a person runs it: in a process of its own, on one device, with a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "config": "configs/quickstart.py",
    "config.data.size": "(16,16)",
    "config.data.count": "64",
    "config.model.channels": "(8,16)",
    "config.model.head_dim": "8",
    "config.model.norm_groups": "4",
    "config.train.steps": "4",
    "config.train.batch_size": "8",
    "config.train.log_every": "1",
    "config.train.sample_every": "0",
    "config.train.eval_every": "0",
    "config.train.eval_samples": "0",
    "config.train.checkpoint_every": "2",
    "config.sample.steps": "3",
    "config.sample.batch_size": "4",
}
ENVIRONMENT = {
    **os.environ,
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(
        Path(os.environ.get("MICROGEN_CACHE", Path.home() / ".cache" / "microgen_jax")) / "xla-tests"
    ),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    "PYTHONUNBUFFERED": "1",
}


def command(**flags: str) -> list[str]:
    """The command line; `config.train.steps` is written `config__train__steps`."""
    return [sys.executable, "main.py", *(f"--{k.replace('__', '.')}={v}" for k, v in flags.items())]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """`server(argv)`: the finished command, run in a fork of a process that has imported everything."""
    folder = tmp_path_factory.mktemp("server")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.command_server"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def finished(argv: list[str]) -> subprocess.CompletedProcess:
        out, err = folder / "stdout", folder / "stderr"
        process.stdin.write(json.dumps({"argv": argv, "stdout": str(out), "stderr": str(err)}) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(argv, status, out.read_text(), err.read_text())

    yield finished
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="session")
def run(server):
    """`run(workdir=..., config__train__steps=8)`: the finished process, on top of TINY; None leaves a flag out."""

    def finished(*extra: str, devices: int = 1, environment=(), **flags) -> subprocess.CompletedProcess:
        merged = {**TINY, **{k.replace("__", "."): v for k, v in flags.items()}}
        line = command(**{k: str(v) for k, v in merged.items() if v is not None}) + list(extra)
        if devices == 1 and not environment:
            return server(line[1:])
        environment = {**ENVIRONMENT, "JAX_NUM_CPU_DEVICES": str(devices), **dict(environment)}
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    return finished


@pytest.fixture(scope="session")
def start():
    """Like `run`, but gives the running process, its output readable line by line."""

    def started(devices: int = 1, environment=(), **flags) -> subprocess.Popen:
        merged = {**TINY, **{k.replace("__", "."): v for k, v in flags.items()}}
        line = command(**{k: str(v) for k, v in merged.items() if v is not None})
        environment = {**ENVIRONMENT, "JAX_NUM_CPU_DEVICES": str(devices), **dict(environment)}
        return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    return started


@pytest.fixture(scope="session")
def trained(run, tmp_path_factory) -> Path:
    """A run of four steps on four classes; for reading only."""
    workdir = tmp_path_factory.mktemp("trained")
    result = run(
        workdir=workdir,
        config__train__eval_every=2,
        config__train__eval_samples=4,
        config__train__sample_every=2,
    )
    assert result.returncode == 0, result.stderr
    return workdir
