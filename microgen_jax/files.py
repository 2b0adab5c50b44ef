"""Files are written whole: beside their place first, then renamed into it."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microgen_jax.errors import UserError


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a file, replacing what was there in one step.

    Args:
      path: path of the file; its folder is made.
      content: bytes to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(_beside(path), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(_beside(path), path)
    finally:
        _beside(path).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON.

    Args:
      path: path of the file.
      value: value to write.

    Raises:
      ValueError: a number is not finite.
    """
    content = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_bytes(path, content.encode())


def read_json(path: Path) -> Any:
    """Read a value that `write_json` wrote.

    Args:
      path: path of the file.

    Raises:
      UserError: the file is not there, cannot be read or holds no JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            str(path), f"cannot be read ({error.strerror})", "solve that and start again"
        ) from error
    except ValueError as error:
        raise UserError(
            str(path),
            f"cannot be read as JSON ({error})",
            "the run that wrote it is damaged: restore the file",
        ) from error


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder, replacing what was there in one step.

    What ended processes left half-written beside it is removed.

    Args:
      path: path of the folder.
      fill: function that writes into the fresh folder that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = _beside(path), path.with_name(f".{path.name}.{os.getpid()}.old")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.name.removeprefix(f".{path.name}.").removesuffix(".tmp")
        if pid.isdecimal() and (int(pid) == os.getpid() or not _is_alive(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir()
    try:
        fill(fresh)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(fresh, path)
        except OSError:
            os.replace(old, path)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def check_writable(folder: Path) -> None:
    """Refuse a work directory that cannot be made or written, leaving nothing behind.

    Args:
      folder: path of the work directory.

    Raises:
      UserError: it is a file, or permission is missing.
    """
    try:
        existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    except OSError as error:
        raise UserError(
            f"--workdir={str(folder)[:60]}...", f"{error.strerror}", "choose a shorter one"
        ) from error
    if not existing.is_dir():
        raise UserError(f"--workdir={folder}", f"{existing} is a file", "choose another folder")
    try:
        with tempfile.TemporaryDirectory(prefix=".microgen.", dir=existing):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={folder}", f"cannot write in {existing} ({error.strerror})", "choose another"
        ) from error
