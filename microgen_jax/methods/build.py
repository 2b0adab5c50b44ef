"""From a config to a method: the one edge of this room that sees a ConfigDict."""

from ml_collections import ConfigDict

from microgen_jax import diffusion, networks
from microgen_jax.methods.ddpm import DDPM
from microgen_jax.training import optimizer
from microgen_jax.types import Method, UserError

TIME_SAMPLING = ("uniform", "stratified")
SAMPLING = ("sampler", "steps", "eta", "spacing", "clip", "clip_percentile", "guidance", "guidance_rescale")


def build(config: ConfigDict, *, channels: int, num_classes: int, num_conditions: int) -> Method:
    """The method that the config names, ready to be compiled; every mistake is told here.

    Args:
      config: the whole of it.
      channels: of the pictures.
      num_classes: in the data; a single class is no condition.
      num_conditions: K.

    Raises:
      UserError: a value that cannot be.
    """
    unet = networks.build(
        config.model,
        channels=channels,
        num_classes=num_classes if num_classes > 1 else 0,
        num_conditions=num_conditions,
    )
    networks.check_size(config.data.size, len(config.model.channels))
    schedule = diffusion.make_schedule(
        config.diffusion.schedule,
        config.diffusion.timesteps,
        config.diffusion.beta_start,
        config.diffusion.beta_end,
        config.diffusion.zero_terminal_snr,
    )
    diffusion.require_loss(
        schedule,
        config.diffusion.prediction,
        loss=config.diffusion.loss,
        weighting=config.diffusion.weighting,
    )
    if config.diffusion.time_sampling not in TIME_SAMPLING:
        known = " or ".join(TIME_SAMPLING)
        raise UserError(
            f"diffusion.time_sampling={config.diffusion.time_sampling!r} is not known: use {known}"
        )
    sampling = {name: config.sample[name] for name in SAMPLING}
    diffusion.require_sampling(schedule, config.diffusion.prediction, **sampling)
    if config.sample.guidance != 1 and num_classes < 2 and not num_conditions:
        raise UserError(
            f"sample.guidance={config.sample.guidance:g}: one class and no conditions leave nothing to guide by; set 1"
        )
    train = config.train
    learning_rate = optimizer.learning_rate_schedule(
        train.learning_rate, train.lr_schedule, train.warmup_steps, train.schedule_steps or train.steps
    )
    return DDPM(
        unet=unet,
        schedule=schedule,
        optimizer=optimizer.adamw(learning_rate, weight_decay=train.weight_decay, clip_norm=train.clip_norm),
        learning_rate=learning_rate,
        shape=(*config.data.size, channels),
        num_conditions=num_conditions,
        prediction=config.diffusion.prediction,
        loss=config.diffusion.loss,
        weighting=config.diffusion.weighting,
        time_sampling=config.diffusion.time_sampling,
        condition_dropout=config.diffusion.condition_dropout,
        ema_decay=train.ema_decay,
        accumulate=train.accumulate,
        sampling=sampling,
    )
