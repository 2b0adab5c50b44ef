"""IPF maps at 128 px: the configuration for real EBSD maps in class folders, or for the built-in polycrystals.

    python main.py --config=configs/ipf128.py --config.data.root=maps --workdir=runs/ipf128

One GPU of 24 GB or more, or a TPU: bfloat16, batch 16. Random crops at the original pixel size.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.size = (128, 128)
    config.model.channels = (64, 128, 256, 512)
    config.model.blocks_per_level = 2
    config.model.mid_attention = True
    config.model.dtype = "bfloat16"
    config.diffusion.schedule = "linear"
    config.diffusion.prediction = "eps"
    config.train.steps = 200_000
    config.train.batch_size = 16
    config.train.learning_rate = 2e-4
    config.train.warmup_steps = 1000
    config.train.clip_norm = 1.0
    config.train.ema_decay = 0.9999
    config.sample.sampler = "ancestral"
    config.sample.steps = 1000
    return config
