"""One run in an object store, and the scratch folder of this machine that stands for it.

A checkpoint in gs:// is written and read by orbax itself, from any number of processes; it counts once orbax has put
its mark, `commit_success.txt`. orbax refuses s3://: there one process writes it in the scratch folder and puts it, its
mark last, and a reader downloads the one that it reads. Everything else is written in the scratch folder and uploaded
whole with each checkpoint and at the end.

The newest start owns the address: it writes `run.json`, and a run that finds another's there before a checkpoint stops.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed, lock

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MARK = "commit_success.txt"
OWNER = "run.json"
_WRITERS_READ = ("config.json", "metrics.jsonl", "progress")
_READERS_READ = ("config.json", "evaluation/metrics.json")
_READERS_WRITE = ("samples", "edits", "evaluation", "export", "inspect", "plan.json")
_NOT_UPLOADED = ("checkpoints", "damaged")  # the first go by `publish`


class Store:
    """An address of an object store and its scratch folder.

    Args:
      url: address of the run.
      folder: scratch folder of this process.
      owning: whether a run is written there, and not only results beside it.
      files: file system of the store.
    """

    def __init__(self, url: str, folder: Path, owning: bool, files: "AbstractFileSystem"):
        self.url, self.folder, self.orbax_writes = url, folder, url.startswith("gs://")
        self._files, self._place = files, url.partition("://")[2]
        self._owning, self._id = owning, ""
        self._sent: dict[str, tuple[int, int]] = {}

    def download(self, with_samples: bool = False) -> None:
        """Fill the scratch folder with what a command reads; of s3:// checkpoints that are only read, what lists them.

        Args:
          with_samples: whether the samples are among it.
        """
        wanted = (
            *(_WRITERS_READ if self._owning else _READERS_READ),
            *(("samples",) if with_samples else ()),
        )
        names = set(self._names())
        for name in sorted(names):
            kind, _, inside = name.partition("/")
            if kind != "checkpoints":
                if any(name == place or name.startswith(f"{place}/") for place in wanted):
                    self._get(name)
                continue
            (self.folder / kind).mkdir(exist_ok=True)
            step, _, inside = inside.partition("/")
            if self.orbax_writes or f"{kind}/{step}/{MARK}" not in names:
                continue
            if self._owning or not inside.startswith("state/"):
                self._get(name)

    def fetch(self, step: int) -> None:
        """Download what is not here yet of a checkpoint that orbax cannot read in the store.

        Args:
          step: number of the checkpoint.

        Raises:
          UserError: the store does not give it.
        """
        if self.orbax_writes:
            return
        with reaching(self.url):
            for name in self._names(f"checkpoints/{step}"):
                if not (self.folder / name).exists():
                    self._get(name)

    def claim(self) -> None:
        """Make this run the owner of the address, and name the one that it replaces.

        Raises:
          UserError: the store does not answer, or may not be written.
        """
        with reaching(self.url):
            before = self._owner()
            if before:
                distributed.log(
                    f"note: {self.url} was last written by {lock.describe(before)}; if it still runs, it stops at its "
                    "next checkpoint"
                )
            self._id = uuid.uuid4().hex
            content = {"id": self._id, **lock.this_process(), "replaced": before.get("id")}
            self._files.pipe_file(f"{self._place}/{OWNER}", json.dumps(content).encode())

    def check_owner(self) -> None:
        """Refuse to write where another run has started since.

        Raises:
          UserError: it has, and the line names it; or the store does not answer.
        """
        with reaching(self.url):
            found = self._owner()
        if self._id and found and found.get("id") != self._id:
            raise UserError(
                self.url,
                f"was taken over by {lock.describe(found)}",
                "this run stops; nothing of the other was changed",
            )

    def _owner(self) -> dict:
        """Return what the owner wrote of itself; nothing where there is none, or where it cannot be understood."""
        try:
            found = json.loads(self._files.cat_file(f"{self._place}/{OWNER}"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def publish(self, step: int, written: Path | None) -> None:
        """Upload the logs and, where orbax does not write in the store, a whole checkpoint.

        Args:
          step: number of the checkpoint.
          written: folder of this machine that holds it; None where orbax wrote it in the store.

        Raises:
          UserError: another run owns the address by now.
        """
        self.check_owner()
        try:
            self.upload()
        except Exception as fault:  # of fsspec, aiohttp or botocore; the next checkpoint uploads them again
            distributed.log(f"warning: logs were not uploaded to {self.url} ({reason(fault)})")
        if written is not None:
            self._put_checkpoint(step, written)

    def _put_checkpoint(self, step: int, written: Path) -> None:
        """Put a checkpoint, its mark last, and remove from the store those that are no longer here."""
        place = f"checkpoints/{step}"
        self.remove(place)
        for name in sorted(set(_stamps(written)) - {MARK}):
            self._files.put_file(str(written / name), f"{self._place}/{place}/{name}")
        self.check_owner()
        self._files.pipe_file(f"{self._place}/{place}/{MARK}", b"")
        here = {path.name for path in (self.folder / "checkpoints").iterdir()}
        there = {name.split("/")[1] for name in self._names("checkpoints")}
        for old in there - here - {str(step)}:
            self.remove(f"checkpoints/{old}")

    def remove(self, place: str) -> None:
        """Remove what lies under a place, a checkpoint's mark first.

        Args:
          place: folder, relative to the address.
        """
        for name in sorted(self._names(place), key=lambda name: not name.endswith(f"/{MARK}")):
            with suppress(FileNotFoundError):
                self._files.rm_file(f"{self._place}/{name}")

    def set_aside(self, step: int) -> None:
        """Move a checkpoint to `damaged/<step>`, replacing what was there.

        Args:
          step: number of the checkpoint.

        Raises:
          UserError: the store refuses.
        """
        place, target = f"checkpoints/{step}", f"damaged/{step}"
        with reaching(self.url):
            self.remove(target)
            for name in self._names(place):
                self._files.cp_file(
                    f"{self._place}/{name}", f"{self._place}/{target}{name.removeprefix(place)}"
                )
            self.remove(place)

    def finish(self) -> int:
        """Upload what is new at the end and return how many files that were; only process 0 does.

        Raises:
          UserError: another run owns the address by now.
        """
        if not distributed.is_process_0():
            return 0
        if self._id:
            self.check_owner()
        return self.upload()

    def upload(self) -> int:
        """Upload, whole, every file that is new or changed, of a run or of results only; return how many."""

        def belongs(name: str) -> bool:
            kind = name.split("/")[0]
            return kind not in _NOT_UPLOADED if self._owning else kind in _READERS_WRITE

        here = {name: stamp for name, stamp in _stamps(self.folder).items() if belongs(name)}
        new = sorted(name for name, stamp in here.items() if self._sent.get(name) != stamp)
        for name in new:
            self._files.put_file(str(self.folder / name), f"{self._place}/{name}")
            self._sent[name] = here[name]
        for folder in {_result(name) for name in new} - {""}:
            for name in set(self._names(folder)) - set(here):
                self._files.rm_file(f"{self._place}/{name}")
        return len(new)

    def _get(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        self._files.get_file(f"{self._place}/{name}", str(part))
        shutil.move(part, path)
        self._sent[name] = _stamp(path)

    def _names(self, under: str = "") -> list[str]:
        """Return the files under a place by their names in the folder; none that would lead out of it."""
        try:
            found = self._files.find(f"{self._place}/{under}".rstrip("/"))
        except FileNotFoundError:
            return []
        names = [name.removeprefix(f"{self._place}/") for name in found]
        return [name for name in names if not {"", ".", ".."} & set(name.split("/"))]


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn whatever a store's libraries raise within into one error line.

    Args:
      url: address of the run.

    Raises:
      UserError: something was raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as fault:  # of fsspec, aiohttp, botocore, requests or google.auth
        raise UserError(
            url,
            f"cannot be used ({reason(fault)})",
            "see that the bucket exists, that you may write to it and that the store answers",
        ) from fault


def reason(fault: BaseException) -> str:
    """Return what went wrong, in one line."""
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text[:160]}" if text else type(fault).__name__


def _result(name: str) -> str:
    """Return the folder of a result that is replaced as a whole, such as samples/default; '' of other files."""
    parts = name.split("/")
    if parts[0] in ("evaluation", "inspect") and len(parts) > 1:
        return parts[0]
    return "/".join(parts[:2]) if parts[0] in ("samples", "edits", "export") and len(parts) > 2 else ""


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file that is not hidden, by its name in the folder."""
    found = {}
    for parent, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in (Path(parent) / name for name in names if not name.startswith(".")):
            with suppress(FileNotFoundError):
                found[path.relative_to(folder).as_posix()] = _stamp(path)
    return found


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns
