"""From the command line to a `Request`; typing errors end in one error line and exit status 2."""

import errno
import importlib.util
import os
import re
import runpy
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

import microgen_jax
from microgen_jax.config import fields
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.runtime import distributed, storage

_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")
_CONFIG = re.compile(r"--?config=(.*)")
_HELP = {"--help", "-help", "--helpfull", "--helpshort", "-h"}
_WRONG_VALUE = re.compile(
    r"flag --?(?:config\.)?(?P<where>[^=\s]+?)=(?P<value>.*?): (?P<problem>.*)", re.DOTALL
)
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.EFBIG,
)


@dataclass(frozen=True)
class Request:
    """The parsed command line.

    Attributes:
      config: the config file's values with the overrides applied.
      overrides: the fields set on the command line, as in `{'train.steps': 100}`.
      has_config: whether a config file was named; if not, `config` is the default one.
      workdir: the run's folder; an address in an object store as text; None where none was named.
    """

    config: Config
    overrides: dict[str, Any]
    has_config: bool
    workdir: Path | str | None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a `UserError`, or an error of a disk or device, as one line on standard error and exit with its status.

    The status is 2, or what the error's class says. Ctrl-C outside of training is one line too, with status 130.
    """
    try:
        yield
    except distributed.ProcessError as error:
        _print_error(str(error))
        os._exit(error.exit_status)
    except UserError as error:
        _exit(str(error), error.exit_status)
    except KeyboardInterrupt:
        _exit("interrupted", 128 + signal.SIGINT)
    except MemoryError as error:
        _exit(f"out of memory ({error}); lower what the configuration asks for, or end other programs")
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        where = error.filename or "a file being written or read"
        _exit(f"{where}: {error.strerror}; solve this and start the same command again")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _exit(
            f"out of device memory ({str(error).splitlines()[0][:200]}); lower sample.batch_size, raise mesh.fsdp, "
            "or end what else uses the device (--mode=plan estimates what a model takes)"
        )


def _exit(message: str, status: int = 2) -> NoReturn:
    _print_error(message)
    sys.exit(status)


def _print_error(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def silence_abandoned_orbax_reads() -> None:
    """Keep off the screen the exceptions of orbax's other reads and writes after one of them has failed."""

    def report(unraisable: Any) -> None:
        error = unraisable.exc_value
        closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        frames = traceback.extract_tb(unraisable.exc_traceback)
        if not closed and not any("orbax" in Path(frame.filename).parts for frame in frames):
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = report


