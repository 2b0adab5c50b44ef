"""Runs in object stores, as they are killed and go on; and a workdir whose name is a pattern to others."""

import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.benchmarks.failing_requests import marked
from tests.command_line import ENVIRONMENT, ROOT
from tests.commands.stored import same_bits, state
from tests.runtime import stores

STEPS = {
    "config__train__steps": 12,
    "config__train__checkpoint_every": 1,
    "config__train__keep": 20,
    "config__model__dropout": 0.1,
}
LOADING = """
import sys
import microgen_jax
generator = microgen_jax.load(sys.argv[1], batch_size=4)
print("step", generator.step, "images", generator.sample(2).images.shape)
"""


def told(process: subprocess.Popen, start: str) -> str:
    """Return what a process prints up to a line that starts so."""
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(start):
            return "".join(said)
    raise AssertionError("".join(said))


def kill(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate(timeout=60)


def start_pair(start, url: str, environment: dict) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    flags = {"devices": 2, "coordinator": coordinator, "num_processes": 2, "config__mesh__fsdp": 2}
    return [start(workdir=url, process_id=i, environment=environment, **flags, **STEPS) for i in range(2)]


@pytest.fixture(params=["gs", "s3"])
def objects(request):
    with stores.serve(request.param) as objects:
        yield objects


@pytest.mark.slow
@pytest.mark.stores
def test_killed_and_gone_on_with_elsewhere_and_one_checkpoint_is_loaded(objects, start, run):
    """In gs:// two processes train and one goes on; in s3:// one does both."""
    url, environment = f"{objects.url}/run", objects.environment
    if url.startswith("gs"):
        processes = start_pair(start, url, environment)
    else:
        processes = [start(workdir=url, environment=environment, **STEPS)]
    told(processes[0], "step 5/")
    kill(*processes)
    newest = max(marked(objects, "run"))
    assert 3 <= newest < 12

    resumed = run(workdir=url, environment=environment, **STEPS)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming from step {newest}" in resumed.stdout
    assert f"note: {url} was last written by process" in resumed.stdout
    assert f"done: {url}/checkpoints/12" in resumed.stdout
    lines = objects.get("run/metrics.jsonl").decode().splitlines()
    assert len([line for line in lines if '"loss"' in line]) == 12

    objects.read.clear()
    line = [sys.executable, "-c", LOADING, url]
    loaded = subprocess.run(
        line, cwd=ROOT, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=300
    )
    assert "step 12 images (2, 16, 16, 3)" in loaded.stdout, loaded.stderr
    place = "run/checkpoints/12/"
    read = dict(objects.read)
    whole = sum(len(objects.get(name)) for name in objects.names() if name.startswith(place))
    assert not any("/d/" in name for name in read if not name.startswith(place))
    part = 0.6 if url.startswith("gs") else 1.1  # of s3:// the whole checkpoint comes
    assert 0 < sum(n for name, n in read.items() if name.startswith(place)) < part * whole

    sampled = run(mode="sample", workdir=url, environment=environment, config__sample__num=2)
    assert sampled.returncode == 0, sampled.stderr
    assert "run/samples/default/samples.npz" in objects.names()


@pytest.mark.slow
@pytest.mark.stores
def test_a_second_start_takes_over_and_the_first_stops_in_one_line(objects, start, run, capfd):
    url, environment = f"{objects.url}/run", objects.environment
    first = start(workdir=url, environment=environment, **{**STEPS, "config__train__steps": 100_000})
    told(first, "step 2/")
    second = start(workdir=url, environment=environment, **{**STEPS, "config__train__steps": 100_000})
    first.communicate(timeout=300)
    assert first.returncode == 2
    told(second, "step")
    kill(second)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert line.startswith(f"error: {url}: was taken over by process {second.pid} on ")


@pytest.mark.slow
def test_a_name_that_is_a_pattern_trains_is_killed_resumes_and_samples(start, run, tmp_path):
    plain, named = tmp_path / "plain", tmp_path / "[ni] lr=2e-4" / "a"
    assert run(workdir=plain, **STEPS).returncode == 0
    process = start(workdir=named, **STEPS)
    told(process, "step 5/")
    kill(process)
    resumed = run(workdir=named, **STEPS)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from step" in resumed.stdout
    assert same_bits(state(named, 12), state(plain, 12))
    sampled = run(mode="sample", workdir=named, config__sample__num=2)
    assert sampled.returncode == 0, sampled.stderr
    with np.load(named / "samples" / "default" / "samples.npz") as samples:
        assert samples["images"].shape == (2, 16, 16, 3)
