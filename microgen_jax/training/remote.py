"""Work directories in an object store: `gs://bucket/run` and `s3://bucket/run`.

orbax writes to gs:// and not to s3://, and neither can append to a log. So a run works in a folder of this machine,
which `mirror` copies to the store while it trains, and `lease` keeps other machines out.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax.training import hosts, lease, mirror
from microgen_jax.training.mirror import Mirror
from microgen_jax.types import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SCHEMES = {"gs": "gcsfs", "s3": "s3fs"}


def is_remote(workdir: str) -> bool:
    """Whether this names an object store.

    Raises:
      UserError: it names something else that is no folder.
    """
    scheme, colon, _ = workdir.partition("://")
    if colon and scheme not in SCHEMES:
        raise UserError(
            f"--workdir={workdir}: only folders, gs://bucket/run and s3://bucket/run can be written to"
        )
    return bool(colon)


@contextmanager
def opened(workdir: Path | str | None, training: bool = False) -> Iterator[Path | None]:
    """The folder to work in: the work directory itself, or one that stands for an object store's.

    Args:
      workdir: of the run; an address of a store as text.
      training: the run goes on there: nobody else may, and what it writes is copied while it is written. Otherwise
        the folder is a copy for this once, and what was added to it is copied to the store at the end.

    Raises:
      UserError: the store cannot be reached or is in use, or has not taken everything at the end.
    """
    if workdir is None or isinstance(workdir, Path):
        yield workdir
        return
    if hosts.several():
        raise UserError(
            f"--workdir={workdir}: several processes need a folder that all of them see; mount the bucket (Cloud "
            "Storage FUSE, Mountpoint for S3), or use a shared file system"
        )
    store, place = _connect(workdir)
    if training:
        run = Mirror(store, place, workdir, _folder_for(workdir))
        with ExitStack() as stack:
            with run.reaching():
                lost = stack.enter_context(lease.hold(store, f"{place}/{mirror.LEASE}", workdir))
                run.start()
            with run.following(lost), _called(run.folder, workdir):
                yield run.folder
        return
    parent = tempfile.mkdtemp(prefix="microgen.")
    copy = Mirror(store, place, workdir, Path(parent) / place.rpartition("/")[2])
    try:
        with copy.reaching():
            copy.pull(skip=("damaged", "tensorboard"))
    except UserError:
        shutil.rmtree(parent)
        raise
    try:
        with _called(copy.folder, workdir):
            yield copy.folder
    finally:
        copy.finish()
        shutil.rmtree(parent)


@contextmanager
def _called(folder: Path, url: str) -> Iterator[None]:
    """What a person is told of the folder names the address that it stands for."""
    try:
        yield
    except UserError as fault:
        raise type(fault)(str(fault).replace(str(folder), url)) from fault


def _connect(url: str) -> tuple["AbstractFileSystem", str]:
    scheme, _, place = url.rstrip("/").partition("://")
    if "/" not in place or not all(place.split("/")) or ".." in place.split("/"):
        raise UserError(
            f"--workdir={url}: name a bucket and a folder in it, as in {scheme}://bucket/runs/mine"
        )
    try:
        import fsspec

        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False), place
    except ImportError as fault:
        raise UserError(
            f"--workdir={url} needs {SCHEMES[scheme]}: pip install 'microgen-jax[remote]'"
        ) from fault


def _folder_for(url: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "microgen_jax" / "remote" / url.replace("://", "/")