def configs_folder() -> Path:
    """Return the folder of the ready-made configs: inside the installed package, or beside it in a checkout."""
    package = Path(microgen_jax.__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def parse(argv: Sequence[str]) -> list[str]:
    """Parse the command line into absl's flags, in the place of `app.parse_flags_with_usage`.

    Args:
      argv: command line, the program first. A config may be named without folder and suffix.

    Returns:
      The arguments that are no flags, the program first.

    Raises:
      UserError: an unknown flag or field, or a value that the schema refuses.
    """
    argv = _with_config_path(list(argv))
    _import_configs()
    if not _HELP & set(argv):
        _check_config(next(match[1] for arg in reversed(argv) if (match := _CONFIG.fullmatch(arg))))
        _check_overrides(argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        fix = did_you_mean(error.flagname, flags.FLAGS).strip()
        raise UserError(f"--{error.flagname}", "there is no such flag", fix or "--help lists them") from error
    except flags.Error as error:
        raise _wrong_value(error) from error
    except (TypeError, ValueError) as error:  # of ml_collections, on an override of another type
        raise UserError("--config", f"an override has the wrong type ({error})") from error
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.FATAL
    return rest


def request(argv: Sequence[str], config: flags.FlagHolder, workdir: str) -> Request:
    """Return the request of the parsed flags; naming the default config counts as naming none.

    Args:
      argv: the arguments that are no flags, the program first.
      config: the flag of the config file.
      workdir: the value of --workdir; '' where none was given.

    Raises:
      UserError: arguments that are no flags, or values that do not fit each other.
    """
    if len(argv) > 1:
        raise UserError(
            argv[1], "unexpected argument", "every option starts with --, as in --workdir=runs/mine"
        )
    flag = flags.FLAGS[config.name]
    overrides = dict(config_flags.get_override_values(flag))
    has_config = Path(config_flags.get_config_filename(flag)) != _default_config()
    return Request(fields.freeze(config.value), overrides, has_config, _location(workdir))


def _default_config() -> Path:
    return configs_folder() / "default.py"


def _location(workdir: str) -> Path | str | None:
    if storage.is_remote(workdir):
        return workdir
    return Path(workdir).expanduser() if workdir else None


def for_run(request: Request, config: Config) -> Config:
    """Return a run's own configuration with `sample`, `evaluate`, `export` and `mesh` as the request has them.

    Where no config file was named, `sample` keeps the run's values but for the overrides. The mesh is the request's:
    the run may have been trained on other devices.

    Args:
      request: the parsed command line.
      config: the run's configuration; a note is printed where overrides of its other parts are ignored.

    Raises:
      UserError: a prediction that the run was not trained with, or a value that the schema refuses.
    """
    parts = ("mesh", "evaluate", "export", *(("sample",) if request.has_config else ()))
    values = {
        name: fields.value(request.config, name)
        for name in fields.fields()
        if name.startswith(_dotted(parts))
    }
    prediction = config.diffusion.prediction
    if (asked := request.overrides.get("diffusion.prediction", prediction)) != prediction:
        problem = f"{asked!r}, but the run was trained to predict {prediction!r}"
        raise UserError("diffusion.prediction", problem, "leave it out")
    used = _dotted(("sample", "evaluate", "export", "mesh", "data.cache"))
    values |= {name: value for name, value in request.overrides.items() if f"{name}.".startswith(used)}
    if ignored := [name for name in request.overrides if not f"{name}.".startswith(used)]:
        print(f"note: ignored, as the run keeps its own: {', '.join(ignored)}", flush=True)
    return fields.replace(config, values)


def _dotted(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{part}." for part in parts)


def may_write_cache(request: Request, config: Config) -> bool:
    """Return whether the request, and not a run's `config.json` alone, names the folder of decoded images."""
    return config.data.cache == request.config.data.cache


def _with_config_path(argv: list[str]) -> list[str]:
    """Write `--config x` as `--config=x`, a name as its file's path, and the default config where none is named."""
    joined: list[str] = []
    for arg in argv:
        if joined and joined[-1] in ("--config", "-config"):
            joined[-1] += f"={arg}"
        else:
            joined.append(arg)
    if joined[-1] in ("--config", "-config"):
        raise UserError("--config", "has no value", "name a file, as in --config=configs/ipf128.py")
    if not any(map(_CONFIG.fullmatch, joined)):
        joined.insert(1, f"--config={_default_config()}")
    return [f"--config={_config_path(match[1])}" if (match := _CONFIG.fullmatch(a)) else a for a in joined]


def _config_path(name: str) -> str:
    ready_made = configs_folder() / f"{name}.py"
    return (
        str(ready_made) if name.isidentifier() and not Path(name).is_file() and ready_made.is_file() else name
    )


def _import_configs() -> None:
    """Make `from configs import default` work in any config file, wherever the program was started."""
    if "configs" in sys.modules:
        return
    folder = configs_folder()
    spec = importlib.util.spec_from_file_location(
        "configs", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = sys.modules["configs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _check_config(name: str) -> None:
    where, path = f"--config={name}", Path(name)
    if not path.is_file():
        names = sorted(file.stem for file in configs_folder().glob("*.py") if file.stem != "__init__")
        fix = f"{did_you_mean(path.stem, names)}there are: {', '.join(names)}"
        raise UserError(where, "no such file", fix)
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config() if get_config else None
    except Exception as error:  # the file is the user's program: whatever it raises is a mistake in it
        raise UserError(where, f"fails with {type(error).__name__} ({error})", "correct the file") from error
    if get_config is None:
        raise UserError(where, "the file has no get_config()", "see configs/quickstart.py")
    if not isinstance(config, ConfigDict):
        raise UserError(where, "get_config() must return an ml_collections.ConfigDict")
    try:
        fields.freeze(config)
    except UserError as error:
        raise UserError(where, f"{error.where}: {error.problem}", error.fix) from error


def _check_overrides(argv: Sequence[str]) -> None:
    names = [match[1] for arg in argv[1:] if (match := _OVERRIDE.match(arg))]
    for name in names:
        fields.require_field(name)
        if names.count(name) > 1:
            raise UserError(name, "is given twice", "keep one of them")


def _wrong_value(error: flags.Error) -> UserError:
    text = " ".join(str(error).split())
    if (match := _WRONG_VALUE.fullmatch(text)) is None:
        return UserError("command line", text)
    if (field := fields.fields().get(match["where"])) is not None:
        fix = f"its default is {field.default!r}"
        return UserError(field.name, f"{match['value']!r} must {fields.kind_of(field)}", fix)
    if isinstance(flag := flags.FLAGS[match["where"]], flags.EnumFlag):
        known = flag.parser.enum_values
        fix = f"{did_you_mean(match['value'], known)}choose {', '.join(known)}"
        return UserError(f"--{flag.name}", f"{match['value']!r} is not known", fix)
    return UserError(f"--{flag.name}", f"{match['value']!r} is refused ({match['problem']})")
