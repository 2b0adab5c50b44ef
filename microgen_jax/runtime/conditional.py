"""One object of a store that is written and removed only while it is as its writer last saw it.

So that of two who saw the same thing only the first can replace it. S3 compares the ETag of what is there (`If-Match`),
Cloud Storage its generation (`ifGenerationMatch`); '' stands for "there is none".
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gcsfs import GCSFileSystem
    from s3fs import S3FileSystem

_NOT_AS_SEEN = ("PreconditionFailed", "ConditionalRequestConflict")


class Changed(Exception):
    """The object is not as its writer last saw it."""


@runtime_checkable
class Conditional(Protocol):
    """An object in some store."""

    def read(self) -> bytes:
        """What it holds; FileNotFoundError where it is not."""

    def version(self) -> str:
        """What changes whenever it is written; FileNotFoundError where it is not."""

    def write(self, content: bytes, seen: str) -> str:
        """Replaces the version that was seen, or raises `Changed`; gives the new version."""

    def remove(self, seen: str) -> None:
        """Removes the version that was seen, or raises `Changed`."""


class InS3:
    """An object of an S3 bucket."""

    def __init__(self, store: "S3FileSystem", place: str):
        self._store, self._place = store, place
        self._bucket, _, self._key = place.partition("/")

    def read(self) -> bytes:
        return self._store.cat_file(self._place)

    def version(self) -> str:
        return self._store.info(self._place)["ETag"]

    def write(self, content: bytes, seen: str) -> str:
        return self._call("put_object", Body=content, **({"IfMatch": seen} if seen else {"IfNoneMatch": "*"}))

    def remove(self, seen: str) -> None:
        self._call("delete_object", IfMatch=seen)

    def _call(self, method: str, **fields) -> str:
        try:
            done = self._store.call_s3(method, Bucket=self._bucket, Key=self._key, **fields)
        except FileNotFoundError as fault:
            if "IfMatch" not in fields:
                raise  # no such bucket
            raise Changed from fault
        except OSError as fault:
            said = getattr(fault.__cause__, "response", {}).get("Error", {})
            if said.get("Code") not in _NOT_AS_SEEN:
                raise
            raise Changed from fault
        return done.get("ETag", "")


class InCloudStorage:
    """An object of a Cloud Storage bucket."""

    def __init__(self, store: "GCSFileSystem", place: str):
        self._store, self._place = store, place
        self._bucket, _, self._name = place.partition("/")

    def read(self) -> bytes:
        return self._store.cat_file(self._place)

    def version(self) -> str:
        return self._store.info(self._place)["generation"]

    def write(self, content: bytes, seen: str) -> str:
        url = self._store.base.replace("/storage/v1/", "/upload/storage/v1/") + "b/{}/o"
        return self._call(
            "POST", url, self._bucket, seen, uploadType="media", name=self._name, data=content, json_out=True
        )["generation"]

    def remove(self, seen: str) -> None:
        self._call("DELETE", "b/{}/o/{}", self._bucket, self._name, seen)

    def _call(self, method: str, url: str, *parts: str, **fields):
        *parts, seen = parts
        try:
            return self._store.call(method, url, *parts, ifGenerationMatch=seen or "0", **fields)
        except FileExistsError as fault:  # gcsfs's name for 412, a condition that does not hold
            raise Changed from fault
        except FileNotFoundError as fault:
            if not seen:
                raise  # no such bucket
            raise Changed from fault
