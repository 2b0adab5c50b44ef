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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax import files
from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.runtime.lease import TakenOver

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MARK = "_CHECKPOINT_METADATA"
IDENTITY = "run.json"
LEASE = "lock.json"
EVERY = 20.0  # seconds between looks at the folder
PATIENCE = 300.0  # seconds that the end of a run waits for a store that does not answer
RESULTS = ("samples", "evaluation", "export", "inspect", "plan.json")  # of a run; no start needs them
_NO_START = (*RESULTS, "damaged")
_ROUNDS = 5  # of looking for checkpoints while those that were found are rotated away


class Mirror:
    """A folder of this machine and its copy in a store.

    Args:
      store: an fsspec file system.
      place: of the copy in it.
      url: what a person calls it.
      folder: on this machine.
      check: called before every change of the store; raises `TakenOver` where the place is another run's. None of
        who only reads: its results are copied and nothing else.
    """

    def __init__(
        self,
        store: "AbstractFileSystem",
        place: str,
        url: str,
        folder: Path,
        check: Callable[[], None] | None = None,
    ):
        self.folder, self._store, self._place, self._url = folder, store, place, url
        self._check, self._total = check, 0
        self._copied: dict[str, tuple[int, int] | None] = {}
        self._fault: Exception | None = None

    def pull(self, skip: tuple[str, ...]) -> None:
        """Makes the folder what the store holds, but for the parts to skip and for checkpoints without their mark.

        Checkpoints that are removed meanwhile are left out, with a warning; if none is left, the store is asked again.

        Raises:
          UserError: they go faster than they can be copied.
        """
        for _ in range(_ROUNDS):
            there = [name for name in self._names() if name.split("/")[0] not in skip]
            for name in there:
                if not name.startswith("checkpoints/"):
                    with suppress(FileNotFoundError):
                        self._get(name)
            stayed = [self._get_step(step, there) for step in sorted(_steps(there), key=int)]
            if any(stayed) or not stayed:
                return
        raise UserError(
            f"{self._url}: every checkpoint was removed while it was copied; raise train.keep, or wait for the run"
        )

    def _get_step(self, step: str, there: list[str]) -> bool:
        """Whether the checkpoint stayed until it was copied."""
        try:
            for name in there:
                if _step(name) == step:
                    self._get(name)
        except FileNotFoundError:
            distributed.log(
                f"warning: {self._url}/checkpoints/{step} was removed while it was copied; left out"
            )
            shutil.rmtree(self.folder / "checkpoints" / step)
            self._copied = {name: stamp for name, stamp in self._copied.items() if _step(name) != step}
            return False
        return True

    def _get(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store.get_file(f"{self._place}/{name}", str(path))
        self._copied[name] = _stamp(path)

    def start(self) -> None:
        """Makes the folder hold the run's youngest checkpoint, from the store or from what was left here."""
        there = self._names()
        if self._left_behind(there):
            self._drop_half_deleted(there)
            self._copied = {name: (-1, -1) for name in there if not name.startswith(_NO_START)}
            self._copied |= self._whole_in_both(there)
            distributed.log(f"going on with {self.folder}, which is ahead of {self._url}")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        torn = {name.split("/")[1] for name in there if name.startswith("checkpoints/")} - _steps(there)
        for step in torn:
            self._store.rm(f"{self._place}/checkpoints/{step}", recursive=True)
        self.pull(skip=_NO_START)

    def _drop_half_deleted(self, there: list[str]) -> None:
        """Removes what a run that was killed while it removed a checkpoint has left of it here."""
        here = _files(self.folder)
        for step in _steps(here):
            ours, theirs = ({name for name in names if _step(name) == step} for names in (here, there))
            if ours < theirs:
                shutil.rmtree(self.folder / "checkpoints" / step)

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
        ours = theirs = b""  # of a run that was killed before its first copy
        if (self.folder / IDENTITY).exists():
            ours = (self.folder / IDENTITY).read_bytes()
        if IDENTITY in there:
            theirs = self._store.cat_file(f"{self._place}/{IDENTITY}")
        newest_here = max(map(int, _steps(_files(self.folder))), default=-1)
        if ours == theirs:
            return newest_here > max(map(int, _steps(there)), default=-1)
        if newest_here >= 0:
            aside = self.folder.with_name(f"{self.folder.name}.left-{uuid.uuid4().hex[:8]}")
            self.folder.rename(aside)
            distributed.log(
                f"note: {self._url} holds another run than was here last; that one's folder is now {aside}"
            )
        return False

    def push(self) -> None:
        """Copies what is new in the folder, and removes what has gone from it."""
        self._ask()
        ours = self._check is not None
        if ours and (self.folder / "config.json").exists() and not (self.folder / IDENTITY).exists():
            files.write_json(self.folder / IDENTITY, {"id": uuid.uuid4().hex})
        here = {name: _stamp(self.folder / name) for name in _files(self.folder)}
        new = {name for name, stamp in here.items() if stamp and self._copied.get(name) != stamp}
        gone = {name for name in self._copied if name not in here}
        if not ours:
            new, gone = ({name for name in names if name.split("/")[0] in RESULTS} for names in (new, gone))
        for name in sorted(name for name in new if not _step(name)):
            self._put(name)
        fresh = {_step(name) for name in new} - {""}
        for step in sorted(fresh, key=lambda step: (len(step), step), reverse=True):
            self._replace(f"checkpoints/{step}/", new, gone)
        for mark in {f"checkpoints/{step}/{MARK}" for step in {_step(name) for name in gone} - fresh - {""}}:
            self._remove(mark)
            if mark in here:  # of one that is half deleted: it counts again when it is written anew
                self._copied[mark] = here[mark]
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
        path = self.folder / name
        stamp = _stamp(path)
        if name.endswith(MARK) and any(
            self._copied.get(other) != _stamp(self.folder / other)
            for other in _files(path.parent, self.folder)
            if other != name
        ):
            return
        self._ask()
        try:
            self._store.put_file(str(path), f"{self._place}/{name}")
        except FileNotFoundError:
            if path.exists():
                raise
            return
        self._copied[name], self._total = stamp, self._total + 1

    def _ask(self) -> None:
        if self._check is not None:
            self._check()

    def _remove(self, name: str) -> None:
        if name in self._copied:
            self._ask()
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
    def following(self) -> Iterator[None]:
        """Copies what appears in the folder while the context lasts, and the rest of it at the end.

        Raises:
          UserError: the store has not taken it, or another run has taken the place over; nothing is copied from
            then on.
        """
        over = threading.Event()
        thread = threading.Thread(target=self._follow, args=(over,), name="copying", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            over.set()
            thread.join()
            with suppress(TakenOver):
                self._attempt()
            raise
        over.set()
        thread.join()
        self.finish()

    def _follow(self, over: threading.Event) -> None:
        with suppress(TakenOver):
            while not over.wait(EVERY):
                self._attempt()

    def _attempt(self) -> bool:
        """Copies, and says so where it fails, or works again."""
        try:
            self.push()
        except TakenOver as fault:
            raise TakenOver(f"{fault}; what this one did lies in {self.folder}") from fault
        except Exception as fault:
            if not self._fault:
                distributed.log(
                    f"warning: {self._url} does not take files ({reason(fault)}); they wait in {self.folder}"
                )
            self._fault = fault
            return False
        if self._fault:
            distributed.log(f"{self._url} takes files again; nothing is missing there")
        self._fault = None
        return True

    def finish(self) -> None:
        """Copies what is left, with patience.

        Raises:
          UserError: the store has not taken it, or another run has taken the place over.
        """
        deadline, pause = time.monotonic() + PATIENCE, 1.0
        while not self._attempt():
            if time.monotonic() > deadline or _is_refusal(self._fault):
                again = "start the same command again on this machine when the store answers, or "
                raise UserError(
                    f"{self._url} has not taken everything ({reason(self._fault)}); all of it is whole in "
                    f"{self.folder}: {again if self._check else ''}copy it by hand"
                )
            time.sleep(pause)
            pause = min(2 * pause, EVERY)
        if self._total:
            distributed.log(f"copied: {self._url} ({self._total} files)")


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


def _is_refusal(fault: BaseException | None) -> bool:
    """Whether there is no such bucket or one may not write to it, which gcsfs says in words; waiting mends neither."""
    return isinstance(fault, (PermissionError, FileNotFoundError)) or str(fault).startswith("Forbidden")


def reason(fault: BaseException | None) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text[:160]}" if text else type(fault).__name__
