"""Object stores on this machine, and small checkpoints to write there; without the extra `stores` tests skip."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = (
    "false"  # read as gcsfs is imported; it asks Google's own servers
)

MARK = "commit_success.txt"
NEEDED = {"gs": "gcsfs", "s3": "moto"}


@contextmanager
def serve(scheme: str) -> Iterator:
    """Run a store and let this process's environment lead to it."""
    pytest.importorskip(NEEDED[scheme], reason="no object stores here: pip install -e '.[test,stores]'")
    from tests.runtime import gcs_server

    if scheme == "s3":
        from tests.runtime import s3_server
    server = gcs_server if scheme == "gs" else s3_server
    with server.serve() as objects, pytest.MonkeyPatch.context() as patch:
        for name, value in objects.environment.items():
            patch.setenv(name, value)
        yield objects


def state(step: int) -> TrainState:
    """A state of a step; its average alone has 1.4 MB, and so has each of the two that are kept besides."""
    weights = {"w": jax.random.normal(jax.random.key(step), (600, 600))}
    averages = tuple({"w": weights["w"] + k} for k in (1, 2))
    return TrainState(jnp.int32(step), weights, weights, (weights,), {"averages": averages})


def target() -> TrainState:
    shapes = jax.eval_shape(lambda: state(0))
    return checkpoint.abstract(shapes, meshes.parameter_shardings(shapes, meshes.make_mesh(1, 1)))


def write(folder: Path, *steps: int, keep: int = 2) -> None:
    """Write checkpoints, and a log that names the newest."""
    checkpoints = Checkpoints(folder, keep=keep)
    try:
        for step in steps:
            (folder / "config.json").write_text("{}")
            (folder / "metrics.jsonl").write_text(f"up to {step}")
            checkpoints.save(step, state(step), None)
            checkpoints.wait()
    finally:
        checkpoints.close()
