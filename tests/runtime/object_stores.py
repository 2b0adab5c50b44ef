"""Object stores on this machine: moto for s3://, gcp-storage-emulator for gs://, and faults before the first."""

import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple
from unittest.mock import patch

import fsspec
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Faults:
    """A WSGI application before another: while `kind` is set, writes are answered with 500 or 403, or not at all.

    Requests are passed on one by one, as moto compares and writes in two steps and S3 in one.
    """

    def __init__(self, inner):
        self._inner, self.kind, self.met, self._one = inner, "", 0, threading.Lock()

    def __call__(self, environ, answer):
        if self.kind and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            self.met += 1
            if self.kind == "drops":
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            text = DENIED if self.kind == "403" else b""
            status = "403 Forbidden" if text else "500 Internal Server Error"
            answer(status, [("Content-Length", str(len(text)))])
            return [text]
        with self._one:
            return self._inner(environ, answer)


class Store(NamedTuple):
    """An object store that runs.

    Attributes:
      url: of a bucket.
      environment: that leads to it.
      faults: before it, or None.
    """

    url: str
    environment: dict[str, str]
    faults: Faults | None


@contextmanager
def s3() -> Iterator[Store]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    bucket = f"bucket-{uuid.uuid4().hex}"  # moto's buckets outlive its servers
    login = {"key": "test", "secret": "test", "endpoint_url": environment["AWS_ENDPOINT_URL"]}
    fsspec.filesystem("s3", **login, skip_instance_cache=True).mkdir(bucket)
    try:
        yield Store(f"s3://{bucket}", environment, faults)
    finally:
        server.shutdown()


def _with_generations(handle: Callable) -> Callable:
    """The emulator's handler of a request, which passes over `ifGenerationMatch`, with a look at it before."""
    from gcp_storage_emulator.exceptions import NotFound

    def handled(request, response, storage, *args, **kwargs):
        wanted = request.query.get("ifGenerationMatch")
        name = request.params.get("object_id") or request.query.get("name", [""])[0]
        if wanted and name:
            try:
                there = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
            except NotFound:
                there = "0"
            if wanted != [there]:
                response.status = HTTPStatus.PRECONDITION_FAILED
                return None
        return handle(request, response, storage, *args, **kwargs)

    return handled


@contextmanager
def gs() -> Iterator[Store]:
    from gcp_storage_emulator import server as emulator

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    heeding = [
        (path, {method: _with_generations(handle) for method, handle in handlers.items()})
        for path, handlers in emulator.HANDLERS
    ]
    with patch.object(emulator, "HANDLERS", heeding):
        yield from _served(
            emulator.create_server("localhost", port, in_memory=True, default_bucket="bucket"), port
        )


def _served(server, port: int) -> Iterator[Store]:
    server.start()
    try:
        yield Store("gs://bucket", {"STORAGE_EMULATOR_HOST": f"http://localhost:{port}"}, None)
    finally:
        server.stop()
