"""Work directories in an object store: `gs://bucket/run` and `s3://bucket/run`.

orbax writes to gs:// and not to s3://, and neither can append to a log. So a run works in a folder of this machine,
which `mirror` copies to the store while it trains, and `lease` keeps other machines out.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed, lease, lock, mirror
from microgen_jax.runtime.conditional import Conditional, InCloudStorage, InS3
from microgen_jax.runtime.mirror import Mirror

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
def opened(workdir: Path | str | None, owning: bool = False) -> Iterator[Path | None]:
    """The folder to work in: the work directory itself, or one that stands for an object store's.

    Args:
      workdir: of the run; an address of a store as text.
      owning: the run itself is written there: nobody else may, and what appears is copied meanwhile. Otherwise the
        folder is a copy for this once, and results that were added to it are copied to the store at the end.

    Raises:
      UserError: the store cannot be reached or is in use, or has not taken everything at the end.
    """
    if workdir is None or isinstance(workdir, Path):
        yield workdir
        return
    if distributed.is_multi_process():
        raise UserError(
            f"--workdir={workdir}: one process only; give several of them a folder that all see (NFS, Lustre, "
            "Filestore, FSx; see docs/launch/README.md) and copy it to the store afterwards"
        )
    store, place = _connect(workdir)
    with (_owned if owning else _borrowed)(store, place, workdir) as folder:
        yield folder


@contextmanager
def _owned(store: "AbstractFileSystem", place: str, url: str) -> Iterator[Path]:
    with ExitStack() as stack:
        with _reaching(url):
            parent = _cache(url, place, _endpoint(store))
            with _called(parent, url):
                stack.enter_context(lock.hold(parent))
            held = stack.enter_context(lease.hold(_conditional(store, f"{place}/{mirror.LEASE}"), url))
            run = Mirror(store, place, url, parent / _last(place), held.check)
            run.start()
        with run.following(), _called(run.folder, url):
            yield run.folder


@contextmanager
def _borrowed(store: "AbstractFileSystem", place: str, url: str) -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="microgen."))
    copy = Mirror(store, place, url, parent / _last(place))
    try:
        with _reaching(url):
            copy.pull(skip=("damaged", "tensorboard"))
    except BaseException:
        shutil.rmtree(parent)
        raise
    try:
        with _called(copy.folder, url):
            yield copy.folder
    finally:
        copy.finish()
        shutil.rmtree(parent)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Says of whatever goes wrong within, in one line, that the store cannot be used."""
    try:
        yield
    except UserError:
        raise
    except Exception as fault:
        raise UserError(
            f"{url} cannot be used ({mirror.reason(fault)}); see that the bucket exists, that you may write to "
            "it and that the store answers"
        ) from fault


@contextmanager
def _called(folder: Path, url: str) -> Iterator[None]:
    """What a person is told of the folder names the address that it stands for."""
    try:
        yield
    except UserError as fault:
        raise type(fault)(str(fault).replace(str(folder), url)) from fault


def _connect(url: str) -> tuple["AbstractFileSystem", str]:
    scheme, _, place = url.rstrip("/").partition("://")
    if "/" not in place or not all(place.split("/")) or {".", ".."} & set(place.split("/")):
        raise UserError(
            f"--workdir={url}: name a bucket and a folder in it, as in {scheme}://bucket/runs/mine"
        )
    try:
        import fsspec

        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False), place
    except ImportError as fault:
        raise UserError(f"--workdir={url} needs {SCHEMES[scheme]}: pip install -e '.[remote]'") from fault


def _conditional(store: "AbstractFileSystem", place: str) -> Conditional:
    return InS3(store, place) if "s3" in store.protocol else InCloudStorage(store, place)


def _endpoint(store: "AbstractFileSystem") -> str:
    """The server, or '' for Amazon's (one for every region, and no bucket's name twice) and Google's own."""
    endpoint = store.s3.meta.endpoint_url if "s3" in store.protocol else store.base
    return "" if re.search(r"\.(amazonaws|googleapis)\.com(/|$)", endpoint) else endpoint


def _cache(url: str, place: str, endpoint: str) -> Path:
    """A folder of this machine for this address at this server, and no other's.

    Raises:
      UserError: it cannot be made.
    """
    digest = hashlib.sha256(f"{url.partition('://')[0]} {endpoint} {place}".encode()).hexdigest()[:12]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microgen_jax" / "remote"
    folder = root / f"{_last(place)[:80]}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"--workdir={url} is kept on this machine too, and {folder} cannot be made ({fault.strerror}); set "
            "XDG_CACHE_HOME"
        ) from fault
    return folder


def _last(place: str) -> str:
    return place.rpartition("/")[2]
