"""MNIST digits at 32 px, one channel, ten classes: 28 px padded with the background.

    python main.py --config=configs/mnist.py --workdir=runs/mnist

Reads the data set that `tfds build mnist --file_format=array_record` has prepared in ~/tensorflow_datasets;
`--config.data.root` names another folder, or an npz file with `images` and `labels`.
No flips and no turns. One GPU of 8 GB or more: bfloat16, batch 128.
Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.name = "mnist"
    config.data.size = (32, 32)
    config.data.channels = 1
    config.data.pad = "background"
    config.data.augment = False
    config.data.ipf_direction = ""
    config.model.channels = (64, 128, 128)
    config.model.dtype = "bfloat16"
    config.train.batch_size = 128
    config.train.warmup_steps = 1000
    config.train.ema_decay = 0.999
    config.train.steps = 20_000
    config.train.learning_rate = 5e-4
    return config
