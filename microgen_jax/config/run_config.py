"""`config.json`: the configuration of a run, and what its data decided when it started."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from microgen_jax import files
from microgen_jax.config.fields import fields, freeze, may_change, to_dict, value
from microgen_jax.config.schema import Config
from microgen_jax.crystal.symmetry import LAUE_GROUPS
from microgen_jax.data import Dataset
from microgen_jax.data.representations import Images, Orientations, PhaseName, Representation
from microgen_jax.errors import UserError

FORMAT = 2
FIRST_EDITION = 1  # format of microgen-jax 0.1
IMPORTED = "diffusers"  # kind of a run that came by --mode=import and was not trained here yet
_FIXED_BY_WEIGHTS = (
    "model.",
    "data.size",
    "data.channels",
    "diffusion.schedule",
    "diffusion.timesteps",
    "diffusion.beta",
    "diffusion.zero_terminal_snr",
    "diffusion.prediction",
)


@dataclass(frozen=True)
class Resolved:
    """What the data decided.

    Attributes:
      classes: sorted names of the classes.
      conditions: names of the continuous conditions, K of them.
      mean: mean of each condition over the training images, in its own unit.
      std: standard deviation of each condition, in its own unit.
      channels: channels of an image.
      kind: kind of the source.
      fingerprint: fingerprint of the data set.
      low, high: range of each condition over the training images, in its own unit.
      stages: name of each stage of the model, and the names of its channels; () = one stage without names.
      phases: name and Laue group of each phase of orientation maps; () where images are images.
      pixel_size_um: pixel size of the images in um; 0 where it is not known.
      class_ranges: for each class the range of each condition over its training images, None where none has it; ()
        where it is not known.
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
    stages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    phases: tuple[tuple[str, str], ...] = ()
    pixel_size_um: float = 0.0
    class_ranges: tuple[tuple[tuple[float, float] | None, ...], ...] = ()

    @property
    def representation(self) -> Representation:
        """What the channels of the model mean."""
        if self.phases:
            return Orientations(tuple(PhaseName(*phase) for phase in self.phases))
        return Images(self.channels)


@dataclass(frozen=True)
class RunConfig:
    """A run's `config.json`.

    Attributes:
      config: configuration that the run was started with.
      resolved: what its data decided.
    """

    config: Config
    resolved: Resolved


def resolve(dataset: Dataset) -> Resolved:
    """Return the facts of the data that a run needs without them."""
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
        preparation.representation.stages,
        tuple(map(tuple, getattr(preparation.representation, "phases", ()))),
        dataset.pixel_size_um,
        dataset.class_ranges,
    )


