"""A cluster whose gateway redirects every request to the node that has the object (as NVIDIA AIStore does)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ServiceError
from s3dlio.stores.s3 import S3Store, copying
from tests.wire.s3_harness import store_of

MIB = 1 << 20
DATA = bytes(range(256)) * 4 * 1024 * 12


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, fields, answer = self.server.owner.answer(self.server is self.server.owner.gateway, self, body)
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if "Content-Length" not in fields:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return


class Cluster:
    """A gateway that only redirects, and one node that keeps objects and parts."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.aborted = 0
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for _ in range(2)]
        self._threads = []
        for server in self._servers:
            server.daemon_threads = True
            server.owner = self  # type: ignore[attr-defined]
            self._threads.append(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}))
            self._threads[-1].start()
        self.gateway, self._node = self._servers
        self.endpoint = f"http://127.0.0.1:{self.gateway.server_address[1]}"

    def stop(self) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, is_gateway: bool, asked: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        target = asked.path
        if is_gateway:
            mark = "&" if "?" in target else "?"
            node = self._node.server_address[1]
            return 307, {"Location": f"http://127.0.0.1:{node}{target}{mark}node=1"}, b""
        assert target.endswith("node=1")
        path, _, query = target.partition("?")
        method = asked.command
        if method == "DELETE":
            self.aborted += 1
            return 204, {}, b""
        if method == "POST" and "uploads=" in query:
            return 200, {}, b"<X><UploadId>U</UploadId></X>"
        if method == "POST":
            self.objects[path] = b"".join(self.parts[number] for number in sorted(self.parts))
            return 200, {}, b'<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>'
        if method == "PUT":
            return self._put(path, query, asked, body)
        if "tagging=" in query:
            return 200, {}, b"<Tagging><TagSet></TagSet></Tagging>"
        data = self.objects[path]
        fields = {"ETag": '"whole"', "Content-Length": str(len(data))}
        if wanted := asked.headers.get("Range"):
            first, last = (int(text) for text in wanted.removeprefix("bytes=").split("-"))
            fields |= {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Content-Length": str(last + 1 - first)}
            return 206, fields, data[first : last + 1]
        return 200, fields, data

    def _put(self, path: str, query: str, asked: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if source := asked.headers.get("x-amz-copy-source"):
            first, last = asked.headers["x-amz-copy-source-range"].removeprefix("bytes=").split("-")
            body = self.objects[source][int(first) : int(last) + 1]
        self.parts[query.partition("&")[0]] = body
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        return 200, {"ETag": etag}, f"<CopyPartResult><ETag>{etag}</ETag></CopyPartResult>".encode() if source else b""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.stop()


def store_at(cluster: Cluster, **http: Any) -> S3Store:
    parts = {"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": 3}
    return store_of(cluster.endpoint, multipart=parts, range={"chunk": 4 * MIB, "threshold": 4 * MIB}, http=http)


def test_parts_and_ranges_follow_redirects(cluster: Cluster) -> None:
    store = store_at(cluster)
    store.put("k", DATA)
    assert cluster.objects["/b/k"] == DATA
    assert store.get("k") == DATA
    store.remember("k", store.head("k"))  # now the first request is for ranges
    assert store.get("k") == DATA
    assert cluster.aborted == 0


def test_a_batch_follows_redirects(cluster: Cluster) -> None:
    store = store_at(cluster)
    with Client(settings=store.settings) as client:
        client.put_many([("s3://b/k", DATA)])
        assert [bytes(data) for _, data in client.get_many(["s3://b/k"])] == [DATA]


def test_a_stream_follows_redirects(cluster: Cluster) -> None:
    with store_at(cluster).writer("k") as writer:
        writer.write(DATA)
    assert cluster.objects["/b/k"] == DATA


def test_copies_in_parts_follow_redirects(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COPY_WHOLE", 5 * MIB)
    monkeypatch.setattr(copying, "COPY_PART", 5 * MIB)
    store = store_at(cluster)
    cluster.objects["/b/k"] = DATA
    store.execute(store.copy_call(store, "k", "copy", size=len(DATA)))
    assert cluster.objects["/b/copy"] == DATA


def test_parts_that_may_not_be_redirected_abort(cluster: Cluster) -> None:
    cluster.objects["/b/k"] = DATA
    with pytest.raises(ServiceError, match="307"):
        store_at(cluster, follow_redirects=False).put("k", DATA)
