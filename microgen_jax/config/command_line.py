"""From the command line to a request; whatever a person mistyped ends in one line and status 2."""

import errno
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

from microgen_jax.config import fields
from microgen_jax.config.schema import Config
from microgen_jax.errors import UserError, did_you_mean
from microgen_jax.runtime import distributed, storage

_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")
_OF_THE_DISK = (
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
_CONFIG = re.compile(r"--?config(?:=(.*))?")


@dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
      config: the config file's values with the overrides applied.
      overrides: `{'train.steps': 100}`, the fields set on the command line.
      has_config: whether a config file was named; if not, `config` is the default one.
      workdir: the run's folder; an address in an object store as text; None where none was named.
    """

    config: Config
    overrides: dict[str, Any]
    has_config: bool
    workdir: Path | str | None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Prints a `UserError`, or a disk's or device's refusal, as one line on standard error and exits with 2.

    Ctrl-C, where training does not take it as the wish to save and stop, is one line too, with status 130.
    """
    try:
        yield
    except distributed.ProcessError as error:
        _complain(str(error))
        os._exit(2)
    except UserError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(128 + signal.SIGINT)
    except MemoryError as fault:
        _refuse(f"out of memory ({fault}); lower what the configuration asks for, or end what else runs here")
    except OSError as fault:
        if fault.errno not in _OF_THE_DISK:
            raise
        where = fault.filename or "a file that was being written or read"
        _refuse(f"{where}: {fault.strerror}; mend it and start the same command again")
    except jax.errors.JaxRuntimeError as fault:
        if "RESOURCE_EXHAUSTED" not in str(fault):
            raise
        _refuse(
            f"out of device memory ({str(fault).splitlines()[0][:200]}); lower sample.batch_size, raise mesh.fsdp, "
            "or end what else uses the device (--mode=plan says what a model takes)"
        )


def hush_abandoned_reads() -> None:
    """Keeps off the screen what orbax's reads and writes have to say after one of their number has failed."""

    def heard(fault: Any) -> None:
        closed = isinstance(fault.exc_value, RuntimeError) and str(fault.exc_value) == "Event loop is closed"
        frames = traceback.extract_tb(fault.exc_traceback)
        if not closed and not any("orbax" in Path(frame.filename).parts for frame in frames):
            sys.__unraisablehook__(fault)

    sys.unraisablehook = heard


def _refuse(message: str) -> NoReturn:
    _complain(message)
    sys.exit(2)


def _complain(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def parse(argv: list[str], default: Path) -> list[str]:
    """absl's flags, parsed; a stand-in for `app.parse_flags_with_usage`.

    Args:
      argv: the command line, program first.
      default: the config file that is read where none is named, and whose fields every config must have.

    Returns:
      The arguments that are no flags, program first.

    Raises:
      UserError: a flag, a field or a value that cannot be.
    """
    argv = _joined(argv)
    named = [match[1] for arg in argv if (match := _CONFIG.fullmatch(arg))]
    if not named:
        argv = [argv[0], f"--config={default}", *argv[1:]]
    if not {"--help", "-help", "--helpfull", "--helpshort", "-h"} & set(argv):
        _check_config(named[-1] if named else str(default))
        _check_overrides(argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as fault:
        raise UserError(_absl_message(fault)) from fault
    except (TypeError, ValueError) as fault:
        raise UserError(f"a --config override has the wrong type: {fault}") from fault
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.FATAL
    return rest


def request(argv: list[str], config: flags.FlagHolder, workdir: str, default: Path) -> Request:
    """What the parsed flags ask for; naming the default config is naming none.

    Raises:
      UserError: arguments that are no flags.
    """
    if len(argv) > 1:
        raise UserError(
            f"unexpected argument {argv[1]!r}; every option starts with --, as in --workdir=runs/mine"
        )
    flag = flags.FLAGS[config.name]
    overrides = dict(config_flags.get_override_values(flag))
    has_config = Path(config_flags.get_config_filename(flag)) != default
    return Request(fields.freeze(config.value), overrides, has_config, _place(workdir))


def _place(workdir: str) -> Path | str | None:
    if storage.is_remote(workdir):
        return workdir
    return Path(workdir).expanduser() if workdir else None


def for_run(request: Request, config: Config) -> Config:
    """A run's own configuration with `sample`, `evaluate`, `export` and `mesh` as the request has them.

    Where no config file was named, `sample` keeps the run's values but for the overrides. The mesh is never the
    run's: it may have been trained on other devices.

    Raises:
      UserError: a prediction that the run was not trained with; what else is not of these parts is told and left.
        A value that cannot be.
    """
    parts = ("mesh", "evaluate", "export", *(("sample",) if request.has_config else ()))
    values = {
        name: fields.value(request.config, name)
        for name in fields.fields()
        if name.startswith(_dotted(parts))
    }
    prediction = config.diffusion.prediction
    if (asked := request.overrides.get("diffusion.prediction", prediction)) != prediction:
        raise UserError(
            "diffusion.prediction",
            f"{asked!r}: the run was trained to predict {prediction!r}",
            "leave it out",
        )
    used = _dotted(("sample", "evaluate", "export", "mesh", "data.cache"))
    values |= {name: value for name, value in request.overrides.items() if f"{name}.".startswith(used)}
    if ignored := [name for name in request.overrides if not f"{name}.".startswith(used)]:
        print(f"note: {', '.join(ignored)} stay as the run was trained", flush=True)
    return fields.replace(config, values)


def _dotted(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{part}." for part in parts)


def may_write_cache(request: Request, config: Config) -> bool:
    """Whether the command line names the folder for decoded images, not a run's `config.json` alone."""
    return config.data.cache == request.config.data.cache


def _joined(argv: list[str]) -> list[str]:
    """`--config x` as `--config=x`."""
    joined: list[str] = []
    for arg in argv:
        if joined and joined[-1] in ("--config", "-config"):
            joined[-1] += f"={arg}"
        else:
            joined.append(arg)
    if joined[-1] in ("--config", "-config"):
        raise UserError("--config needs a file, as in --config=configs/ipf128.py")
    return joined


def _load(path: Path) -> ConfigDict:
    try:
        return runpy.run_path(str(path))["get_config"]()
    except KeyError as fault:
        raise UserError(
            f"--config={path}: the file has no get_config(); see configs/quickstart.py"
        ) from fault
    except Exception as fault:
        raise UserError(f"--config={path} fails with {type(fault).__name__}: {fault}") from fault


def _check_config(name: str) -> None:
    path = Path(name)
    if not path.is_file():
        there = [str(p) for p in sorted(Path("configs").glob("*.py"))]
        raise UserError(
            f"--config={name}", "no such file", f"{did_you_mean(name, there)}there are: {', '.join(there)}"
        )
    config = _load(path)
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={name}", "get_config() must return an ml_collections.ConfigDict")
    try:
        fields.freeze(config)
    except UserError as error:
        raise UserError(f"--config={name}", f"{error.where} {error.problem}", error.fix) from error


def _check_overrides(argv: list[str]) -> None:
    names = [match[1] for arg in argv[1:] if (match := _OVERRIDE.match(arg))]
    groups = {field.split(".")[0] for field in fields.fields() if "." in field}
    for name in names:
        if name in groups:
            raise UserError(
                f"--config.{name}", "is a group of fields", "set one, as in --config.train.steps=100"
            )
        if name not in fields.fields():
            near = did_you_mean(name, fields.fields()).strip()
            raise UserError(f"--config.{name}", "there is no such field", near)
        if names.count(name) > 1:
            raise UserError(f"--config.{name}", "is given twice", "keep one of them")


def _absl_message(fault: flags.Error) -> str:
    message = " ".join(str(fault).split())
    return message.replace("Unknown command line flag", "there is no flag")