def versions() -> dict[str, str]:
    """Return the versions of this project and of what decides its numbers; '' for what is not installed."""
    names = ("microgen-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {name: _version(name) for name in names}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def write(workdir: Path, config: Config, resolved: Resolved) -> None:
    """Write `config.json`.

    Args:
      workdir: folder of a new run.
      config: the run's configuration.
      resolved: what its data decided.
    """
    content = {
        "format": FORMAT,
        "config": to_dict(config),
        "resolved": asdict(resolved),
        "versions": versions(),
    }
    files.write_json(workdir / "config.json", content)


def exists(workdir: Path) -> bool:
    """Return whether the folder holds a run."""
    return (workdir / "config.json").is_file()


def read(workdir: Path) -> RunConfig:
    """Read the `config.json` of a run.

    Args:
      workdir: folder of the run.

    Raises:
      UserError: there is none, it is of another format, or a field is missing, unknown or of the wrong type.
    """
    where = f"{workdir}/config.json"
    if not exists(workdir):
        raise UserError(f"--workdir={workdir}", "holds no run (no config.json)", "train one there first")
    content = files.read_json(workdir / "config.json")
    found = content.get("format") if isinstance(content, dict) else None
    if found == FIRST_EDITION:
        raise UserError(where, "is a run of microgen-jax 0.1", "use that version to read it, or train anew")
    if found != FORMAT:
        raise UserError(
            where, f"has format {found}, this version reads {FORMAT}", "use the version that wrote it"
        )
    if not isinstance(content.get("config"), dict):
        raise UserError(where, "is damaged (no configuration)", "restore it from the run")
    try:
        config = freeze(content["config"])
    except UserError as error:
        raise UserError(where, f"is damaged ({error})", "restore it from the run") from error
    return RunConfig(config, _read_resolved(where, content.get("resolved")))


def _read_resolved(where: str, content: Any) -> Resolved:
    """Check everything that `resolve` has written."""

    def require(right: bool, problem: str) -> None:
        if not right:
            raise UserError(where, f"is damaged (resolved: {problem})", "restore it from the run")

    names = Resolved.__dataclass_fields__
    require(isinstance(content, dict), "no object")
    content = {"class_ranges": [], **content}  # older runs have none
    require(set(content) == set(names), f"not the fields {', '.join(names)}")
    lists = ("classes", "conditions", "mean", "std", "low", "high")
    require(all(isinstance(content[name], list) for name in lists), "a list is missing")
    texts = (*content["classes"], *content["conditions"], content["kind"], content["fingerprint"])
    require(all(isinstance(text, str) for text in texts), "a name that is no text")
    numbers = (*content["mean"], *content["std"], *content["low"], *content["high"])
    require(all(type(number) in (int, float) for number in numbers), "mean, std, low or high is no number")
    sizes = {len(content[name]) for name in ("conditions", "mean", "std")}
    require(len(sizes) == 1, "not one mean and std for each condition")
    require(
        type(content["channels"]) is int and 1 <= content["channels"] <= 1024,
        f"channels={content['channels']!r}",
    )
    size = content["pixel_size_um"]
    require(type(size) in (int, float) and 0 <= size < math.inf, f"pixel_size_um={size!r}")
    _check_stages(content, require)
    table = content["class_ranges"]
    require(table == [] or _is_table(table, content), f"class_ranges={table!r}")
    return Resolved(**{name: _tuples(entry) for name, entry in content.items()})


def _check_stages(content: dict[str, Any], require: Callable[[bool, str], None]) -> None:
    """Check the names of stages, channels and phases."""
    stages, phases = content["stages"], content["phases"]
    for pairs, kind in ((stages, list), (phases, str)):
        whole = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        require(whole, "stages or phases are no pairs")
        require(
            all(isinstance(name, str) and isinstance(second, kind) for name, second in pairs),
            "stages or phases are no names",
        )
    channels = [name for _, names in stages for name in names]
    require(all(isinstance(name, str) for name in channels), "a channel without a name")
    require(
        not stages or len(channels) == content["channels"],
        f"{len(channels)} names for {content['channels']} channels",
    )
    require(all(group in LAUE_GROUPS for _, group in phases), "a phase of an unknown Laue group")
    whole = Orientations(tuple(PhaseName(*phase) for phase in phases)).stages
    fits = _tuples(stages) == whole if phases else len(stages) <= 1
    require(fits, "stages that are not those of the phases")


def _is_table(table: Any, content: dict[str, Any]) -> bool:
    """Return whether there is a pair of numbers, or None, for each class and condition."""

    def is_pair(pair: Any) -> bool:
        return isinstance(pair, list) and [type(number) in (int, float) for number in pair] == [True, True]

    return (
        isinstance(table, list)
        and len(table) == len(content["classes"])
        and all(isinstance(row, list) and len(row) == len(content["conditions"]) for row in table)
        and all(pair is None or is_pair(pair) for row in table for pair in row)
    )


def _tuples(entry: Any) -> Any:
    return tuple(map(_tuples, entry)) if isinstance(entry, list) else entry


def check_resumable(workdir: Path, config: Config, resolved: Resolved) -> None:
    """Refuse to go on with another configuration or other data than the run was started with.

    Args:
      workdir: folder of the run.
      config: configuration of this start.
      resolved: what the data of this start decided.

    Raises:
      UserError: every field that differs, with the run's value and the new one.
    """
    before = read(workdir)
    imported = before.resolved.kind == IMPORTED
    differing = [
        f"{name}={old!r} (now {new!r})"
        for name, field in fields().items()
        if (old := value(before.config, name)) != (new := value(config, name))
        and not may_change(field, old, new)
        and (name.startswith(_FIXED_BY_WEIGHTS) or not imported)
    ]
    if differing:
        raise UserError(
            f"--workdir={workdir}",
            f"holds a run with {', '.join(differing)}",
            "give the old values back or choose another workdir",
        )
    if imported:
        _check_fits(workdir, before.resolved, resolved)
        return
    for name, old in asdict(before.resolved).items():
        new = getattr(resolved, name)
        if old != new and name != "class_ranges":  # they follow from the fingerprint
            raise UserError(
                f"--workdir={workdir}",
                _changed_data(name, old, new),
                "restore the data or choose another workdir",
            )


def _check_fits(workdir: Path, imported: Resolved, resolved: Resolved) -> None:
    """Refuse to fine-tune imported weights on data of other channels, stages or classes, or with conditions."""
    stages = len(resolved.stages)
    if resolved.channels != imported.channels or stages > 1:
        raise UserError(
            f"--workdir={workdir}",
            f"holds imported weights for images of {imported.channels} channels; the data have {resolved.channels} "
            f"channels in {stages or 1} stage{'s' * (stages > 1)}",
            "set data.representation=image, and data.channels as imported",
        )
    if len(imported.classes) != len(resolved.classes) or resolved.conditions:
        raise UserError(
            f"--workdir={workdir}",
            f"holds imported weights for {len(imported.classes)} classes and no conditions; "
            f"the data have {len(resolved.classes)} classes and {len(resolved.conditions)} conditions",
            "use data with as many classes, and set data.conditions=()",
        )


def _changed_data(name: str, old: Any, new: Any) -> str:
    if name == "fingerprint":
        return "holds a run trained on other images"
    return f"holds a run trained on other {name} ({old} then, {new} now)"
