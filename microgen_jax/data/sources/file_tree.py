"""A folder or a zip file as a flat table of the files in it, without ever leaving it.

Links are followed only to files inside the folder; linked folders are not entered, so that no loop
arises. Hidden files and the litter of operating systems are left out. Names are relative, with '/'
between their parts.
"""

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from microgen_jax.errors import UserError

LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
MAX_MEMBER_BYTES = 2**31
MAX_DEPTH = 32
# What Python's, numpy's and HDF5's readers raise of broken bytes, and h5py beside these.
BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
)
BROKEN_HDF5 = (*BROKEN, TypeError, AttributeError, SystemError)


class Tree(NamedTuple):
    """The files under a root.

    Attributes:
      name: name of the root itself, the last part of its path.
      files: size in bytes of each file by its name, sorted.
      folders: names of all folders, empty ones too.
      open: function that returns a file, by its name, as a seekable binary stream.
      refused: (name, reason) of what was found and not taken.
    """

    name: str
    files: dict[str, int]
    folders: tuple[str, ...]
    open: Callable[[str], BufferedIOBase]
    refused: tuple[tuple[str, str], ...]


def kinds_of(names: Iterable[str]) -> str:
    """Return the suffixes of files, each with how many have it, such as '.txt (3), .gif (1)'."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in names)
    return ", ".join(f"{suffix} ({count})" for suffix, count in counts.most_common())


def reason_of(error: BaseException) -> str:
    """Return the message of a library's error, short and on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:120] or type(error).__name__


def open_tree(root: Path) -> Tree:
    """List a folder, a zip file as the folder that it holds, or any other file as a folder of that one.

    Raises:
      UserError: no such root, a pipe or device, or a zip file that is broken.
    """
    if root.is_dir():
        return _folder(root)
    if not root.exists():
        raise no_such_root(root)
    if not root.is_file():
        raise UserError("root", f"{root} is no regular file", "give a file or a folder")
    if root.suffix.lower() == ".zip":
        return _zip(root)
    return Tree(root.stem, {root.name: root.stat().st_size}, (), partial(_open, str(root.parent)), ())


def no_such_root(root: Path | str) -> UserError:
    """Return the error of a root that does not exist."""
    if not str(root):
        return UserError("root", "is empty", "name a file or folder, as in --config.data.root=maps")
    return UserError("root", f"no such file or folder: {root}", "check the path")


def _folder(root: Path) -> Tree:
    files, folders, refused = {}, [], []
    real_root = os.path.realpath(root)
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError as error:
            refused.append((folder or ".", f"cannot be listed ({error.strerror})"))
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in LITTER:
                continue
            if entry.is_symlink() and (reason := _link_fault(entry.path, real_root)):
                refused.append((name, reason))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
                if depth < MAX_DEPTH:
                    waiting.append((name, depth + 1))
                else:
                    refused.append((name, f"more than {MAX_DEPTH} folders deep"))
            elif entry.is_file():
                files[name] = entry.stat().st_size
            else:
                refused.append((name, "no regular file"))
    return Tree(
        Path(real_root).name,
        dict(sorted(files.items())),
        tuple(sorted(folders)),
        partial(_open, str(root)),
        tuple(refused),
    )


def _link_fault(path: str, real_root: str) -> str:
    target = os.path.realpath(path)
    if os.path.isdir(target) or os.path.islink(target):
        return "a link to a folder or a loop of links: not followed"
    if not os.path.exists(target):
        return "a link that leads nowhere"
    if os.path.commonpath([target, real_root]) != real_root:
        return "a link to outside data.root: copy the file there"
    return ""


def _open(root: str, name: str) -> BufferedIOBase:
    return open(os.path.join(root, name), "rb")


def _zip(path: Path) -> Tree:
    try:
        members = _members(str(path), os.getpid())
    except BROKEN as error:
        raise UserError("root", f"{path} is not a zip file that can be read ({reason_of(error)})") from error
    files, folders, refused = {}, set(), []
    for name, member in members.items():
        parts = PurePosixPath(name).parts
        if any((part.startswith(".") and part != "..") or part in LITTER for part in parts) or not parts:
            continue
        if fault := _member_fault(name, member):
            refused.append((name, fault))
            continue
        folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
        if name.endswith("/"):
            folders.add("/".join(parts))
        else:
            files[name] = member.file_size
    return Tree(
        path.stem,
        dict(sorted(files.items())),
        tuple(sorted(folders)),
        partial(_open_member, str(path)),
        tuple(refused),
    )


def _member_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name with '/' between its parts, and in UTF-8 where a Mac wrote it without saying so."""
    name = member.filename.replace("\\", "/")
    if member.flag_bits & 0x800:  # the name is said to be UTF-8, APPNOTE 4.4.4
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _member_fault(name: str, member: zipfile.ZipInfo) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "a name that leads out of the zip file"
    if member.external_attr >> 16 & 0o170000 == 0o120000:
        return "a link: not followed"
    if member.flag_bits & 1:
        return "encrypted"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"{member.file_size:,} bytes when unpacked, more than {MAX_MEMBER_BYTES:,}"
    return ""


@lru_cache(maxsize=8)
def _archive(path: str, process: int) -> zipfile.ZipFile:
    """Return one handle per process, as a handle that is shared with a child loses its place in the file."""
    return zipfile.ZipFile(path)


@lru_cache(maxsize=8)
def _members(path: str, process: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip file by name; of several with one name the last."""
    return {_member_name(member): member for member in _archive(path, process).infolist()}


def _open_member(path: str, name: str) -> BufferedIOBase:
    try:
        return _archive(path, os.getpid()).open(_members(path, os.getpid())[name])
    except BROKEN as error:
        raise OSError(f"cannot be unpacked ({reason_of(error)})") from error
