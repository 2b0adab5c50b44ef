"""The state that a run has left on disk, for comparing runs bit by bit."""

from pathlib import Path

import jax
import numpy as np

from microgen_jax import methods
from microgen_jax.config import run_config
from microgen_jax.runtime import mesh as meshes
from microgen_jax.training import checkpoint
from microgen_jax.training.checkpoint import Checkpoints
from microgen_jax.training.state import TrainState


def state(workdir: Path, step: int) -> TrainState:
    """The checkpoint of a step, on one device."""
    run = run_config.read(workdir)
    method = methods.build(
        run.config,
        channels=run.resolved.channels,
        stages=run.resolved.stages,
        num_classes=len(run.resolved.classes),
        num_conditions=len(run.resolved.conditions),
    )
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    shardings = meshes.parameter_shardings(shapes, meshes.make_mesh(1, 1))
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        return checkpoints.restore(step, checkpoint.abstract(shapes, shardings))
    finally:
        checkpoints.close()


def same_bits(one: TrainState, other: TrainState) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other))
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs
    )
