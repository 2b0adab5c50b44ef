"""Fashion-MNIST at 32 px, one channel, ten classes: 28 px padded with the background.

    python main.py --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist

Reads the data set that `tfds build fashion_mnist --file_format=array_record` has prepared in ~/tensorflow_datasets;
`--config.data.root` names another folder, or an npz file with `images` and `labels`.
No flips and no turns. One GPU of 8 GB or more: bfloat16, batch 128.
Not run on a GPU.
"""

from configs import mnist


def get_config():
    """Return the configuration."""
    config = mnist.get_config()
    config.data.name = "fashion_mnist"
    config.train.steps = 40_000
    return config
