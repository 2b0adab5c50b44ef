"""Grey micrographs or boundary networks at 64 px, named by a list; one channel.

    python main.py --config=configs/nickel64.py --config.data.root=nickel_list/mics_64.csv --workdir=runs/nickel64

The list has one file name a line, beside the images; a header row and further columns are detected. All
eight flips and turns. One GPU of 12 GB or more: bfloat16, batch 16; the dropout is for sets of a few dozen images.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.source = "list"
    config.data.size = (64, 64)
    config.data.channels = 1
    config.data.ipf_direction = ""
    config.model.channels = (64, 128, 256)
    config.model.dtype = "bfloat16"
    config.model.dropout = 0.1
    config.train.steps = 30_000
    config.train.batch_size = 16
    config.train.ema_decay = 0.999
    return config
