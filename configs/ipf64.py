"""IPF maps at 64 px: as `ipf128`, a quarter of the pixels and three levels.

    python main.py --config=configs/ipf64.py --config.data.root=maps --workdir=runs/ipf64

One GPU of 12 GB or more, or a TPU: bfloat16, batch 32.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.size = (64, 64)
    config.model.channels = (64, 128, 256)
    config.model.blocks_per_level = 2
    config.model.mid_attention = True
    config.model.dtype = "bfloat16"
    config.train.steps = 100_000
    config.train.batch_size = 32
    config.train.learning_rate = 2e-4
    config.train.warmup_steps = 1000
    config.train.ema_decay = 0.9999
    return config
