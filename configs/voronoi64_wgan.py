"""Boundary networks at 64 px by a Wasserstein GAN with gradient penalty.

    python main.py --config=configs/voronoi64_wgan.py --config.data.root=voronoi_h5 --workdir=runs/voronoi64_wgan
    python main.py --config=configs/voronoi64_wgan.py --workdir=runs/boundaries_wgan

The root is a folder of HDF5 stacks, as in voronoi64.py; without one, the grain boundaries of the built-in
polycrystals. A step is five updates of the critic and one of the generator, 160 images. Sampling is one pass.
One GPU of 8 GB or more: bfloat16. Not run on a GPU; docs/wgan.md has results of small networks on a CPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.method = "wgan_gp"
    config.data.size = (64, 64)
    config.data.channels = 1
    config.data.ipf_direction = ""
    config.model.dtype = "bfloat16"
    config.train.steps = 40_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-4
    config.train.warmup_steps = 0
    config.train.weight_decay = 0.0
    config.train.clip_norm = 100.0
    config.train.ema_decay = 0.999
    config.sample.batch_size = 64
    return config
