"""From a configuration to a method."""

from collections.abc import Sequence
from dataclasses import replace

from microgen_jax import diffusion, networks
from microgen_jax.config.schema import Config
from microgen_jax.diffusion import Sampling
from microgen_jax.errors import UserError, argument_of, renamed, require_known
from microgen_jax.methods.cascade import Cascade
from microgen_jax.methods.ddpm import DDPM
from microgen_jax.methods.wgan_gp import WGANGP
from microgen_jax.training import ema, optimizer
from microgen_jax.types import Method

TIME_SAMPLING = ("uniform", "stratified", "importance")
GAN_BETAS = {"b1": 0.5, "b2": 0.9}  # of Adam, in both networks of wgan_gp
SETTLING = 0.1  # share of the learning-rate schedule


def sampling_fields(method: str) -> tuple[str, ...]:
    """Return the fields of `config.sample` that a method's sampler has; () where it generates in one step."""
    return Sampling.names() if method == "ddpm" else ()


def check(config: Config) -> None:
    """Refuse images that the method is not made for, before any data are opened.

    Args:
      config: configuration of the run.

    Raises:
      UserError: size or channels do not fit the networks, or the method takes no conditions.
    """
    if config.method == "ddpm":
        with argument_of("data"):
            networks.check_size(config.data.size, len(config.model.channels))
        return
    with argument_of("data"):
        networks.wgan.check_shape(tuple(config.data.size), config.data.channels)
    if config.data.conditions:
        raise UserError(
            "data.conditions",
            f"{tuple(config.data.conditions)}: wgan_gp takes classes only",
            "set data.conditions=() or method=ddpm",
        )


def build(
    config: Config,
    *,
    channels: int,
    num_classes: int,
    num_conditions: int,
    stages: Sequence[tuple[str, Sequence[str]]] = (),
) -> Method:
    """Return the method that the configuration names, ready to be compiled.

    Args:
      config: configuration of the run.
      channels: channels of an image.
      num_classes: number of classes in the data; a single class is no condition.
      num_conditions: K, the number of continuous conditions.
      stages: name of each stage, and the names of its channels, `channels` together; () = one stage.

    Raises:
      UserError: a value that the method cannot have.
    """
    check(config)
    num_classes = num_classes if num_classes > 1 else 0
    sizes = [len(names) for _, names in stages] or [channels]
    if config.method == "wgan_gp":
        if len(sizes) > 1:
            raise UserError(
                "method",
                "wgan_gp makes images in one stage, and maps of orientations are made in several",
                "set data.representation=image, or method=ddpm",
            )
        return _wgan_gp(config, channels, num_classes)
    if len(sizes) > 1:
        _check_several_stages(config)
    models = [
        _ddpm(config, size, sum(sizes[:index]), num_classes, num_conditions)
        for index, size in enumerate(sizes)
    ]
    if len(models) == 1:
        return models[0]
    return Cascade(tuple((name, model) for (name, _), model in zip(stages, models)))


def _check_several_stages(config: Config) -> None:
    """Refuse what a model of several stages, one of orientations, does not have."""
    if config.train.ema_widths:
        problem = f"{tuple(config.train.ema_widths)}: a model of several stages keeps one average of each"
        raise UserError("train.ema_widths", problem, "set ()")
    if config.diffusion.loss == "bce":
        problem = "'bce' needs black and white images, and maps of orientations are none"
        raise UserError("diffusion.loss", problem, "set diffusion.loss=mse")


