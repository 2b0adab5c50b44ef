"""Boundary networks at 64 px from HDF5 stacks, one channel.

    python main.py --config=configs/voronoi64.py --config.data.root=voronoi_h5 --workdir=runs/voronoi64

The root is one file or a folder of them. The axis that counts images, and the values of black and white, are detected
over the whole folder and reported by --mode=inspect (data.key, data.layout, data.value_range). All eight flips and
turns. One GPU of 12 GB or more: bfloat16, batch 32.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.source = "hdf5"
    config.data.size = (64, 64)
    config.data.channels = 1
    config.data.ipf_direction = ""
    config.model.channels = (64, 128, 256)
    config.model.dtype = "bfloat16"
    config.diffusion.schedule = "cosine"
    config.diffusion.prediction = "v"
    config.train.steps = 60_000
    config.train.batch_size = 32
    config.train.ema_decay = 0.9995
    return config
