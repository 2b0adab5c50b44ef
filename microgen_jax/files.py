"""Files are written whole: beside their place first, then renamed into it."""

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
    """Puts `content` at `path`, replacing what was there in one step."""
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
    """Puts `value` at `path` as indented JSON (NaN is refused)."""
    content = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_bytes(path, content.encode())


def read_json(path: Path) -> Any:
    """The value that `write_json` put there.

    Raises:
      UserError: no JSON there, or it cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except OSError as fault:
        raise UserError(f"{path} cannot be read ({fault.strerror}); mend that and start again") from fault
    except ValueError as fault:
        raise UserError(
            f"{path} cannot be read as JSON ({fault}); the run that wrote it is damaged"
        ) from fault


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write into a fresh folder, then puts that folder at `path`, replacing what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = _beside(path), path.with_name(f".{path.name}.{os.getpid()}.old")
    for left in path.parent.glob(f".{path.name}.*.tmp"):
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


def check_writable(folder: Path) -> None:
    """Refuses a work directory that cannot be made or written, leaving nothing behind.

    Raises:
      UserError: it is a file, or permission is missing.
    """
    try:
        existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    except OSError as fault:
        raise UserError(f"--workdir={str(folder)[:60]}...: {fault.strerror}; choose a shorter one") from fault
    if not existing.is_dir():
        raise UserError(f"--workdir={folder}: {existing} is a file; choose a folder")
    try:
        with tempfile.TemporaryDirectory(prefix=".microgen.", dir=existing):
            pass
    except OSError as fault:
        raise UserError(
            f"--workdir={folder}: cannot write in {existing} ({fault.strerror}); choose another"
        ) from fault
