"""Checkpoints on a service whose answers get lost, that is busy, and that others write to: each object is written once,
a save knows what became of it, and equal content is nobody's proof."""

from __future__ import annotations

import http.server
import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from s3dlio import Client
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.memory.view import BytesView
from tests.faults.checkpoint_child import WAYS, data_of
from tests.threads import serving

_turn = itertools.count(1)


class Stored:
    """An object, and how often it was written."""

    def __init__(self, data: bytes, marks: dict[str, str], writes: int) -> None:
        self.data = data
        self.marks = marks
        self.writes = writes

    @property
    def etag(self) -> str:
        return f'"{hash(self.data) & 0xFFFF:x}-{self.writes}"'


class Bucket(http.server.ThreadingHTTPServer):
    """S3, with faults: (what a key contains, what becomes of the next write to such a key)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, Stored] = {}
        self.faults: list[tuple[str, str]] = []
        self.later = b""  # what another writes

    def fault(self, key: str) -> str:
        for at, (part, fault) in enumerate(self.faults):
            if part in key:
                del self.faults[at]
                return fault
        return ""

    def put(self, key: str, data: bytes, marks: dict[str, str]) -> Stored:
        before = self.objects.get(key)
        self.objects[key] = Stored(data, marks, before.writes + 1 if before else 1)
        return self.objects[key]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Bucket

    def log_message(self, *_: Any) -> None: ...

    def answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response_only(status)
        for name, value in ({"Content_Length": str(len(body))} | fields).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def do_HEAD(self) -> None:
        if (found := self.server.objects.get(self.key)) is None:
            return self.answer(404)
        marks = {f"x-amz-meta-{name}": value for name, value in found.marks.items()}
        return self.answer(200, ETag=found.etag, Content_Length=str(len(found.data)), **marks)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            keys = sorted(key for key in self.server.objects if key.startswith(prefix))
            found = "".join(
                f"<Contents><Key>{key}</Key><Size>{len(self.server.objects[key].data)}</Size></Contents>"
                for key in keys
            )
            done = f"<ListBucketResult>{found}<IsTruncated>false</IsTruncated></ListBucketResult>"
            return self.answer(200, done.encode())
        if (stored := self.server.objects.get(self.key)) is None:
            return self.fail(404, "NoSuchKey")
        return self.answer(200, stored.data, ETag=stored.etag)

    def do_PUT(self) -> None:
        bucket, key = self.server, self.key
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        marks = {name.partition("-meta-")[2]: value for name, value in fields if "-meta-" in name}
        fault = bucket.fault(key)
        before = bucket.objects.get(key)
        if fault == "conflict":
            return self.fail(409, "ConditionalRequestConflict")
        wanted = self.headers.get("if-match")
        if (self.headers.get("if-none-match") == "*" and before) or (wanted and (not before or before.etag != wanted)):
            return self.fail(412, "PreconditionFailed")
        if fault != "lost":
            stored = bucket.put(key, data, marks)
        if fault.startswith("another"):
            bucket.put(key, bucket.later or data, {"s3dlio-attempt": "another"})
        if fault == "busy":
            return self.fail(503, "SlowDown")
        if fault:
            self.close_connection = True
            return None
        return self.answer(200, ETag=stored.etag)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving(Bucket()) as server:
        yield server


@pytest.fixture
def store(bucket: Bucket) -> CheckpointStore:
    client = Client(
        endpoint_url=f"http://127.0.0.1:{bucket.server_port}", access_key_id="a", secret_access_key="b",
        region="us-east-1", retry={"max_attempts": 3, "base_delay": 0.001, "max_delay": 0.002},
        http={"read_timeout": 10.0 + next(_turn) / 1000},
    )  # fmt: skip
    store = CheckpointStore("s3://bucket/run", client=client)
    WAYS["whole"](store, 1)
    return store


KINDS = ("shards/", "manifests/", "latest.json")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["done, no answer", "lost", "busy", "conflict"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_object_is_written_once(bucket: Bucket, store: CheckpointStore, kind: str, fault: str, way: str) -> None:
    bucket.faults = [(kind, fault)]
    WAYS[way](store, 2)
    assert not bucket.faults
    assert {key: stored.writes for key, stored in bucket.objects.items() if stored.writes > 1} == {"run/latest.json": 2}
    assert [each.step for each in store.list_checkpoints()] == [1, 2]
    found = store.load_latest()
    assert found is not None
    assert {bytes(part) for part in ([found] if way == "whole" else found)} == {data_of(2)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_writes_the_same_meanwhile(bucket: Bucket, store: CheckpointStore, kind: str, way: str) -> None:
    """A shard of another is not taken for one's own; a manifest of the same shards is the same checkpoint; and a
    pointer that leads where it should is fine."""
    bucket.faults = [(kind, "another writes the same")]
    WAYS[way](store, 2)
    shards = store.manifest(2).shards
    assert {bucket.objects[f"run/{shard.key}"].marks["s3dlio-attempt"] == "another" for shard in shards} == {False}
    assert [each.step for each in store.list_checkpoints()] == [1, 2]
    assert store.latest() == store.list_checkpoints()[-1]


def test_a_pointer_that_another_moves_on_stays_there(bucket: Bucket, store: CheckpointStore) -> None:
    """The answer to its write is lost, and then it leads to a later checkpoint of another process."""
    first = bucket.objects["run/latest.json"]
    WAYS["whole"](store, 5)
    bucket.later = bucket.objects["run/latest.json"].data
    bucket.objects["run/latest.json"] = first
    bucket.faults = [("latest.json", "another moves it on")]
    WAYS["whole"](store, 2)
    found = store.load_latest()
    assert isinstance(found, BytesView)
    assert bytes(found) == data_of(5)
