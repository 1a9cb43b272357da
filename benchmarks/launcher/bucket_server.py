"""A bucket in memory behind the JSON API of Google's storage, as its client uses it.

It answers after a delay, lists a thousand names a page, obeys preconditions on
generations, and counts requests by kind. gcp-storage-emulator lists everything on one
page and knows no generations, and reads its objects from a file system.
"""

from __future__ import annotations

import base64
import bisect
import collections
import dataclasses
import datetime
import email.parser
import http.server
import itertools
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import google_crc32c

BUCKET = "bucket"
#: Path of the numbers of requests so far, which is not counted itself.
COUNTS = "/counts"
#: Names of a page, as of Google's storage.
_PAGE = 1000
_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/[^/]+/o/(?P<name>[^/]+)$")
_COPY = re.compile(
    r"/storage/v1/b/[^/]+/o/(?P<name>[^/]+)/(?:copyTo|rewriteTo)"
    r"/b/[^/]+/o/(?P<to>[^/]+)$"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
#: Bytes of a part of an upload, and of the whole if they are known.
_PART = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclasses.dataclass(frozen=True)
class _Object:
    content: bytes
    generation: int
    updated: float


class PreconditionError(Exception):
    """The object has another generation than the request wants, or is not there."""


class Objects:
    """Objects by name.

    Attributes:
        clock: Function that returns the seconds since 1970.
    """

    def __init__(self, content: Mapping[str, bytes] = {}) -> None:
        self.clock = time.time
        self._found: dict[str, _Object] = {}
        self._names: list[str] = []
        self._lock = threading.Lock()
        self._generations = itertools.count(1)
        for name, data in content.items():
            self._found[name] = self._make(data)
        self._names = sorted(self._found)

    def get(self, name: str) -> _Object | None:
        """Returns an object, None if it is not there."""
        return self._found.get(name)

    def put(self, name: str, content: bytes, generation: int | None = None) -> _Object:
        """Writes an object; for `generation` see `delete`, 0 for none."""
        with self._lock:
            self._check(name, generation)
            if name not in self._found:
                bisect.insort(self._names, name)
            self._found[name] = self._make(content)
            return self._found[name]

    def delete(self, name: str, generation: int | None = None) -> bool:
        """Deletes an object; returns whether it was there.

        Raises PreconditionError if it has not the wanted generation.
        """
        with self._lock:
            if name not in self._found:
                return False
            self._check(name, generation)
            del self._found[name]
            self._names.remove(name)
            return True

    def list_page(self, prefix: str, after: str, count: int) -> tuple[list[str], bool]:
        """Returns the next names that begin so, and whether there are more."""
        with self._lock:
            first = bisect.bisect_left(self._names, prefix)
            if after:
                first = max(first, bisect.bisect_right(self._names, after))
            page = self._names[first : first + count + 1]
        page = [name for name in page if name.startswith(prefix)]
        return page[:count], len(page) > count

    def _make(self, content: bytes) -> _Object:
        return _Object(content, next(self._generations), self.clock())

    def _check(self, name: str, generation: int | None) -> None:
        found = self._found.get(name)
        if generation not in (None, found.generation if found else 0):
            raise PreconditionError


class BucketServer(http.server.ThreadingHTTPServer):
    """Serves a bucket on this machine, in threads, while it is a context.

    Attributes:
        objects: What is in the bucket.
        counts: Number of requests by kind, and of connections.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, objects: Objects, *, latency: float = 0.0) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.objects = objects
        self.latency = latency
        self.counts: collections.Counter[str] = collections.Counter()
        self.uploads: dict[str, tuple[str, int | None, bytearray]] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address, for `STORAGE_EMULATOR_HOST`."""
        return f"http://localhost:{self.server_address[1]}"

    def count(self, kind: str) -> None:
        """Counts a request."""
        with self._lock:
            self.counts[kind] += 1

    def handle_error(self, *_: object) -> None:
        """Says nothing about clients that have gone."""

    def __enter__(self) -> BucketServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: BucketServer

    def setup(self) -> None:
        super().setup()
        self.server.count("connections")

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == COUNTS:
            self._send_json(dict(self.server.counts))
            return
        time.sleep(self.server.latency)
        try:
            self._answer(url.path, query, body)
        except PreconditionError:
            self._send(412, b"{}")

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _answer(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path.startswith("/batch"):
            self.server.count("batch")
            self._batch(body)
        elif path.startswith("/upload"):
            self.server.count("upload")
            self._upload(query, body)
        elif found := _COPY.match(path):
            self.server.count("copy")
            self._copy(*map(urllib.parse.unquote, found.group("name", "to")))
        elif found := _OBJECT.match(path):
            self._object(urllib.parse.unquote(found["name"]), query)
        elif path.endswith("/o"):
            self.server.count("list")
            self._list(query)
        else:
            self.server.count("bucket")
            self._send_json({"kind": "storage#bucket", "name": BUCKET})

    def _object(self, name: str, query: dict[str, str]) -> None:
        if self.command == "DELETE":
            self.server.count("delete")
            is_there = self.server.objects.delete(name, _generation(query))
            self._send(204 if is_there else 404, b"")
            return
        is_read = query.get("alt") == "media"
        self.server.count("read" if is_read else "look")
        found = self.server.objects.get(name)
        if found is None:
            self._send(404, b"{}")
        elif is_read:
            self._send_range(found.content)
        else:
            self._send_json(_describe(name, found))

    def _send_range(self, content: bytes) -> None:
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            self._send(200, content)
            return
        size = len(content)
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start >= end:
            self._send(416, b"")
            return
        where = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        self._send(206, content[start:end], where)

    def _list(self, query: dict[str, str]) -> None:
        count = min(_PAGE, int(query.get("maxResults", _PAGE)))
        objects = self.server.objects
        names, has_more = objects.list_page(
            query.get("prefix", ""), query.get("pageToken", ""), count
        )
        items = [(name, objects.get(name)) for name in names]
        page: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [_describe(name, found) for name, found in items if found],
        }
        if has_more:
            page["nextPageToken"] = names[-1]
        self._send_json(page)

    def _upload(self, query: dict[str, str], body: bytes) -> None:
        uploads = self.server.uploads
        if (upload := query.get("upload_id")) is not None:
            name, generation, received = uploads[upload]
            received += body
            part = _PART.fullmatch(self.headers.get("Content-Range", ""))
            if part is not None and part[3] != str(len(received)):
                self._send(308, b"", {"Range": f"bytes=0-{len(received) - 1}"})
                return
            body = bytes(received)
            del uploads[upload]
        elif query["uploadType"] == "resumable":
            upload = str(time.monotonic_ns())
            name = query.get("name") or json.loads(body)["name"]
            uploads[upload] = name, _generation(query), bytearray()
            where = f"{self.server.url}{self.path}&upload_id={upload}"
            self._send(200, b"", {"Location": where})
            return
        else:
            name, body = self._parts(body)
            generation = _generation(query)
        written = self.server.objects.put(name, body, generation)
        self._send_json(_describe(name, written))

    def _parts(self, body: bytes) -> tuple[str, bytes]:
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser().parsebytes(header + body)
        parts = message.get_payload()
        meta, content = (part.get_payload(decode=True) for part in parts)  # type: ignore[union-attr]
        return json.loads(meta)["name"], content  # type: ignore[arg-type, return-value]

    def _copy(self, name: str, to: str) -> None:
        found = self.server.objects.get(name)
        if found is None:
            self._send(404, b"{}")
            return
        copied = _describe(to, self.server.objects.put(to, found.content))
        size = copied["size"]
        rewritten = {"totalBytesRewritten": size, "objectSize": size, "done": True}
        is_rewrite = "rewriteTo" in self.path
        self._send_json({**rewritten, "resource": copied} if is_rewrite else copied)

    def _batch(self, body: bytes) -> None:
        paths = re.findall(rb"DELETE (?:http://[^/]+)?(\S+) HTTP", body)
        parts = []
        for path in paths:
            found = _OBJECT.match(urllib.parse.urlsplit(path.decode()).path)
            name = urllib.parse.unquote(found["name"]) if found else ""
            status = "204 No Content" if self.server.objects.delete(name) else "404 No"
            parts.append(
                "--part\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n\r\n"
            )
        kind = {"Content-Type": "multipart/mixed; boundary=part"}
        self._send(200, "".join([*parts, "--part--"]).encode(), kind)

    def _send_json(self, content: dict[str, Any]) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(200, json.dumps(content).encode(), kind)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _generation(query: dict[str, str]) -> int | None:
    wanted = query.get("ifGenerationMatch")
    return None if wanted is None else int(wanted)


def _describe(name: str, found: _Object) -> dict[str, Any]:
    updated = datetime.datetime.fromtimestamp(found.updated, datetime.UTC)
    crc = google_crc32c.value(found.content).to_bytes(4, "big")
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": BUCKET,
        "generation": str(found.generation),
        "metageneration": "1",
        "size": str(len(found.content)),
        "updated": f"{updated:%Y-%m-%dT%H:%M:%S.%f}Z",
        "crc32c": base64.b64encode(crc).decode(),
    }
