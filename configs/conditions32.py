"""Conditioning accuracy: the quickstart's polycrystals with grain diameter and aspect ratio as conditions.

    python main.py --config=configs/conditions32.py --workdir=runs/conditions32
    python -m tests.benchmarks.conditioning_accuracy runs/conditions32 conditioning_accuracy.json

32 px, the quickstart's network; 27 minutes on two CPU cores (88 images a second). Requested against measured grain
diameter (nine values, 32 images each, guidance 1.5): R² 0.95 (0.82 to 0.97); aspect ratio: -1.2 (-1.3 to -1.0), no
conditioning, as the elongation is too weak (docs/samplers.md).
"""

from configs import quickstart


def get_config():
    """Return the configuration."""
    config = quickstart.get_config()
    config.data.count = 20000
    config.data.conditions = ("grain_diameter", "aspect_ratio")
    config.diffusion.condition_dropout = 0.15
    config.train.steps = 4500
    config.train.schedule_steps = 4500
    config.train.batch_size = 32
    config.train.learning_rate = 1.5e-3
    config.train.ema_decay = 0.999
    config.train.sample_every = 0
    config.train.eval_every = 0
    config.train.checkpoint_every = 300
    config.sample.eps_scale = 1.0
    config.sample.guidance = 1.5
    return config
