"""`main.py` as a person runs it: in a process of its own, on one device, with a tiny model."""

import fcntl
import json
import os
import shutil
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
ONE_LEVEL = {
    "config__model__channels": "(8,)",
    "config__model__attention_levels": "()",
    "config__model__remat": "()",
}
ENVIRONMENT = {
    **os.environ,
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(
        Path(os.environ.get("MICROGEN_CACHE", Path.home() / ".cache" / "microgen_jax")) / "xla-tests"
    ),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "PYTHONUNBUFFERED": "1",
}


def command(**flags: str) -> list[str]:
    """The command line; `config.train.steps` is written `config__train__steps`."""
    return [sys.executable, "main.py", *(f"--{k.replace('__', '.')}={v}" for k, v in flags.items())]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """`server(argv, ...)`: the finished command, run in a fork of a process that has imported everything."""
    folder = tmp_path_factory.mktemp("server")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.command_server"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def finished(argv: list[str], devices: int, signals: dict) -> subprocess.CompletedProcess:
        out, err = folder / "stdout", folder / "stderr"
        request = {
            "argv": argv,
            "stdout": str(out),
            "stderr": str(err),
            "devices": devices,
            "signals": signals,
        }
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(argv, status, out.read_text(), err.read_text())

    yield finished
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="session")
def run(server):
    """`run(workdir=..., config__train__steps=8)`: the finished process, on top of TINY; None leaves a flag out.

    `signals={"step 5/": SIGKILL}` sends a signal once that is printed.
    """

    def finished(
        *extra: str, devices: int = 1, environment=(), signals=(), **flags
    ) -> subprocess.CompletedProcess:
        merged = {**TINY, **{k.replace("__", "."): v for k, v in flags.items()}}
        line = command(**{k: str(v) for k, v in merged.items() if v is not None}) + list(extra)
        if not environment:
            return server(line[1:], devices, dict(signals))
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
def trained(run, tmp_path_factory, worker_id) -> Path:
    """A run of four steps on four classes, for reading only: trained once, and each worker has a copy."""
    base = tmp_path_factory.getbasetemp()
    common = (base if worker_id == "master" else base.parent) / "common"
    common.mkdir(exist_ok=True)
    with (common / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (common / "done").exists():
            result = run(
                workdir=common / "trained",
                config__train__eval_every=2,
                config__train__eval_samples=4,
                config__train__sample_every=2,
            )
            assert result.returncode == 0, result.stderr
            (common / "done").touch()
    return Path(shutil.copytree(common / "trained", tmp_path_factory.mktemp("trained") / "run"))
