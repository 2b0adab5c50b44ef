"""Work directories in an object store: `gs://bucket/run` and `s3://bucket/run`; see `Store` for what goes where."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed
from microgen_jax.runtime.store import Store, reaching, reason

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SCHEMES = {"gs": "gcsfs", "s3": "s3fs"}
_stores: dict[Path, Store] = {}  # by scratch folder, while they are open


def is_remote(workdir: str) -> bool:
    """Return whether this names an object store.

    Args:
      workdir: folder or address.

    Raises:
      UserError: it names something else that is no folder.
    """
    scheme, colon, _ = workdir.partition("://")
    if colon and scheme not in SCHEMES:
        raise UserError(
            f"--workdir={workdir}",
            "is neither a folder nor a gs:// or s3:// address",
            "use one, as in gs://bucket/runs/mine",
        )
    return bool(colon)


def store_of(folder: Path) -> Store | None:
    """Return the store that a scratch folder stands for; None of a folder that is a work directory itself."""
    return _stores.get(folder)


@contextmanager
def opened(
    workdir: Path | str | None, owning: bool = False, with_samples: bool = False
) -> Iterator[Path | None]:
    """Give the folder to work in: the work directory itself, or a scratch folder that stands for an address.

    Args:
      workdir: work directory of the run; an address of a store as text.
      owning: whether a run is written there. Otherwise only new results are uploaded, at the end.
      with_samples: whether samples that lie in the store are read.

    Raises:
      UserError: the store cannot be used, or has not taken everything at the end.
    """
    if workdir is None or isinstance(workdir, Path):
        yield workdir
        return
    with distributed.broadcast_errors():
        store = _open(workdir.rstrip("/"), owning, with_samples)
    _stores[store.folder] = store
    try:
        with _named_by_address(store):
            yield store.folder
    except BaseException:
        with suppress(Exception):  # what was raised says more
            store.finish()
        raise
    else:
        _finish(store)
    finally:
        del _stores[store.folder]
        shutil.rmtree(store.folder.parent, ignore_errors=True)


def _open(url: str, owning: bool, with_samples: bool) -> Store:
    if url.startswith("s3://") and distributed.is_multi_process():
        raise UserError(
            f"--workdir={url}", "is for one process only", "use gs://, or a folder that all processes see"
        )
    files = _connect(url)
    folder = Path(tempfile.mkdtemp(prefix="microgen.")) / url.rpartition("/")[2]
    folder.mkdir()
    try:
        with reaching(f"--workdir={url}"):
            store = Store(url, folder, owning, files)
            store.download(with_samples)
    except BaseException:
        shutil.rmtree(folder.parent)
        raise
    return store


def _finish(store: Store) -> None:
    """Upload what is new; what the store does not take is kept on this machine."""
    try:
        number = store.finish()
    except UserError:
        raise
    except Exception as fault:  # of fsspec, aiohttp, botocore or requests
        kept = Path(tempfile.mkdtemp(prefix="microgen.kept.")) / store.folder.name
        store.folder.rename(kept)
        raise UserError(
            store.url,
            f"has not taken everything ({reason(fault)})",
            f"it is whole in {kept}: copy it by hand",
        ) from fault
    if number:
        distributed.log(f"uploaded: {store.url} ({number} files)")


@contextmanager
def _named_by_address(store: Store) -> Iterator[None]:
    """Let errors of files in the scratch folder name the address."""
    try:
        yield
    except UserError as error:
        for sign in ("", "--workdir="):
            if error.where.startswith(start := f"{sign}{store.folder}"):
                raise error.at(f"{sign}{store.url}{error.where[len(start) :]}") from error
        raise


def _connect(url: str) -> "AbstractFileSystem":
    scheme, _, place = url.partition("://")
    if "/" not in place or not all(place.split("/")) or {".", ".."} & set(place.split("/")):
        raise UserError(
            f"--workdir={url}", "names no folder in a bucket", f"write {scheme}://bucket/runs/mine, say"
        )
    if set("[]*?#") & set(place):
        raise UserError(
            f"--workdir={url}",
            "holds one of [ ] * ? #",
            "leave them out: the stores' libraries read patterns there",
        )
    try:
        import fsspec
        from fsspec.config import conf

        for name in (scheme, "gcs"):  # orbax writes beside fsspec, which must not remember its listings
            conf.setdefault(name, {})["use_listings_cache"] = False
        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as fault:
        raise UserError(
            f"--workdir={url}", f"needs {SCHEMES[scheme]}", "pip install 'microgen-jax[remote]'"
        ) from fault
