"""Deleting at the pace that the service allows."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s3dlio import Client
from s3dlio.errors import BatchError
from s3dlio.stores.s3 import S3Store
from s3dlio.transfer.delete import delete, delete_many
from tests.servers.scripted import Action, Expect, ExpectClose, ScriptedServer, Until, respond
from tests.threads import serving
from tests.wire.s3_harness import error, settings_of, store_of

WIDTH = 4
KEYS = 24
PATIENCE = 20


class Service(ThreadingHTTPServer):
    """Deletes; throttles the first burst, and notes how many requests are there when one arrives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.changed = threading.Condition()
        self.inside = 0
        self.throttled = 0
        self.recovered = False
        self.deleted: list[int] = []
        self.crowd: dict[int, int] = {}  # key -> requests that were there when it came first

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, number: int) -> bool:
        """Whether the key is deleted now; otherwise it is throttled."""
        with self.changed:
            self.inside += 1
            self.crowd.setdefault(number, self.inside)
            self.changed.notify_all()
            refused = self.throttled < WIDTH
            if refused:  # the first requests, as soon as all of them are there
                assert self.changed.wait_for(lambda: self.throttled or self.inside == WIDTH, PATIENCE)
                self.throttled += 1
            elif number >= KEYS - WIDTH:  # the last ones are held until one less than were too many are there again
                assert self.changed.wait_for(lambda: self.recovered or self.inside == WIDTH - 1, PATIENCE)
                self.recovered = True
            if not refused:
                self.deleted.append(number)
            self.inside -= 1
            self.changed.notify_all()
            return not refused


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        (number,) = re.findall(rb"<Key>k(\d+)</Key>", body)
        well = self.server.answer(int(number))
        answer = b"<DeleteResult></DeleteResult>" if well else b"<Error><Code>SlowDown</Code></Error>"
        self.send_response(200 if well else 503)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as server:
        yield server


def test_deletes_slow_down_when_they_are_throttled_and_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Store, "delete_batch_size", 1)
    client = Client(settings_of(service.endpoint))
    done = delete_many(client, [f"s3://b/k{number}" for number in range(KEYS)], max_in_flight=WIDTH)
    assert (done.succeeded, done.failed) == (KEYS, 0)
    assert sorted(service.deleted) == [*range(KEYS)]
    assert service.throttled == WIDTH
    assert service.crowd[WIDTH] < WIDTH
    assert service.recovered


def test_keys_that_a_batch_throttles_are_deleted_alone() -> None:
    refused = b"<DeleteResult><Error><Key>a</Key><Code>SlowDown</Code></Error></DeleteResult>"
    script = [
        Expect(b"POST /b/?delete="), respond(body=refused),
        Expect(b"DELETE /b/a "), error("503 Slow Down", "SlowDown"),
        Expect(b"DELETE /b/a "), respond("204 No Content"),
    ]  # fmt: skip
    with ScriptedServer([script]) as server:
        assert store_of(server.endpoint).delete_many(["a", "b"]) == []
        server.assert_consumed()


def test_batches_that_are_given_up_after_a_failure_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one failed for, the others would fail for, too: those in flight are given up, and counted as that."""
    monkeypatch.setattr(S3Store, "delete_batch_size", 1)
    listing = "".join(f"<Contents><Key>k/{number}</Key><Size>1</Size></Contents>" for number in range(8))
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listing}</ListBucketResult>".encode()
    second = threading.Event()

    def arrived(request: object) -> bool:
        second.set()
        return True

    scripts: list[list[Action]] = [
        [Expect(b"GET /b/?"), respond(body=body), Expect(b"POST /b/?delete"), Until(second), error("403 No", "No")],
        [Expect(arrived), ExpectClose()],
    ]
    with (
        ScriptedServer(scripts) as server,
        Client(settings_of(server.endpoint)) as client,
        pytest.raises(BatchError) as caught,
    ):
        delete(client, "s3://b/k/", recursive=True, max_in_flight=2)
    failed = caught.value
    assert (failed.attempted, failed.succeeded, len(failed.failures), failed.cancelled) == (2, 0, 1, 1)
    assert "1 in flight were given up" in str(failed)