def _ddpm(config: Config, channels: int, given_channels: int, num_classes: int, num_conditions: int) -> DDPM:
    model, own = config.model, {}
    if given_channels and model.values_channels:
        model = replace(model, channels=model.values_channels)
        own = {"channels": "values_channels"}
    with argument_of("model"), renamed(own):
        unet = networks.build(
            model,
            channels=channels,
            num_classes=num_classes,
            num_conditions=num_conditions,
            given_channels=given_channels,
        )
    with argument_of("diffusion"):
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
        require_known("time_sampling", config.diffusion.time_sampling, TIME_SAMPLING)
    with argument_of("sample"):
        sampling = Sampling.from_config(config.sample)
        for field in ("frames", "trajectory_times"):
            with renamed({"trajectory": field}):
                sampling.check(schedule, config.diffusion.prediction, getattr(config.sample, field))
    _check_guidance(config, num_classes > 0 or num_conditions > 0)
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
        ema_widths=_ema_widths(train.ema_widths),
        sampling=sampling,
        given_noise=config.diffusion.given_noise if given_channels else 0.0,
    )


def _wgan_gp(config: Config, channels: int, num_classes: int) -> WGANGP:
    wgan, train = config.wgan, config.train
    if config.sample.label and not wgan.conditional and num_classes:
        raise UserError(
            "sample.label",
            f"{config.sample.label!r}: this model was trained without classes (wgan.conditional=False)",
            "leave it empty",
        )
    if config.sample.autoguidance:
        raise UserError(
            "sample.autoguidance",
            f"{config.sample.autoguidance!r}: wgan_gp has no guidance",
            "leave it empty",
        )
    if train.ema_widths:
        raise UserError("train.ema_widths", f"{tuple(train.ema_widths)}: wgan_gp keeps one average", "set ()")
    generator, critic = networks.build_wgan(
        config, size=config.data.size, channels=channels, num_classes=num_classes if wgan.conditional else 0
    )
    steps = train.schedule_steps or train.steps
    learning_rate = optimizer.learning_rate_schedule(
        train.learning_rate, train.lr_schedule, train.warmup_steps, steps
    )
    critic_learning_rate = optimizer.learning_rate_schedule(
        wgan.critic_learning_rate,
        train.lr_schedule,
        train.warmup_steps * wgan.n_critic,
        steps * wgan.n_critic,
    )
    adam = {"weight_decay": train.weight_decay, "clip_norm": train.clip_norm, **GAN_BETAS}
    return WGANGP(
        generator=generator,
        critic=critic,
        generator_optimizer=optimizer.adamw(learning_rate, **adam),
        critic_optimizer=optimizer.adamw(critic_learning_rate, **adam),
        learning_rate=learning_rate,
        critic_learning_rate=critic_learning_rate,
        latent_dim=wgan.latent_dim,
        n_critic=wgan.n_critic,
        gp_weight=wgan.gp_weight,
        ema_decay=train.ema_decay,
        accumulate=train.accumulate,
        settling=int(SETTLING * steps),
    )


def _ema_widths(widths: tuple[float, ...]) -> tuple[float, ...]:
    with renamed({"width": "train.ema_widths"}):
        for width in widths:
            ema.exponent(width)
    return tuple(widths)


def _check_guidance(config: Config, conditional: bool) -> None:
    """Refuse guidance by what the model does not have."""
    sample = config.sample
    if sample.autoguidance and sample.guidance == 1:
        raise UserError("sample.guidance", "1: sample.autoguidance needs another value", "set 2, for example")
    if sample.autoguidance and (sample.guidance_interval or sample.guidance_rescale):
        raise UserError(
            "sample.autoguidance",
            f"{sample.autoguidance!r} cannot be combined with guidance_interval or guidance_rescale",
            "leave them out",
        )
    if sample.guidance == 1 or sample.autoguidance:
        return
    if not conditional:
        raise UserError(
            "sample.guidance",
            f"{sample.guidance:g}: one class and no conditions leave nothing to guide by",
            "set 1",
        )
    if not config.diffusion.condition_dropout:
        raise UserError(
            "sample.guidance",
            f"{sample.guidance:g}: the model was trained with diffusion.condition_dropout=0, never without conditions",
            "set 1",
        )


def schedule_warning(method: Method) -> str:
    """Return a sentence on a schedule that ends with the image still visible; '' for all other methods.

    Args:
      method: method that is about to be trained.
    """
    return diffusion.still_visible(method.schedule) if isinstance(method, DDPM | Cascade) else ""
