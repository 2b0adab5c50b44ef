"""`config.json`: what a run was asked to do, and what was resolved when it started."""

from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from microgen_jax import files
from microgen_jax.config import settings
from microgen_jax.data import Dataset
from microgen_jax.errors import UserError

FORMAT = 1
IMPORTED = "diffusers"  # kind of a run that came by --mode=import and was not trained here yet
_OF_THE_WEIGHTS = (
    "model.",
    "data.size",
    "data.channels",
    "diffusion.schedule",
    "diffusion.timesteps",
    "diffusion.beta",
    "diffusion.zero_terminal_snr",
    "diffusion.prediction",
)
_OF_EVERY_RUN = ("seed", "method", "data", "model", "diffusion", "train", "sample")
_FIELDS = [name for name in settings.TYPES if name.partition(".")[0] in _OF_EVERY_RUN]
# Fields that config.json has not had from the start, with what they stood for.
_LATER = {
    "data.name": "",
    "data.key": "",
    "data.layout": "auto",
    "data.value_range": "auto",
    "data.to_grey": False,
    "data.label_by": "",
    "data.ebsd": "ipf",
    "data.colour_key": "tsl",
    "data.laue_group": "",
    "data.window": "random",
    "data.tile_overlap": 0.5,
    "data.min_indexed": 0.9,
    "data.fill_unindexed": "nearest",
    "data.cache": "",
    "data.read_timeout": 300.0,
    "diffusion.zero_terminal_snr": False,
    "diffusion.time_sampling": "uniform",
    "sample.spacing": "auto",
    "sample.clip_percentile": 0.0,
    "sample.guidance_rescale": 0.0,
    "sample.guidance_interval": (),
    "sample.eps_scale": 1.0,
    "sample.autoguidance": "",
    "sample.frames": 0,
    "sample.trajectory_times": (),
    "sample.ema": 0.0,
    "train.eval_samples": 0,
    "train.skip_batches": (),
    "train.ema_widths": (),
    "wgan.n_critic": 5,
    "wgan.gp_weight": 10.0,
    "wgan.latent_dim": 100,
    "wgan.width": 64,
    "wgan.critic_learning_rate": 4e-4,
    "wgan.conditional": True,
}
_MAY_GROW = ("train.steps",)
_MAY_CHANGE = (
    "train.log_every",
    "train.sample_every",
    "train.eval_every",
    "train.eval_samples",
    "train.checkpoint_every",
    "train.keep",
    "train.skip_batches",
    "data.workers",
    "data.read_timeout",
    "data.cache",
)
_MAY_CHANGE_WHOLE = ("mesh.", "evaluate.", "export.", "plan.")


@dataclass(frozen=True)
class Resolved:
    """What the data decided.

    Attributes:
      classes: sorted names.
      conditions: names, with their mean and std over the training images.
      mean: of each condition, in its own unit.
      std: of each condition, in its own unit.
      low, high: the range of each condition over the training images, in its own unit.
      channels: of the images.
      kind: of the source.
      fingerprint: of the data set.
    """

    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    kind: str
    fingerprint: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Record:
    """A run's `config.json`, read back."""

    config: ConfigDict
    resolved: Resolved


def resolve(dataset: Dataset) -> Resolved:
    """What a run needs to know of its data once they are gone."""
    preparation = dataset.preparation
    return Resolved(
        dataset.classes,
        dataset.conditions,
        preparation.mean,
        preparation.std,
        preparation.channels,
        dataset.kind,
        dataset.fingerprint,
        dataset.low,
        dataset.high,
    )


