"""moto's S3 on this machine, behind a counter of requests and bytes that fails a chosen request."""

import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import fsspec
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

STATUS = {"403": "403 Forbidden", "500": "500 Internal Server Error"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Objects:
    """What one bucket holds.

    Attributes:
      url: address of the bucket.
      environment: variables that lead to it.
      read: bytes that were sent, by name.
      requests: how many were received.
      fails: `(number, method) -> '' | '500' | '403' | 'drops'`, asked before each request.
    """

    def __init__(self, port: int, inner: Callable):
        self.bucket, self._inner, self._one = f"bucket-{uuid.uuid4().hex}", inner, threading.Lock()
        self.url = f"s3://{self.bucket}"
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.requests, self.read = 0, {}
        self.fails: Callable[[int, str], str] = lambda number, method: ""
        login = {"key": "test", "secret": "test", "endpoint_url": self.environment["AWS_ENDPOINT_URL"]}
        self._files = fsspec.filesystem("s3", **login, skip_instance_cache=True, use_listings_cache=False)

    def names(self) -> list[str]:
        return sorted(name.partition("/")[2] for name in self._files.find(self.bucket))

    def get(self, name: str) -> bytes:
        return self._files.cat_file(f"{self.bucket}/{name}")

    def put(self, name: str, content: bytes) -> None:
        self._files.pipe_file(f"{self.bucket}/{name}", content)

    def remove(self, name: str) -> None:
        self._files.rm_file(f"{self.bucket}/{name}")

    def answer(self, environ, start):
        with self._one:
            self.requests += 1
            method, name = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{self.bucket}/")
            kind = self.fails(self.requests, method)
            if kind == "drops":
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            if kind:
                text = DENIED if kind == "403" else b""
                start(STATUS.get(kind, STATUS["500"]), [("Content-Length", str(len(text)))])
                return [text]
            body = list(self._inner(environ, start))
            if method == "GET":
                self.read[name] = self.read.get(name, 0) + sum(map(len, body))
            return body


@contextmanager
def serve() -> Iterator[Objects]:
    """Run a server with an empty bucket while the context lasts."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, None, threaded=True)
    objects = Objects(server.port, DomainDispatcherApplication(create_backend_app))
    server.app = objects.answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    objects._files.mkdir(objects.bucket)
    try:
        yield objects
    finally:
        server.shutdown()
