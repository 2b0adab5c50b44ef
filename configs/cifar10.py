"""CIFAR-10 at 32 px in colour, ten classes, with the network and the settings of Ho et al. 2020 (section B).

    python main.py --config=configs/cifar10.py --workdir=runs/cifar10

Reads the data set that `tfds build cifar10 --file_format=array_record` has prepared in ~/tensorflow_datasets;
`--config.data.root` names another folder, or an npz file with `images` and `labels`.
No flips: data.symmetry has no choice for left to right only, as in the paper.
One GPU of 16 GB or more: bfloat16, batch 128. Not run on a GPU.
"""

from configs import default


def get_config():
    """Return the configuration."""
    config = default.get_config()
    config.data.name = "cifar10"
    config.data.size = (32, 32)
    config.data.pad = "background"
    config.data.augment = False
    config.data.ipf_direction = ""
    config.model.channels = (128, 256, 256, 256)
    config.model.attention_levels = (False, True, False, False)
    config.model.head_dim = 256
    config.model.dropout = 0.1
    config.model.dtype = "bfloat16"
    config.train.steps = 800_000
    config.train.batch_size = 128
    config.train.learning_rate = 2e-4
    config.train.lr_schedule = "constant"
    config.train.warmup_steps = 5000
    config.train.weight_decay = 0.0
    config.train.ema_decay = 0.9999
    return config
