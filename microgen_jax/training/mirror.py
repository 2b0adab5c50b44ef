"""A folder of this machine and its copy in an object store.

1. What is small is copied first, then one checkpoint after the other, the youngest first: its files, then the
   `_CHECKPOINT_METADATA` that makes it count. Then what has gone is removed, of a checkpoint this mark first. A step
   without its mark is no checkpoint to anyone who reads.
2. A store that does not answer holds nobody up: what it has not taken waits in the folder and is tried again.
3. A start takes whichever holds the younger checkpoint: the store, or the folder that a killed run has left here.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax.training import files, hosts
from microgen_jax.types import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MARK = "_CHECKPOINT_METADATA"
IDENTITY = "run.json"
LEASE = "lock.json"
EVERY = 20.0  # seconds between looks at the folder
PATIENCE = 300.0  # seconds that the end of a run waits for a store that does not answer
_ONLY_HERE = ("samples", "evaluation", "export", "damaged", "inspect")  # written, but needed by no start


class Mirror:
    """A folder of this machine and its copy in a store.

    Args:
      store: an fsspec file system.
      place: of the copy in it.
      url: what a person calls it.
      folder: on this machine.
    """

    def __init__(self, store: "AbstractFileSystem", place: str, url: str, folder: Path):
        self.folder, self._store, self._place, self._url = folder, store, place, url
        self._copied: dict[str, tuple[int, int]] = {}
        self._total = 0
        self._trouble = ""
        self._lost = threading.Event()

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Says of whatever goes wrong within, in one line, that the store cannot be used."""
        try:
            yield
        except UserError:
            raise
        except Exception as fault:
            raise UserError(
                f"{self._url} cannot be used ({_reason(fault)}); see that the bucket exists, that you may write to "
                "it and that the store answers"
            ) from fault

    def pull(self, skip: tuple[str, ...]) -> None:
        """Makes the folder what the store holds, but for the parts to skip and for checkpoints without their mark."""
        there = self._names()
        whole = _steps(there)
        for name in there:
            part, *inner = name.split("/")
            if part in skip or (part == "checkpoints" and inner[0] not in whole):
                continue
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.get_file(f"{self._place}/{name}", str(path))
            self._copied[name] = _stamp(path)

    def start(self) -> None:
        """Makes the folder hold the run's youngest checkpoint, from the store or from what was left here."""
        there = self._names()
        if self._left_behind(there):
            self._copied = {name: (-1, -1) for name in there if not name.startswith(_ONLY_HERE)}
            self._copied |= self._whole_in_both(there)
            hosts.say(f"going on with {self.folder}, which is ahead of {self._url}")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        torn = {name.split("/")[1] for name in there if name.startswith("checkpoints/")} - _steps(there)
        for step in torn:
            self._store.rm(f"{self._place}/checkpoints/{step}", recursive=True)
        self.pull(skip=_ONLY_HERE)

    def _whole_in_both(self, there: list[str]) -> dict[str, tuple[int, int] | None]:
        """Files of the checkpoints that have their mark and the same names in both places, with their stamps here."""
        here, same = _files(self.folder), {}
        for step in _steps(there) & _steps(here):
            ours = {name for name in here if _step(name) == step}
            if ours == {name for name in there if _step(name) == step}:
                same |= {name: _stamp(self.folder / name) for name in ours}
        return same

    def _left_behind(self, there: list[str]) -> bool:
        """Whether the folder is the same run's and is ahead of the store; another run's is moved out of the way."""
        if not (self.folder / IDENTITY).exists():
            return False
        ours, theirs = (self.folder / IDENTITY).read_bytes(), b""
        if IDENTITY in there:
            theirs = self._store.cat_file(f"{self._place}/{IDENTITY}")
        newest_here = max(map(int, _steps(_files(self.folder))), default=-1)
        if ours == theirs:
            return newest_here > max(map(int, _steps(there)), default=-1)
        if newest_here >= 0:
            aside = self.folder.with_name(f"{self.folder.name}.left-{uuid.uuid4().hex[:8]}")
            self.folder.rename(aside)
            hosts.say(
                f"note: {self._url} holds another run than was here last; that one's folder is now {aside}"
            )
        return False

    def push(self) -> None:
        """Copies what is new in the folder, and removes what has gone from it."""
        if (self.folder / "config.json").exists() and not (self.folder / IDENTITY).exists():
            files.write_json(self.folder / IDENTITY, {"id": uuid.uuid4().hex})
        here = {name: _stamp(self.folder / name) for name in _files(self.folder)}
        new = {name for name, stamp in here.items() if stamp and self._copied.get(name) != stamp}
        gone = {name for name in self._copied if name not in here}
        for name in sorted(name for name in new if not _step(name)):
            self._put(name)
        fresh = {_step(name) for name in new} - {""}
        for step in sorted(fresh, key=lambda step: (len(step), step), reverse=True):
            self._replace(f"checkpoints/{step}/", new, gone)
        for step in {_step(name) for name in gone} - fresh - {""}:
            self._remove(f"checkpoints/{step}/{MARK}")
        for name in sorted(gone):
            self._remove(name)

    def _replace(self, inside: str, new: set[str], gone: set[str]) -> None:
        mark = inside + MARK
        self._remove(mark)
        for name in sorted(name for name in new if name.startswith(inside) and name != mark):
            self._put(name)
        for name in sorted(name for name in gone if name.startswith(inside)):
            self._remove(name)
        if (self.folder / mark).exists():
            self._put(mark)

    def _put(self, name: str) -> None:
        self._check_ours()
        path = self.folder / name
        stamp = _stamp(path)
        if name.endswith(MARK) and any(
            self._copied.get(other) != _stamp(self.folder / other)
            for other in _files(path.parent, self.folder)
            if other != name
        ):
            return
        try:
            self._store.put_file(str(path), f"{self._place}/{name}")
        except FileNotFoundError:
            if path.exists():
                raise
            return
        self._copied[name], self._total = stamp, self._total + 1

    def _check_ours(self) -> None:
        if self._lost.is_set():
            raise UserError(
                f"{self._url} was taken over by another run; what this one did lies in {self.folder}"
            )

    def _remove(self, name: str) -> None:
        self._check_ours()
        if name in self._copied:
            with suppress(FileNotFoundError):
                self._store.rm_file(f"{self._place}/{name}")
            del self._copied[name]

    def _names(self) -> list[str]:
        try:
            found = self._store.find(self._place)
        except FileNotFoundError:
            return []
        names = [name.removeprefix(f"{self._place}/") for name in found]
        return [name for name in names if name != LEASE and not {"", ".", ".."} & set(name.split("/"))]

    @contextmanager
    def following(self, lost: threading.Event) -> Iterator[None]:
        """Copies what appears in the folder while the context lasts, and the rest of it at the end.

        Args:
          lost: set when another run has taken the place over; nothing is copied from then on.
        """
        over, self._lost = threading.Event(), lost
        thread = threading.Thread(target=self._follow, args=(over, lost), name="copying", daemon=True)
        thread.start()
        ended = False
        try:
            yield
            ended = True
        finally:
            over.set()
            thread.join()
            if not ended and not lost.is_set():
                self._attempt()
        self._check_ours()
        self.finish()

    def _follow(self, over: threading.Event, lost: threading.Event) -> None:
        while not over.wait(EVERY) and not lost.is_set():
            self._attempt()

    def _attempt(self) -> bool:
        """Copies, and says so where it fails, or works again."""
        try:
            self.push()
        except Exception as fault:
            reason = _reason(fault)
            if not self._trouble:
                hosts.say(f"warning: {self._url} does not take files ({reason}); they wait in {self.folder}")
            self._trouble = reason
            return False
        if self._trouble:
            hosts.say(f"{self._url} takes files again; nothing is missing there")
        self._trouble = ""
        return True

    def finish(self) -> None:
        """Copies what is left, with patience.

        Raises:
          UserError: the store has not taken it.
        """
        deadline, pause = time.monotonic() + PATIENCE, 1.0
        while not self._attempt():
            if time.monotonic() > deadline:
                raise UserError(
                    f"{self._url} has not taken everything ({self._trouble}); all of it is whole in {self.folder}: "
                    "start the same command again on this machine when the store answers, or copy it by hand"
                )
            time.sleep(pause)
            pause = min(2 * pause, EVERY)
        if self._total:
            hosts.say(f"copied: {self._url} ({self._total} files)")


def _files(folder: Path, root: Path | None = None) -> list[str]:
    """Names, relative to the root, of all files that are whole: not hidden and in no folder that is being written."""
    found = []
    for parent, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".") and "orbax-checkpoint-tmp" not in name]
        place = Path(parent).relative_to(root or folder)
        found += [(place / name).as_posix() for name in names if not name.startswith(".")]
    return found


def _steps(names: list[str]) -> set[str]:
    """The checkpoints among some files that have their mark."""
    parts = [name.split("/") for name in names]
    return {
        p[1] for p in parts if len(p) == 3 and p[0] == "checkpoints" and p[1].isdecimal() and p[2] == MARK
    }


def _step(name: str) -> str:
    """The checkpoint that a file belongs to, or ''."""
    part, *inner = name.split("/")
    return inner[0] if part == "checkpoints" and len(inner) > 1 else ""


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; None of a file that has gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _reason(fault: BaseException) -> str:
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text[:160]}" if text else type(fault).__name__
