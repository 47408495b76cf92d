"""The time for an operation is that of all its requests together: parts, ranges, pages, second tries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest

from s3dlio.errors import BatchError, TransferTimeoutError
from s3dlio.memory.sinks import MemorySink
from s3dlio.net import blocking
from s3dlio.net.lane import Lane
from s3dlio.stores.s3 import S3Store
from tests.servers.base import QuietHandler
from tests.threads import serving
from tests.wire.s3_harness import store_of

MIB = 1 << 20
#: Each answer is quicker than the limit, and all of one operation together are not.
ANSWER, LIMIT = 0.12, 0.3


class Slow(ThreadingHTTPServer):
    """Answers every request of S3 after ``ANSWER`` seconds, and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[str] = []
        self.rested = threading.Event()  # never set: waiting for it is a pause

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, method: str) -> int:
        return sum(line.startswith(method) for line in self.asked)


class _Answers(QuietHandler):
    server: Slow

    def _answer(self, body: bytes = b"", status: int = 200, **fields: str) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.rested.wait(0 if self.command == "DELETE" else ANSWER)
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if "list-type" in self.path:
            number = len(self.server.asked)
            self._answer(
                b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>k%d</Key><Size>1</Size></Contents>"
                b"<NextContinuationToken>%d</NextContinuationToken></ListBucketResult>" % (number, number)
            )
            return
        asked = self.headers["Range"]
        if asked is None:
            self._answer(bytes(MIB), ETag='"e"')
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        size = int(last) - int(first) + 1
        self._answer(bytes(size), 206, ETag='"e"', Content_Range=f"bytes {first}-{last}/{MIB}")

    def do_POST(self) -> None:
        self._answer(b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(ETag='"e"')

    def do_DELETE(self) -> None:
        self._answer(status=204)


@pytest.fixture
def slow() -> Iterator[Slow]:
    with serving(Slow()) as server:
        yield server


def store(slow: Slow, limit: float = LIMIT) -> S3Store:
    return store_of(
        slow.url,
        http={"operation_timeout": limit},
        multipart={"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": 1},
        range={"threshold": 64 << 10, "chunk": 128 << 10, "concurrency": 1},
    )


def upload(store: S3Store) -> None:
    store.put("k", bytes(40 * MIB))


def read(store: S3Store) -> None:
    store.get("k")


def listing(store: S3Store) -> None:
    for _ in store.list():
        pass


@pytest.mark.parametrize("operation", [upload, read, listing])
def test_requests_that_are_in_time_one_by_one_are_not_together(
    operation: Callable[[S3Store], None], slow: Slow
) -> None:
    with pytest.raises(TransferTimeoutError, match=r"not done within 0\.3 s"):
        operation(store(slow))
    assert 2 <= len(slow.asked) <= 5


def test_what_cleans_up_has_time_of_its_own(slow: Slow) -> None:
    with pytest.raises(TransferTimeoutError):
        upload(store(slow))
    assert slow.asked[-2:] == ["DELETE /b/k?uploadId=U", "GET /b/k?max-parts=1&uploadId=U"]


def test_every_object_of_a_batch_has_its_own_time(slow: Slow) -> None:
    some = store(slow)
    done: list[BaseException | None] = []
    calls = [some.put_call(f"k{number}", bytes(10)) for number in range(4)]
    Lane(window=1).run(enumerate(calls), lambda index, result, error: done.append(error))
    assert done == [None] * 4

    late: list[BaseException | None] = []
    large = [some.put_call("k", bytes(40 * MIB)), some.put_call("small", bytes(10))]
    Lane(window=1).run(enumerate(large), lambda index, result, error: late.append(error))
    assert [type(error) for error in late] == [TransferTimeoutError, type(None)]
    assert "DELETE /b/k?uploadId=U" in slow.asked


def test_a_caller_that_takes_its_time_between_pages_is_not_counted(slow: Slow) -> None:
    pages = store(slow, 3 * ANSWER).list()
    next(pages)
    slow.rested.wait(4 * ANSWER)
    next(pages)
    pages.close()


def test_time_that_is_over_asks_for_nothing(slow: Slow) -> None:
    some = store(slow)
    with pytest.raises(TransferTimeoutError):
        blocking.drive(some.read_call("k", MemorySink()).steps(), spent=LIMIT)
    assert slow.asked == []


def test_without_a_limit_nothing_is_given_up(slow: Slow) -> None:
    unbounded = store_of(slow.url, range={"threshold": 64 << 10, "chunk": 256 << 10, "concurrency": 1})
    assert len(unbounded.get("k")) == MIB
    assert slow.count("GET") == 4


def test_a_batch_tells_which_object_was_late(slow: Slow) -> None:
    from s3dlio.client import Client

    limits = {"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": 1}
    s3 = {"endpoint_url": slow.url, "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}
    with Client(s3=s3, http={"operation_timeout": LIMIT}, multipart=limits) as client, pytest.raises(BatchError) as got:
        client.put_many([("s3://b/small", b"x"), ("s3://b/large", bytes(40 * MIB))], 1)
    assert [type(failure.error) for failure in got.value.failures] == [TransferTimeoutError]
