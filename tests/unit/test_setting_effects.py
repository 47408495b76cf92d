"""Every setting of connections, retries, ranges, parts and s3:// does what the document says, seen from a server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.memory.crc32c import crc32c, to_base64
from s3dlio.stores.s3 import S3Store
from tests.servers.base import QuietHandler
from tests.threads import run_in_threads, serving

KIB, MIB = 1 << 10, 1 << 20
DATA = bytes(range(256)) * KIB * 2  # 512 KiB


class Seen(NamedTuple):
    """A request, and the connection that it came on."""

    method: str
    target: str
    headers: dict[str, str]
    connection: tuple[str, int]


class Bucket(ThreadingHTTPServer):
    """One object ``/b/k`` to read, anything to write, and a record of who asked for what.

    Requests that ``gathers`` picks wait until so many of them are there (``together``): more cannot come than the
    setting lets, and fewer would wait for ever.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen: list[Seen] = []
        self.refuse = ""
        self.gathers = ""
        self.together: threading.Barrier | None = None
        self.active = 0
        self.most = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gather(self, count: int, method: str) -> None:
        self.gathers = method
        self.together = threading.Barrier(count)


class Answers(QuietHandler):
    server: Bucket

    def _note(self) -> None:
        fields = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(fields.get("content-length", "0")))
        assert len(body) == int(fields.get("content-length", "0"))
        with self.server.lock:
            self.server.seen.append(Seen(self.command, self.path, fields, self.client_address))
            self.server.active += 1
            self.server.most = max(self.server.most, self.server.active)
        if self.server.together is not None and self.command == self.server.gathers and (
            self.command == "PUT" or "range" in fields
        ):
            self.server.together.wait(20)
        with self.server.lock:
            self.server.active -= 1

    def _answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self._note()
        if self.server.refuse:
            self._answer(503, Location=self.server.refuse)
        elif asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = DATA[int(first) : int(last) + 1]
            self._answer(206, part, ETag='"e"', Content_Range=f"bytes {first}-{last}/{len(DATA)}")
        else:
            self._answer(200, DATA, ETag='"e"')

    def do_HEAD(self) -> None:
        self._note()
        self._answer(200, DATA, ETag='"e"')

    def do_PUT(self) -> None:
        self._note()
        self._answer(200, ETag='"e"')

    def do_POST(self) -> None:
        self._note()
        begun = b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>"
        done = b'<CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>'
        self._answer(200, begun if self.path.endswith("uploads=") else done)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving(Bucket()) as server:
        yield server


def client_of(url: str, **sections: dict[str, Any]) -> Client:
    s3 = {"endpoint_url": url, "region": "us-east-1", "access_key_id": "AKIATEST", "secret_access_key": "secret"}
    retry = {"max_attempts": 1, "base_delay": 0.0, "max_delay": 0.0} | sections.pop("retry", {})
    return Client(s3=s3 | sections.pop("s3", {}), retry=retry, **sections)


def requests(bucket: Bucket, method: str) -> list[Seen]:
    return [seen for seen in bucket.seen if seen.method == method]


# -- http


@pytest.mark.parametrize(("kept", "connections"), [(1, 3), (2, 2)])
def test_max_connections_bounds_what_is_kept(kept: int, connections: int, bucket: Bucket) -> None:
    with client_of(bucket.url, http={"max_connections": kept}) as client:
        for _ in range(2):
            bucket.gather(2, "GET")
            run_in_threads(lambda at: client.get_range("s3://b/k", at, 10), (0, 1))
    assert len({seen.connection for seen in bucket.seen}) == connections


@pytest.mark.parametrize(("seconds", "connections"), [(0, 3), (30, 1)])
def test_pool_idle_seconds_closes_what_is_idle(seconds: float, connections: int, bucket: Bucket) -> None:
    with client_of(bucket.url, http={"pool_idle_seconds": seconds}) as client:
        for _ in range(3):
            client.get_range("s3://b/k", 0, 10)
    assert len({seen.connection for seen in bucket.seen}) == connections


