"""Does the model do as it is told? The quickstart's polycrystals with grain diameter and aspect ratio as conditions.

    python main.py --config=configs/obedience.py --workdir=runs/obedience
    python tests/benchmarks/obedience.py runs/obedience obedience.json

32 px, the quickstart's network. What it reaches on two CPU cores is in docs/samplers.md.
"""

from configs import quickstart


def get_config():
    config = quickstart.get_config()
    config.data.conditions = ("grain_diameter", "aspect_ratio")
    config.diffusion.condition_dropout = 0.15
    config.train.steps = 1500
    config.train.schedule_steps = 1500
    config.train.sample_every = 0
    config.train.eval_every = 0
    config.train.checkpoint_every = 250
    config.sample.sampler = "dpmpp2m"
    config.sample.steps = 20
    return config