def versions() -> dict[str, str]:
    """Of this project and of what decides its numbers; '' for what runs without being installed."""
    names = ("microgen-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {name: _version(name) for name in names}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def write(workdir: Path, config: ConfigDict, resolved: Resolved) -> None:
    """Puts `config.json` into a new run's folder."""
    content = {
        "format": FORMAT,
        "config": config.to_dict(),
        "resolved": asdict(resolved),
        "versions": versions(),
    }
    files.write_json(workdir / "config.json", content)


def exists(workdir: Path) -> bool:
    return (workdir / "config.json").is_file()


def read(workdir: Path) -> Record:
    """The record of a run.

    Raises:
      UserError: there is none, it is of a newer format, or a field has the wrong type.
    """
    if not exists(workdir):
        raise UserError(f"--workdir={workdir} holds no run (no config.json); train one there first")
    content = files.read_json(workdir / "config.json")
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{workdir}/config.json has format {found}, this version reads {FORMAT}; "
            "use the version of microgen-jax that wrote it"
        )
    try:
        config = ConfigDict(_tuples(content["config"]))
        settings.check_types(config, where="config.json says ")
        settings.make_floats(config)
        for name in _LATER.keys() - set(settings.names(config)):
            settings.put(config, name, _LATER[name])
        if lacking := [name for name in _FIELDS if name not in settings.names(config)]:
            raise KeyError(lacking[0])
        resolved = Resolved(**_tuples(content["resolved"]))
        _check_types(resolved)
        return Record(config, resolved)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise UserError(f"{workdir}/config.json is damaged ({fault}); restore it from the run") from fault


def _check_types(resolved: Resolved) -> None:
    """Refuses with a TypeError what `resolve` cannot have given."""
    texts = (*resolved.classes, *resolved.conditions, resolved.kind, resolved.fingerprint)
    numbers = (*resolved.mean, *resolved.std, *resolved.low, *resolved.high)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("resolved: a name that is no text")
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError("resolved: mean, std, low or high that is no number")
    if not len(resolved.conditions) == len(resolved.mean) == len(resolved.std):
        raise TypeError("resolved: not one mean and std for each condition")
    if not isinstance(resolved.classes, tuple):
        raise TypeError("resolved: no list of classes")
    if type(resolved.channels) is not int or not 1 <= resolved.channels <= 1024:
        raise TypeError(f"resolved: channels={resolved.channels!r}")


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def check_resumable(workdir: Path, config: ConfigDict, resolved: Resolved) -> None:
    """Refuses to go on with another configuration or other data than the run was started with.

    Raises:
      UserError: naming every field that differs, the run's value and the new one.
    """
    before = read(workdir)
    imported = before.resolved.kind == IMPORTED
    differing = [
        f"{name}={old!r} (now {new!r})"
        for name in settings.names(before.config)
        if (old := settings.value(before.config, name)) != (new := settings.value(config, name))
        and not _may_change(name, old, new)
        and (name.startswith(_OF_THE_WEIGHTS) or not imported)
    ]
    if differing:
        raise UserError(
            f"--workdir={workdir} holds a run with {', '.join(differing)}; "
            "give the old values back or choose another workdir"
        )
    if imported:
        _check_fits(workdir, before.resolved, resolved)
        return
    for name, old in asdict(before.resolved).items():
        new = getattr(resolved, name)
        if old != new:
            raise UserError(_changed_data(workdir, name, old, new))


def _check_fits(workdir: Path, imported: Resolved, resolved: Resolved) -> None:
    """Refuses to fine-tune imported weights on data that have other classes, or conditions."""
    if len(imported.classes) != len(resolved.classes) or resolved.conditions:
        raise UserError(
            f"--workdir={workdir} holds imported weights for {len(imported.classes)} classes and no conditions; "
            f"the data have {len(resolved.classes)} classes and {len(resolved.conditions)} conditions"
        )


def _may_change(name: str, old: Any, new: Any) -> bool:
    return (name in _MAY_GROW and new >= old) or name in _MAY_CHANGE or name.startswith(_MAY_CHANGE_WHOLE)


def _changed_data(workdir: Path, name: str, old: Any, new: Any) -> str:
    what = "images" if name == "fingerprint" else name
    detail = "" if name == "fingerprint" else f" ({old} then, {new} now)"
    return (
        f"--workdir={workdir} holds a run trained on other {what}{detail}; "
        "restore the data or choose another workdir"
    )