@pytest.mark.parametrize(("seconds", "sent"), [(0, 0), (60, 4)])
@pytest.mark.parametrize("many", [False, True])
def test_operation_timeout_ends_the_attempts(seconds: float, sent: int, many: bool, bucket: Bucket) -> None:
    bucket.refuse = "no"
    client = client_of(bucket.url, http={"operation_timeout": seconds}, retry={"max_attempts": 4, "base_delay": 1e-6})
    with client, pytest.raises(S3dlioError):
        client.get_many(["s3://b/k"]) if many else client.get("s3://b/k")
    assert len(bucket.seen) == sent


# -- retry


@pytest.mark.parametrize("attempts", [1, 3])
def test_max_attempts(attempts: int, bucket: Bucket) -> None:
    bucket.refuse = "no"
    with client_of(bucket.url, retry={"max_attempts": attempts}) as client, pytest.raises(S3dlioError) as caught:
        client.get("s3://b/k")
    assert len(bucket.seen) == attempts
    assert caught.value.attempts == attempts


# -- range

SMALL = {"threshold": 64 * KIB, "chunk": 128 * KIB}


@pytest.mark.parametrize(
    ("ranges", "count"),
    [
        (SMALL, 4),
        (SMALL | {"enabled": False}, 1),
        (SMALL | {"threshold": 512 * KIB}, 1),
        (SMALL | {"chunk": 256 * KIB}, 2),
    ],
    ids=["on", "off", "threshold", "chunk"],
)
def test_large_objects_are_read_as_ranges(ranges: dict[str, Any], count: int, bucket: Bucket) -> None:
    with client_of(bucket.url, range=ranges) as client:
        assert client.get("s3://b/k") == DATA
    assert len(bucket.seen) == count


@pytest.mark.parametrize("width", [1, 2, 4])
def test_range_concurrency(width: int, bucket: Bucket) -> None:
    bucket.gather(width, "GET")
    with client_of(bucket.url, range=SMALL | {"concurrency": width}) as client:
        client.pre_stat_and_cache(["s3://b/k"])
        assert client.get("s3://b/k") == DATA
    assert bucket.most == width


@pytest.mark.parametrize(("seconds", "first"), [(60, "bytes=0-131071"), (0, None)])
def test_size_cache_seconds(seconds: float, first: str | None, bucket: Bucket) -> None:
    with client_of(bucket.url, range=SMALL | {"size_cache_seconds": seconds, "concurrency": 1}) as client:
        client.pre_stat_and_cache(["s3://b/k"])
        assert client.get("s3://b/k") == DATA
    assert requests(bucket, "GET")[0].headers.get("range") == first


# -- multipart


@pytest.mark.parametrize(("parts", "count"), [({"threshold": 20 * MIB}, 1), ({"threshold": 20 * MIB - 1}, 4)])
@pytest.mark.parametrize("many", [False, True])
def test_objects_above_the_threshold_go_in_parts(parts: dict[str, Any], count: int, many: bool, bucket: Bucket) -> None:
    with client_of(bucket.url, multipart=parts | {"part_size": 5 * MIB}) as client:
        client.put_many([("s3://b/k", bytes(20 * MIB))]) if many else client.put_bytes("s3://b/k", bytes(20 * MIB))
    assert len(requests(bucket, "PUT")) == count


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("stream", [False, True])
def test_multipart_max_in_flight(width: int, stream: bool, bucket: Bucket) -> None:
    bucket.gather(width, "PUT")
    parts = {"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": width}
    with client_of(bucket.url, multipart=parts) as client:
        if stream:
            store, key = client.store_for("s3://b/k")
            with store.writer(key) as writer:
                writer.write(bytes(20 * MIB))
        else:
            client.put_bytes("s3://b/k", bytes(20 * MIB))
    assert len(requests(bucket, "PUT")) == 4
    assert bucket.most == width


# -- s3


def headers_of(bucket: Bucket, method: str, **s3: Any) -> dict[str, str]:
    with client_of(bucket.url, s3=s3) as client:
        client.put_bytes("s3://b/k", b"abc") if method == "PUT" else client.get_range("s3://b/k", 0, 3)
    return bucket.seen[-1].headers


