"""A small Cloud Storage in memory: the part of its JSON API that tensorstore, gcsfs and google-cloud-storage call.

It heeds `ifGenerationMatch`, which the emulators tried do not, counts the bytes that were read, and fails a chosen
request. It knows no permissions, regions, rates or delays.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Objects:
    """What one server holds.

    Attributes:
      url: address of the bucket.
      environment: variables that lead to it.
      content: bytes by name; one bucket, called 'bucket'.
      generations: generation by name.
      read: bytes of media that were sent, by name; a byte that is asked for again, as after a timeout, counts once.
      requests: how many were received.
      fails: `(number, method) -> '' | '500' | '403' | 'drops'`, asked before each request.
    """

    url = "gs://bucket"

    def __init__(self):
        self.environment: dict[str, str] = {}
        self.content: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self.sent: dict[str, bytearray] = {}  # by name, a 1 for each byte that was
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.requests, self.lock = 0, threading.RLock()
        self.fails: Callable[[int, str], str] = lambda number, method: ""

    def names(self) -> list[str]:
        return sorted(self.content)

    def get(self, name: str) -> bytes:
        return self.content[name]

    def put(self, name: str, content: bytes) -> dict:
        self.content[name] = content
        self.generations[name] = self.generations.get(name, 1000) + 1
        return self.entry(name)

    def remove(self, name: str) -> None:
        del self.content[name]

    def entry(self, name: str) -> dict:
        return {
            "kind": "storage#object",
            "bucket": "bucket",
            "name": name,
            "id": name,
            "size": str(len(self.content[name])),
            "generation": str(self.generations[name]),
            "metageneration": "1",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }


def _handler(objects: Objects) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except (ConnectionError, BrokenPipeError):
                self.close_connection = True

        def _answer(self, status: int, body: bytes | dict = b"", **headers):
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _serve(self):
            body = self._body()
            with objects.lock:
                objects.requests += 1
                kind = objects.fails(objects.requests, self.command)
                if kind == "drops":
                    self.close_connection = True
                    return
                if kind:
                    self._answer(int(kind), {"error": {"code": int(kind), "message": "asked to fail"}})
                    return
                self._route(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

        def _route(self, body: bytes):
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            path = re.sub(r"^/(upload/|download/)?(resumable/upload/)?", "/", url.path)
            found = re.fullmatch(r"/storage/v1/b/([^/]+)(?:/(o)(?:/(.+))?)?/?", path)
            if not found or found[1] != "bucket":
                self._answer(404, {"error": {"code": 404, "message": "Not Found"}})
            elif not found[2]:
                bucket = {"kind": "storage#bucket", "name": "bucket", "id": "bucket", "location": "US"}
                self._answer(200, bucket)
            elif url.path.startswith("/upload/") and self.command in ("POST", "PUT"):
                self._upload(query, body)
            elif not found[3]:
                self._list(query)
            elif "/rewriteTo/" in found[3] or "/copyTo/" in found[3]:
                source, target = re.split(r"/(?:rewriteTo|copyTo)/b/bucket/o/", found[3])
                source, target = unquote(source), unquote(target)
                if source not in objects.content:
                    self._answer(404, {"error": {"code": 404}})
                    return
                resource = objects.put(target, objects.content[source])
                self._answer(200, {"done": True, "resource": resource, **resource})
            else:
                self._object(unquote(found[3]), query)

        def _object(self, name: str, query: dict[str, str]):
            if name not in objects.content:
                self._answer(404, {"error": {"code": 404, "message": "Not Found"}})
            elif not self._matches(name, query):
                return
            elif self.command == "DELETE":
                del objects.content[name]
                self._answer(204)
            elif query.get("alt") == "media":
                content, status, headers, start = objects.content[name], 200, {}, 0
                if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
                    start, end = self._range(asked, len(content))
                    if start >= len(content):
                        self._answer(416)
                        return
                    headers["Content_Range"] = f"bytes {start}-{end - 1}/{len(content)}"
                    content, status = content[start:end], 206
                if name not in objects.read:
                    objects.sent[name] = bytearray(len(objects.content[name]))
                objects.sent[name][start : start + len(content)] = b"\1" * len(content)
                objects.read[name] = objects.sent[name].count(1)
                self._answer(status, content, x_goog_generation=str(objects.generations[name]), **headers)
            else:
                self._answer(200, objects.entry(name))

        def _range(self, asked: re.Match, size: int) -> tuple[int, int]:
            if not asked[1]:
                return max(size - int(asked[2]), 0), size
            return int(asked[1]), min(int(asked[2]) + 1, size) if asked[2] else size

        def _matches(self, name: str, query: dict[str, str]) -> bool:
            now = str(objects.generations[name]) if name in objects.content else "0"
            if query.get("ifGenerationMatch", now) != now:
                self._answer(412, {"error": {"code": 412}})
                return False
            if query.get("ifGenerationNotMatch") == now:
                self._answer(304)
                return False
            return True

        def _list(self, query: dict[str, str]):
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
            start, end = query.get("startOffset", ""), query.get("endOffset", "")
            items, prefixes = [], set()
            for name in sorted(objects.content):
                if not name.startswith(prefix) or name < start or (end and name >= end):
                    continue
                inside = name[len(prefix) :]
                if delimiter and delimiter in inside:
                    prefixes.add(prefix + inside.partition(delimiter)[0] + delimiter)
                else:
                    items.append(objects.entry(name))
            self._answer(200, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

        def _upload(self, query: dict[str, str], body: bytes):
            if "upload_id" in query:
                name, before = objects.uploads[query["upload_id"]]
                whole = before + body
                objects.uploads[query["upload_id"]] = (name, whole)
                sent = self.headers.get("Content-Range", "")
                if sent.endswith("/*"):
                    self._answer(308, Range=f"bytes=0-{len(whole) - 1}")
                else:
                    self._answer(200, objects.put(name, whole))
                return
            kind = query.get("uploadType")
            if kind == "multipart":
                boundary = re.search(r"boundary=['\"]?([^'\";]+)", self.headers["Content-Type"])[1].encode()
                parts = body.split(b"--" + boundary)
                _, _, first = parts[1].partition(b"\r\n\r\n" if b"\r\n\r\n" in parts[1] else b"\n\n")
                cut = parts[2].partition(b"\r\n\r\n" if b"\r\n\r\n" in parts[2] else b"\n\n")[2]
                content = cut.removesuffix(b"\n").removesuffix(b"\r")
                name = json.loads(first)["name"]
            else:
                name, content = query.get("name") or json.loads(body)["name"], body
            if not self._matches(name, query):
                return
            if kind == "resumable":
                number = str(len(objects.uploads))
                objects.uploads[number] = (name, b"")
                host = self.headers["Host"]
                place = f"http://{host}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id={number}"
                self._answer(200, {}, Location=place)
            else:
                self._answer(200, objects.put(name, content))

    return Handler


@contextmanager
def serve() -> Iterator[Objects]:
    """Run a server while the context lasts."""
    objects = Objects()
    server = ThreadingHTTPServer(("localhost", 0), _handler(objects))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://localhost:{server.server_port}"
    objects.environment = {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "test",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    try:
        yield objects
    finally:
        server.shutdown()
        server.server_close()
