"""Quality of a few generated images while a model is trained, beside the held-out loss."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jax.sharding import Mesh

from microgen_jax import data, methods
from microgen_jax.config.schema import Config
from microgen_jax.data import Dataset
from microgen_jax.data.representations.choice import shows_ipf_maps
from microgen_jax.evaluation import baseline
from microgen_jax.evaluation.quality import quality
from microgen_jax.sampling import batching
from microgen_jax.training.state import TrainState
from microgen_jax.types import Batch

STEPS = 25  # of the sampler


def watch(config: Config, dataset: Dataset, mesh: Mesh) -> Callable[[TrainState], dict[str, float]] | None:
    """Return a function `state -> ratios` for `train.eval_samples` images of the same seeds at every call.

    They are compared with twice as many held-out images, whose classes and conditions they are generated with.

    Args:
      config: configuration of the run.
      dataset: dataset of the run.
      mesh: devices.

    Returns:
      The function, or None where `train.eval_samples` is 0 or too few images are held out.
    """
    count = config.train.eval_samples
    if count < 2 or len(dataset.holdout) < baseline.MIN_REAL_TILES:
        return None
    steps = min(STEPS, config.diffusion.timesteps)
    sample = replace(config.sample, sampler="ddim", steps=steps, guidance=1.0, eta=0.0)
    config = replace(config, sample=sample)
    method = methods.build(
        config,
        channels=dataset.preparation.channels,
        stages=dataset.preparation.representation.stages,
        num_classes=len(dataset.classes),
        num_conditions=len(dataset.conditions),
    )
    representation = dataset.preparation.representation
    generate = batching.compile_method(method, mesh, config.data.size, representation)
    kept: list[Batch] = []

    def now(state: TrainState) -> dict[str, float]:
        if not kept:
            kept.append(
                data.shown_windows(
                    dataset.holdout, dataset.preparation, limit=2 * count, workers=config.data.workers
                )
            )
        real, label, value, _ = kept[0]
        rows = np.arange(count) % len(real)
        parts = batching.generate_batches(
            generate,
            state.ema_params,
            label[rows],
            value[rows],
            seed=config.sample.seed,
            batch_size=config.sample.batch_size * mesh.size,
        )
        images = representation.render(np.concatenate(list(parts)))
        return quality(images, real, ipf_maps=shows_ipf_maps(config.data, representation))

    return now