def test_credentials_and_region_sign(bucket: Bucket) -> None:
    fields = headers_of(bucket, "GET", region="eu-west-7", session_token="a-token")
    assert "Credential=AKIATEST/" in fields["authorization"]
    assert "/eu-west-7/s3/aws4_request" in fields["authorization"]
    assert fields["x-amz-security-token"] == "a-token"


def test_anonymous_requests_are_not_signed(bucket: Bucket) -> None:
    assert "authorization" not in headers_of(bucket, "GET", anonymous=True)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_requester_pays(method: str, pays: bool, bucket: Bucket) -> None:
    fields = headers_of(bucket, method, requester_pays=pays)
    assert fields.get("x-amz-request-payer") == ("requester" if pays else None)


@pytest.mark.parametrize(("policy", "sent"), [("when_supported", True), ("when_required", False), (None, False)])
def test_checksums_of_requests(policy: str | None, sent: bool, bucket: Bucket) -> None:
    fields = headers_of(bucket, "PUT", request_checksum_calculation=policy)
    assert fields.get("x-amz-checksum-crc32c") == (to_base64(crc32c(b"abc")) if sent else None)


@pytest.mark.parametrize(("policy", "asked"), [("when_supported", "ENABLED"), ("when_required", None), (None, None)])
def test_checksums_of_answers(policy: str | None, asked: str | None, bucket: Bucket) -> None:
    assert headers_of(bucket, "GET", response_checksum_validation=policy).get("x-amz-checksum-mode") == asked


@pytest.mark.parametrize("signed", [True, False])
def test_payload_signing(signed: bool, bucket: Bucket) -> None:
    sent = headers_of(bucket, "PUT", payload_signing=signed)["x-amz-content-sha256"]
    assert sent == (hashlib.sha256(b"abc").hexdigest() if signed else "UNSIGNED-PAYLOAD")


@pytest.mark.parametrize(("ports", "scheme"), [("443", "http"), ("443, 9443", "https")])
def test_tls_ports_of_endpoints_in_uris(ports: str, scheme: str) -> None:
    with Client(s3={"access_key_id": "A", "secret_access_key": "B", "region": "r", "tls_ports": ports}) as client:
        store, _ = client.store_for("s3://storage.example:9443/b/k")
        assert isinstance(store, S3Store)
        assert store.service.request("GET").service.pool.scheme == scheme


TIMEOUTS = ["connect_timeout", "read_timeout"]


@pytest.mark.parametrize("name", [*TIMEOUTS, "operation_timeout", "pool_idle_seconds"])
@pytest.mark.parametrize(
    "value", [-1, float("nan"), float("inf"), pytest.param(10**5000, id="very-long"), "9" * 5000, True, "soon"]
)
def test_no_duration(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"http\.{name} must be a number of seconds from"):
        Settings.resolve({}, http={name: value})


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [0, 5e-7, "0.0009"])
def test_nothing_is_waited_for_so_shortly(name: str, value: object) -> None:
    """A system takes it for "for ever", or for "not at all"."""
    with pytest.raises(ConfigError, match=r"seconds from 0\.001 to"):
        Settings.resolve({}, http={name: value})


@pytest.mark.parametrize(
    "call",
    [
        lambda big: Settings.resolve({}, retry={"max_attempts": big}),
        lambda big: Settings.resolve({}, range={"chunk": -big}),
        lambda big: Settings.resolve({}, range={"chunk": big}),
        lambda big: Client().get_range("memory://m/k", big, 1),
        lambda big: Client().get_many(["memory://m/k"], -big),
        lambda big: Client().put("memory://m/", -big),
        lambda big: Client().put("memory://m/", 1, size=big),
    ],
)
def test_a_number_that_python_cannot_write_is_a_typed_error(call: Callable[[int], object]) -> None:
    with pytest.raises(S3dlioError, match="a very long int"):
        call(10**5000)
