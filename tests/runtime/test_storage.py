"""A run in an object store, from its start to its images; the stores run here."""

import json

import fsspec
import numpy as np
import pytest

import microgen_jax
from tests.commands.stored import same_bits, state

pytest.importorskip("moto", reason="no object store here: pip install -e '.[test]'")
from tests.runtime import object_stores

pytestmark = pytest.mark.slow
STEPS = {"config__train__steps": 4, "config__train__schedule_steps": 6}
MARK = "_CHECKPOINT_METADATA"


@pytest.fixture(params=["s3", "gs"])
def store(request, monkeypatch):
    with getattr(object_stores, request.param)() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def s3(monkeypatch):
    with object_stores.s3() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def files(store):
    return fsspec.filesystem(store.url[:2], skip_instance_cache=True, use_listings_cache=False)


def test_from_the_start_over_another_machine_to_images(store, run, tmp_path, monkeypatch):
    there, url = files(store), f"{store.url}/runs/mine"
    here, elsewhere = {**store.environment, "XDG_CACHE_HOME": str(tmp_path / "a")}, str(tmp_path / "b")
    first = run(workdir=url, environment=here, **STEPS)
    assert first.returncode == 0, first.stderr
    assert f"copied: {url}" in first.stdout
    assert there.exists(f"{url}/checkpoints/4/{MARK}")
    assert not there.exists(f"{url}/lock.json")

    second = run(
        workdir=url,
        environment={**here, "XDG_CACHE_HOME": elsewhere},
        **{**STEPS, "config__train__steps": 6},
    )
    assert second.returncode == 0, second.stderr
    assert "resuming from step 4" in second.stdout
    lines = [json.loads(line) for line in there.cat_file(f"{url}/metrics.jsonl").splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]

    drawn = run(mode="sample", workdir=url, environment=here, config__sample__num=5)
    assert drawn.returncode == 0, drawn.stderr
    there.get_file(f"{url}/samples/default/samples.npz", str(tmp_path / "samples.npz"))
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["images"].shape == (5, 16, 16, 3)
        loaded = microgen_jax.load(url, batch_size=4).sample(5).images
        assert loaded.shape == samples["images"].shape


@pytest.mark.parametrize("kind", ["500", "drops"])
def test_a_store_that_fails_for_a_while_loses_nothing(s3, start, run, tmp_path, kind):
    url, cache = f"{s3.url}/run", {**s3.environment, "XDG_CACHE_HOME": str(tmp_path)}
    said = []
    with start(workdir=url, environment=cache, **STEPS) as process:
        for line in process.stdout:
            said.append(line)
            if line.startswith("step 1/"):
                s3.faults.kind = kind
            if "does not take files" in line:
                s3.faults.kind = ""
    assert process.returncode == 0
    assert s3.faults.met > 0
    assert any("takes files again; nothing is missing there" in line for line in said)

    assert run(workdir=tmp_path / "local", **STEPS).returncode == 0
    files(s3).get(f"{url}/", str(tmp_path / "copy"), recursive=True)
    assert same_bits(state(tmp_path / "copy", 4), state(tmp_path / "local", 4))


def test_what_cannot_be_used_is_one_line(s3, run, tmp_path):
    cache = {**s3.environment, "XDG_CACHE_HOME": str(tmp_path)}
    for workdir, words in {
        "s3://nobody/run": "s3://nobody/run cannot be used",
        "s3://bucket": "name a bucket and a folder in it",
        "ftp://bucket/run": "only folders, gs://bucket/run and s3://bucket/run",
    }.items():
        result = run(workdir=workdir, environment=cache)
        assert result.returncode == 2
        (line,) = [x for x in result.stderr.splitlines() if x.startswith("error:")]
        assert words in line
    assert not files(s3).find(s3.url)
