"""Orientation maps of 64 px from raw EBSD scans (.ang, .ctf, .cpr, .h5, .h5oina, .dream3d), sampled as scans.

    python main.py --config=configs/ebsd64.py --config.data.root=scans --workdir=runs/ebsd64

The root is one scan or a folder of them. Each folder of scans is a class; without folders, each scan. Tiles have the
scan's pixel size and overlap by half. Two networks are trained: one for grains, one for orientations given the grains.
For IPF-Z colours instead: `--config.data.representation=image`; for IPF-X, Y and Z together:
`--config.data.ipf_direction=XYZ --config.data.channels=9`. One GPU, bfloat16, batch 32; `--mode=plan` gives the memory.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.source = "ebsd"
    config.data.size = (64, 64)
    config.data.tile_overlap = 0.5
    config.data.min_indexed = 0.9
    config.model.channels = (64, 128, 256)
    config.model.dtype = "bfloat16"
    config.train.steps = 100_000
    config.train.batch_size = 32
    config.train.warmup_steps = 1000
    return config
