"""What both drivers must do alike, whatever the server does: byte for byte from a script."""

from __future__ import annotations

import dataclasses
import email.utils
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.config.sections import RetrySettings
from s3dlio.engine.cancel import AwaitToken, cancelled_by
from s3dlio.errors import NetworkError, ProtocolError, S3dlioError, TransferCancelledError, TransferTimeoutError
from s3dlio.memory.sinks import MemorySink
from s3dlio.net import blocking, resolve, system
from s3dlio.net.lane import Lane
from s3dlio.net.message import Request, Service
from s3dlio.net.pool import ConnectionPool
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from tests.servers.base import hold_port, port_of
from tests.servers.delayed import DelayedServer
from tests.servers.moto_server import MotoServer
from tests.servers.nginx import NginxServer
from tests.servers.scripted import (
    Close,
    Expect,
    ExpectClose,
    Receive,
    ReceivedRequest,
    Reset,
    ScriptedServer,
    Send,
    Until,
    Wait,
    respond,
)
from tests.sinks import WriterSink
from tests.wire.harness import DRIVERS, HTTP, QUICK, Calls, Driver, get, put, service_of

HELLO = respond(body=b"hello")
ONCE = dataclasses.replace(QUICK, max_attempts=1)


@pytest.fixture(params=list(DRIVERS))
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


def test_a_request_and_its_answer(drive: Driver) -> None:
    with ScriptedServer([[Expect(b"GET /k HTTP/1.1\r\nhost: 127.0.0.1"), HELLO, ExpectClose()]]) as server:
        service = service_of(server.endpoint)
        response = drive(get(service))
        assert (response.status, bytes(response.body), response.attempts) == (200, b"hello", 1)
        service.pool.renew()
        server.assert_consumed()


def test_a_connection_serves_again(drive: Driver) -> None:
    with ScriptedServer([[Expect(), HELLO, Expect(), respond(body=b"again")]]) as server:
        service = service_of(server.endpoint)
        drive(get(service))
        assert bytes(drive(get(service)).body) == b"again"
        server.assert_consumed()


def test_an_answer_byte_by_byte(drive: Driver) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with ScriptedServer([[Expect(), Send(data, piece=1), Expect(), HELLO]]) as server:
        service = service_of(server.endpoint)
        sink = MemorySink()
        drive(get(service, sink))
        assert bytes(sink.view()) == b"hello"
        drive(get(service))
        server.assert_consumed()


def test_a_large_body_both_ways(drive: Driver) -> None:
    body = bytes(range(256)) * 20_000
    with ScriptedServer(
        [[Expect(lambda seen: seen.body == body), respond(body=body, headers=[("ETag", "x")])]]
    ) as server:
        sink = MemorySink()
        request = put(service_of(server.endpoint), body)
        request.sink = sink
        drive(request)
        assert sink.view() == body
        server.assert_consumed()


# -- connections that end


def test_a_stale_connection_is_replaced_in_silence(drive: Driver) -> None:
    once = dataclasses.replace(QUICK, max_attempts=1)
    with ScriptedServer([[Expect(), HELLO, Expect(), Reset()], [Expect(), HELLO]]) as server:
        service = service_of(server.endpoint, retry=once)
        drive(get(service))
        response = drive(get(service))
        assert bytes(response.body) == b"hello"
        assert response.attempts == 2
        assert service.policy.budget.tokens == 500
        server.assert_consumed()


def test_only_one_connection_counts_as_stale(drive: Driver) -> None:
    once = dataclasses.replace(QUICK, max_attempts=1)
    with ScriptedServer([[Expect(), HELLO, Expect(), Reset()], [Expect(), Reset()]]) as server:
        service = service_of(server.endpoint, retry=once)
        drive(get(service))
        with pytest.raises(NetworkError):
            drive(get(service))
        server.assert_consumed()


def test_a_connection_that_was_closed_while_idle(drive: Driver) -> None:
    with ScriptedServer([[Expect(), HELLO, Close()], [Expect(), HELLO]]) as server:
        service = service_of(server.endpoint, retry=dataclasses.replace(QUICK, max_attempts=1))
        drive(get(service))
        time.sleep(0.05)
        request = put(service, b"data")
        request.idempotent = False  # it is looked at before: such a request cannot be sent twice
        assert drive(request).status == 200
        server.assert_consumed()


def test_connection_close_is_honoured(drive: Driver) -> None:
    closing = respond(body=b"hello", headers=[("Connection", "close")])
    with ScriptedServer([[Expect(), closing, ExpectClose()], [Expect(), HELLO]]) as server:
        service = service_of(server.endpoint)
        drive(get(service))
        drive(get(service))
        server.assert_consumed()


def test_an_old_server_closes(drive: Driver) -> None:
    data = b"HTTP/1.0 200 OK\r\n\r\nhello"
    with ScriptedServer([[Expect(), Send(data), Close()], [Expect(), Send(data), Close()]]) as server:
        service = service_of(server.endpoint)
        for _ in range(2):
            assert bytes(drive(get(service)).body) == b"hello"
        server.assert_consumed()


@pytest.mark.parametrize(
    "before",
    [
        [Reset()],
        [Close()],
        [Expect(), Reset()],
        [Expect(), Close()],
        [Expect(), Send(b"HTTP/1.1 200 O"), Reset()],
        [Expect(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Reset()],
        [Expect(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), Close()],
        [Expect(), Send(b"HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\nhel"), Close()],
        [Expect(), Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"), Close()],
    ],
    ids=["reset", "close", "unanswered", "closed", "head", "body", "short", "error", "chunk"],
)
def test_a_connection_that_breaks_is_tried_again(drive: Driver, before: list[object]) -> None:
    with ScriptedServer([before, [Expect(), HELLO]]) as server:  # type: ignore[list-item]
        service = service_of(server.endpoint)
        sink = MemorySink()
        response = drive(get(service, sink))
        assert bytes(sink.view()) == b"hello"
        assert response.attempts == 2
        assert service.policy.budget.tokens == 495
        server.assert_consumed()


def test_attempts_run_out(drive: Driver) -> None:
    with ScriptedServer([[Expect(), Reset()]] * 4) as server:
        with pytest.raises(NetworkError, match="after 4 attempts") as caught:
            drive(get(service_of(server.endpoint)))
        assert caught.value.attempts == 4
        assert caught.value.__cause__ is not None
        server.assert_consumed()


def test_a_body_that_left_for_good_is_not_sent_for_again(drive: Driver) -> None:
    """A function that took some bytes cannot take them twice; without a way to go on, the read fails."""
    seen = bytearray()
    short = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    with ScriptedServer([[Expect(), short, Close()]]) as server:
        with pytest.raises(NetworkError):
            drive(get(service_of(server.endpoint), WriterSink(seen.extend)))
        assert seen == b"hel"
        server.assert_consumed()


def test_what_may_have_been_done_is_not_done_again(drive: Driver) -> None:
    with ScriptedServer([[Expect(), Reset()]]) as server:
        request = put(service_of(server.endpoint), b"data")
        request.idempotent = False
        with pytest.raises(NetworkError):
            drive(request)
        server.assert_consumed()
    with ScriptedServer([[Expect(), respond("500 Oops")]]) as server:
        request = put(service_of(server.endpoint), b"data")
        request.idempotent = False
        assert drive(request).status == 500
        server.assert_consumed()


def test_what_was_turned_away_may_come_again(drive: Driver) -> None:
    with ScriptedServer([[Expect(), respond("503 Slow Down"), Expect(), HELLO]]) as server:
        request = put(service_of(server.endpoint), b"data")
        request.idempotent = False
        assert drive(request).status == 200
        server.assert_consumed()


# -- answers that say "again"


@pytest.mark.parametrize("status", ["500 A", "502 B", "503 C", "504 D", "429 E", "408 F", "509 G"])
def test_transient_answers(drive: Driver, status: str) -> None:
    with ScriptedServer([[Expect(), respond(status, body=b"later"), Expect(), HELLO]]) as server:
        response = drive(get(service_of(server.endpoint)))
        assert (response.status, response.attempts) == (200, 2)
        server.assert_consumed()


@pytest.mark.parametrize("status", ["400 A", "403 B", "404 C", "412 D", "416 E", "501 F"])
def test_answers_that_stand(drive: Driver, status: str) -> None:
    with ScriptedServer([[Expect(), respond(status, body=b"no")]]) as server:
        response = drive(get(service_of(server.endpoint), MemorySink()))
        assert (response.status, bytes(response.body)) == (int(status[:3]), b"no")
        server.assert_consumed()


def test_the_last_transient_answer_is_given_back(drive: Driver) -> None:
    with ScriptedServer([[Expect(), respond("503 Busy", body=b"later")] * 4]) as server:
        response = drive(get(service_of(server.endpoint)))
        assert (response.status, response.attempts, bytes(response.body)) == (503, 4, b"later")
        server.assert_consumed()


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(drive: Driver, as_date: bool) -> None:
    def told(seconds: int) -> str:
        return email.utils.formatdate(time.time() + seconds, usegmt=True) if as_date else str(seconds)

    slow = dataclasses.replace(QUICK, retry_after_cap=60.0)
    busy = respond("503 Busy", headers=[("Retry-After", told(2 if as_date else 1))])
    with ScriptedServer([[Expect(), busy, Expect(), HELLO]]) as server:
        began = time.monotonic()
        assert drive(get(service_of(server.endpoint, retry=slow))).status == 200
        assert time.monotonic() - began >= 0.9  # a date has whole seconds
        server.assert_consumed()


def test_retry_after_is_capped(drive: Driver) -> None:
    capped = dataclasses.replace(QUICK, retry_after_cap=0.05)
    busy = respond("429 Busy", headers=[("Retry-After", "100000")])
    with ScriptedServer([[Expect(), busy, Expect(), HELLO]]) as server:
        assert drive(get(service_of(server.endpoint, retry=capped))).attempts == 2
        server.assert_consumed()


# -- answers that are none


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_no_http_is_an_error_at_once(drive: Driver, data: bytes) -> None:
    with ScriptedServer([[Expect(), Send(data), ExpectClose()]]) as server:
        with pytest.raises(ProtocolError):
            drive(get(service_of(server.endpoint)))
        server.assert_consumed()


# -- time


def test_nobody_listens(drive: Driver) -> None:
    with hold_port() as holder, pytest.raises(NetworkError, match=r"cannot connect.*refused") as caught:
        drive(get(service_of(f"http://127.0.0.1:{port_of(holder)}")))
    assert caught.value.attempts == 4
    assert "reachable" in str(caught.value)


def test_a_name_that_does_not_exist(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(system, "getaddrinfo", unknown)
    with pytest.raises(NetworkError, match="cannot be resolved"):
        drive(get(service_of("http://nowhere.invalid")))


def test_a_resolver_that_is_busy_is_asked_again(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = socket.getaddrinfo, []

    def busy(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(*args, **options)  # type: ignore[arg-type]

    with ScriptedServer([[Expect(), HELLO]]) as server:
        service = service_of(f"http://localhost:{server.port}")
        monkeypatch.setattr(system, "getaddrinfo", busy)
        assert drive(get(service)).attempts == 2
        server.assert_consumed()


def test_a_name_without_an_address(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "getaddrinfo", lambda *args, **options: [])
    with pytest.raises(NetworkError, match=r"the name 'empty\.test' has no address"):
        drive(get(service_of("http://empty.test")))


class SlowResolver:
    """Names of the domain ``slow.test`` are not resolved before ``answer``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = threading.Event()
        self.asked = 0
        self._plain: Any = socket.getaddrinfo
        monkeypatch.setattr(system, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, **options: Any) -> Any:
        if host != "slow.test":
            return self._plain(host, port, **options)
        self.asked += 1
        self.answer.wait(30)
        return self._plain("127.0.0.1", port, **options)


def test_a_resolver_that_is_silent_ends_with_the_time_for_connecting(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = SlowResolver(monkeypatch)
    http = dataclasses.replace(HTTP, connect_timeout=0.05)
    pool = ConnectionPool("http", "slow.test", 9, http)  # that no other test has resolved
    service = service_of(pool.name, pool=pool, retry=dataclasses.replace(QUICK, max_attempts=2))
    with pytest.raises(TransferTimeoutError, match=r"'slow\.test' was not resolved within 0\.05 s"):
        drive(get(service))
    assert resolver.asked == 1  # attempts and connections wait for one look-up
    resolver.answer.set()


def test_other_requests_of_a_lane_go_on_while_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = SlowResolver(monkeypatch)
    with ScriptedServer([[Expect(), HELLO], [Expect(), HELLO]]) as server:
        slow, quick = (service_of(f"http://{host}:{server.port}") for host in ("slow.test", "127.0.0.1"))
        ended: list[int] = []

        def operation(service: Service) -> Any:
            return (yield get(service))

        def done(index: int, result: Any, error: BaseException | None) -> None:
            assert error is None
            ended.append(index)
            resolver.answer.set()

        calls = Calls([lambda: operation(slow), lambda: operation(quick)])
        Lane(window=8).run(calls, done)
        assert ended == [1, 0]
        server.assert_consumed()


def test_who_waits_for_a_silent_server_is_told_for_what(drive: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """A warning at the first retry, details of all with more logging, and an error that says where, how long, and what
    to change."""
    caplog.set_level("INFO", "s3dlio")
    with ScriptedServer([[Expect(), ExpectClose()] for _ in range(3)]) as server:
        http = dataclasses.replace(HTTP, read_timeout=0.05)
        service = service_of(server.endpoint, http=http, retry=dataclasses.replace(QUICK, max_attempts=3))
        with pytest.raises(TransferTimeoutError) as caught:
            drive(get(service))
        told = str(caught.value)
        for part in (f"{server.endpoint} sent nothing for 0.05 s", "after 3 attempts", "http.read_timeout"):
            assert part in told
        lines = [record for record in caplog.records if record.name == "s3dlio.net"]
        assert [record.levelname for record in lines] == ["WARNING", "INFO"]
        first = lines[0].getMessage()
        assert first.startswith(f"GET {server.endpoint}/k: {server.endpoint} sent nothing for 0.05 s; attempt 2 of")
        server.assert_consumed()


class FewDescriptors:
    """Sockets cannot be made while ``are_gone``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, are_gone: Callable[[], bool]) -> None:
        plain: Any = socket.socket

        def make(*args: Any, **options: Any) -> Any:
            if are_gone():
                raise OSError(errno.EMFILE, "Too many open files")
            return plain(*args, **options)

        monkeypatch.setattr(system, "socket", make)


def test_idle_connections_make_room_where_no_descriptor_is_left(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([[Expect(), HELLO]]) as one_server, ScriptedServer([[Expect(), HELLO]]) as another:
        idle = service_of(one_server.endpoint)
        drive(get(idle))
        FewDescriptors(monkeypatch, lambda: bool(idle.pool._idle))
        assert drive(get(service_of(another.endpoint))).attempts == 1
        another.assert_consumed()


def test_no_descriptor_left_is_no_failure_of_the_server(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    FewDescriptors(monkeypatch, lambda: True)
    with pytest.raises(NetworkError, match=r"Too many open files.*raise the limit of open files \(ulimit -n\)") as seen:
        drive(get(service_of("http://127.0.0.1:9")))
    assert "reachable" not in str(seen.value)


def test_a_server_that_drops_plain_requests_unanswered_may_speak_tls(drive: Driver) -> None:
    with (
        ScriptedServer([[Expect(), Reset()] for _ in range(QUICK.max_attempts)]) as server,
        pytest.raises(NetworkError, match=r"Connection reset by peer .*; if it speaks TLS, write https://"),
    ):
        drive(get(service_of(server.endpoint)))


def test_running_out_of_descriptors_is_told_where_no_module_can_be_loaded_any_more() -> None:
    """A module that is imported only now would need a descriptor, too."""
    script = (
        "import os, resource, sys, s3dlio\n"
        "client = s3dlio.Client(endpoint_url=sys.argv[1], retry={'max_attempts': 1}, s3={'anonymous': True})\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "try:\n"
        "    while True:\n"
        "        last = os.dup(0)\n"
        "except OSError:\n"
        "    os.close(last)  # for the selector\n"
        "try:\n"
        "    client.get_many([f's3://bucket/{i}' for i in range(64)])\n"
        "except s3dlio.BatchError as error:\n"
        "    print(error)\n"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        command = [sys.executable, "-c", script, f"http://127.0.0.1:{server.getsockname()[1]}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Too many open files; raise the limit of open files (ulimit -n)" in ended.stdout, ended.stderr


@pytest.mark.parametrize("verb", ["get_many", "awaited"])
def test_where_descriptors_are_scarce_requests_wait_for_those_in_flight(verb: str) -> None:
    script = (
        "import asyncio, resource, sys, s3dlio\n"
        "s3dlio.configure_s3(endpoint_url=sys.argv[1], anonymous=True)\n"
        "s3dlio.configure('retry', max_attempts=1)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "uris = [f's3://bucket/{i}' for i in range(400)]\n"
        "async def awaited():\n"
        "    return await asyncio.gather(*map(s3dlio.get_async, uris))\n"
        "if sys.argv[2] == 'awaited':\n"
        "    found = asyncio.run(awaited())\n"
        "else:\n"
        "    found = [data for _, data in s3dlio.get_many(uris, max_in_flight=256)]\n"
        "print(sum(len(data) == 4096 for data in found))\n"
        "print(len([open('/dev/null') for _ in range(20)]))\n"  # half of all are left to the program
    )
    with DelayedServer(delay=0.05, size=4096) as server:
        command = [sys.executable, "-c", script, server.endpoint, verb]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "400\n20\n", ended.stderr


def test_a_program_that_has_nearly_all_descriptors_itself_reads_with_the_rest() -> None:
    script = (
        "import os, resource, sys, s3dlio\n"
        "s3dlio.configure_s3(endpoint_url=sys.argv[1], anonymous=True)\n"
        "s3dlio.configure('retry', max_attempts=1)\n"
        "uris = [f's3://bucket/{i}' for i in range(20)]\n"
        "s3dlio.get_many(uris[:2])\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "taken = []\n"
        "try:\n"
        "    while True:\n"
        "        taken.append(os.dup(0))\n"
        "except OSError:\n"
        "    for _ in range(4):\n"
        "        os.close(taken.pop())\n"
        "print(sum(len(data) == 4096 for _, data in s3dlio.get_many(uris, max_in_flight=256)))\n"
    )
    with DelayedServer(delay=0.001, size=4096) as server:
        command = [sys.executable, "-c", script, server.endpoint]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "20\n", ended.stderr


def test_where_descriptors_are_scarce_files_wait_for_those_in_flight(moto_server: MotoServer, tmp_path: Path) -> None:
    names = [f"{number}" for number in range(100)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    script = (
        "import resource, sys, s3dlio\n"
        "there, here, back = sys.argv[1:]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "print(s3dlio.upload([here], there, max_in_flight=256).succeeded)\n"
        "print(s3dlio.download(there, back, max_in_flight=256).succeeded)\n"
    )
    client = s3dlio.Client(endpoint_url=moto_server.endpoint, access_key_id="testing", secret_access_key="testing")
    client.create_bucket("s3://scarce")
    command = [sys.executable, "-c", script, "s3://scarce/t/", f"{tmp_path}/", str(tmp_path / "back")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **moto_server.env})
    assert ended.stdout == "100\n100\n", ended.stderr
    assert [(tmp_path / "back" / name).read_bytes() for name in names] == [name.encode() for name in names]


def addresses(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Every name has these addresses, as ``localhost`` has ``::1`` beside ``127.0.0.1``."""
    monkeypatch.setattr(
        system,
        "getaddrinfo",
        lambda name, port, **options: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts],
    )


def test_an_address_where_nobody_listens_costs_no_attempt(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    once = dataclasses.replace(QUICK, max_attempts=1)
    close = [("Connection", "close")]
    with ScriptedServer([[Expect(), respond(body=b"hello", headers=close)] for _ in range(4)]) as server:
        addresses(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.3")
        service = service_of(f"http://several.test:{server.port}", retry=once)
        assert [drive(get(service)).attempts for _ in range(4)] == [1, 1, 1, 1]
        assert service.policy.budget.tokens == RetryPolicy(once).budget.tokens
        server.assert_consumed()


def test_a_burst_of_connections_finds_the_address_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    once = dataclasses.replace(QUICK, max_attempts=1)
    with NginxServer(workers=1) as server:
        server.add_object("b/k", b"hello")
        addresses(monkeypatch, "127.0.0.2", "127.0.0.1")
        service = service_of(server.endpoint.replace("127.0.0.1", "several.test"), retry=once)
        answers = Lane(window=128).gather([get(service, path="/b/k") for _ in range(300)])
        assert {answer.status for answer in answers} == {200}


def test_where_no_address_answers_the_policy_decides(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(monkeypatch, "127.0.0.2", "127.0.0.3")
    with hold_port() as holder, pytest.raises(NetworkError, match="refused") as caught:
        drive(get(service_of(f"http://several.test:{port_of(holder)}")))
    assert caught.value.attempts == 4


def test_a_connection_that_does_not_come_about(drive: Driver) -> None:
    """A listener whose queue is full answers no further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        http = dataclasses.replace(HTTP, connect_timeout=0.2)
        service = service_of(f"http://127.0.0.1:{port}", http=http, retry=dataclasses.replace(QUICK, max_attempts=2))
        with pytest.raises(TransferTimeoutError, match=r"0\.2 s") as caught:
            drive(get(service))
        assert caught.value.attempts == 2
        for filler in fillers:
            filler.close()


def test_a_server_that_falls_silent(drive: Driver) -> None:
    http = dataclasses.replace(HTTP, read_timeout=0.2)
    half = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    scripts = [[Expect(), ExpectClose()], [Expect(), half, ExpectClose()]]
    with ScriptedServer(scripts) as server:
        service = service_of(server.endpoint, http=http, retry=dataclasses.replace(QUICK, max_attempts=2))
        with pytest.raises(TransferTimeoutError, match="sent nothing") as caught:
            drive(get(service))
        assert caught.value.attempts == 2
        assert service.policy.budget.tokens == 490  # the second was the last, which costs nothing
        server.assert_consumed()


def test_a_slow_server_is_no_silent_one(drive: Driver) -> None:
    http = dataclasses.replace(HTTP, read_timeout=1.0)
    body = b"0123456789"
    slow = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + body, piece=8, pause=0.2)
    with ScriptedServer([[Expect(), slow]]) as server:
        sink = MemorySink()
        drive(get(service_of(server.endpoint, http=http), sink))
        assert bytes(sink.view()) == body
        server.assert_consumed()


def test_an_operation_has_a_deadline_of_its_own(drive: Driver) -> None:
    """A trickle is never silent for long, but the whole takes too long."""
    trickle = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100, piece=2, pause=0.02)
    with ScriptedServer([[Expect(), trickle, ExpectClose()]]) as server:
        began = time.monotonic()
        with pytest.raises(TransferTimeoutError, match=r"not done within 0\.3 s"):
            drive(get(service_of(server.endpoint, total=0.3)))
        assert time.monotonic() - began < 5


def test_no_retry_starts_after_the_deadline_of_the_operation(drive: Driver) -> None:
    patient = RetrySettings(max_attempts=50, base_delay=0.0, max_delay=0.0, retry_after_cap=60.0)
    busy = respond("503 Busy", headers=[("Retry-After", "30")])
    with ScriptedServer([[Expect(), busy]]) as server:
        assert drive(get(service_of(server.endpoint, retry=patient, total=5.0))).status == 503
        server.assert_consumed()


# -- sending


def large(server: ScriptedServer, size: int = 4 << 20) -> Request:
    return put(service_of(server.endpoint), bytes(size))


def test_an_early_refusal_while_a_large_body_is_sent(drive: Driver) -> None:
    """The server answers after the head, reads no more, and closes."""
    refusal = respond("403 Forbidden", body=b"no", headers=[("Connection", "close")])
    with ScriptedServer([[Expect(body=False), refusal, Wait(0.1), Close()]]) as server:
        response = drive(large(server, 64 << 20))
        assert (response.status, bytes(response.body)) == (403, b"no")
        server.assert_consumed()


def test_an_early_refusal_by_a_server_that_reads_no_more(drive: Driver) -> None:
    """It answers, and leaves the connection as it is."""
    http = dataclasses.replace(HTTP, read_timeout=0.5)
    with ScriptedServer([[Expect(body=False), respond("403 Forbidden", body=b"no"), Wait(1.0)]]) as server:
        response = drive(put(service_of(server.endpoint, http=http), bytes(64 << 20)))
        assert (response.status, bytes(response.body)) == (403, b"no")


def tiny_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[ConnectionPool, Any], socket.socket] = ConnectionPool.start_socket

    def start(pool: ConnectionPool, address: Any) -> socket.socket:
        sock = real(pool, address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        return sock

    monkeypatch.setattr(ConnectionPool, "start_socket", start)


def test_partial_sends(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_buffers(monkeypatch)
    body = bytes(range(256)) * 1000
    with ScriptedServer([[Expect(lambda seen: seen.body == body), HELLO, Expect(b"GET"), HELLO]]) as server:
        service = service_of(server.endpoint)
        assert drive(put(service, body)).status == 200
        assert drive(get(service)).status == 200
        server.assert_consumed()


CONTINUE = Send(b"HTTP/1.1 100 Continue\r\n\r\n")


def expecting(server: ScriptedServer, body: bytes = b"x" * 100) -> Request:
    request = put(service_of(server.endpoint), body)
    request.expect_continue = True
    return request


def has_expectation(seen: ReceivedRequest) -> bool:
    return seen.headers.get("expect") == "100-continue"


@pytest.mark.parametrize(
    "go_ahead",
    [
        [CONTINUE],
        [Send(CONTINUE.data, piece=5, pause=0.02)],
        [Send(b"HTTP/1.1 102 Processing\r\n\r\n"), Wait(0.05), CONTINUE],
        [Wait(1.2)],
        [Send(b"HTTP/1.1 102 Processing\r\n\r\n"), Wait(1.2)],
    ],
    ids=["given", "in pieces", "after another", "withheld", "another, then withheld"],
)
def test_a_body_waits_for_the_go_ahead(drive: Driver, go_ahead: list[object]) -> None:
    script = [Expect(has_expectation, body=False), *go_ahead, Receive(100), HELLO, Expect(b"GET"), HELLO]
    with ScriptedServer([script]) as server:  # type: ignore[list-item]
        request = expecting(server)
        assert drive(request).status == 200
        assert drive(get(request.service)).status == 200
        server.assert_consumed()


@pytest.mark.parametrize("status", ["403 Forbidden", "417 Expectation Failed"])
def test_a_body_that_is_refused_is_not_sent(drive: Driver, status: str) -> None:
    with ScriptedServer([[Expect(body=False), respond(status, body=b"no"), ExpectClose()]]) as server:
        response: Response = drive(expecting(server))
        assert (response.status, bytes(response.body)) == (int(status[:3]), b"no")
        server.assert_consumed()


def test_a_refusal_in_pieces(drive: Driver) -> None:
    refusal = Send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", piece=4, pause=0.01)
    with ScriptedServer([[Expect(body=False), refusal, ExpectClose()]]) as server:
        assert drive(expecting(server)).status == 403
        server.assert_consumed()


# -- errors of others pass through


def test_a_sink_that_fails_fails_the_read(drive: Driver) -> None:
    def full(data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with ScriptedServer([[Expect(), HELLO, ExpectClose()]]) as server:
        with pytest.raises(S3dlioError, match="No space") as caught:
            drive(get(service_of(server.endpoint), WriterSink(full)))
        assert not isinstance(caught.value, NetworkError)
        server.assert_consumed()


def test_a_signer_that_fails_fails_the_request(drive: Driver) -> None:
    class NoKeys:
        def render(self, request: Request) -> bytes:
            raise PermissionError("no keys")

    with ScriptedServer([[ExpectClose()]]) as server:
        service = service_of(server.endpoint)
        service.signer = NoKeys()
        with pytest.raises(Exception, match="no keys"):
            drive(get(service))


# -- one call on its own thread


def test_a_call_that_is_cancelled_while_its_server_s_name_is_resolved_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = AwaitToken()

    def looked_up(host: str, port: int) -> Any:
        token.cancel()
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(resolve, "_look_up", looked_up)
    with ScriptedServer([[Expect(), HELLO]]) as server:
        service = service_of(server.endpoint.replace("127.0.0.1", "a-name.example"))
        with pytest.raises(TransferCancelledError):
            cancelled_by(token, lambda: blocking.perform(get(service)))
    assert not server.all_requests


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(500_000)])
@pytest.mark.parametrize("driver", ["blocking", "blocking among threads"])
def test_signals_put_off_no_time_out(driver: str, sent: bytes) -> None:
    """Each begins the kernel's time-out anew."""
    http = dataclasses.replace(HTTP, read_timeout=0.3)
    done = threading.Event()
    before = signal.signal(signal.SIGVTALRM, lambda number, frame: None)

    def pester() -> None:
        while not done.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)

    with ScriptedServer([[Expect(), Send(sent), Until(done)]]) as server:
        thread = threading.Thread(target=pester)
        thread.start()
        threading.Timer(8.0, done.set).start()
        try:
            with pytest.raises(TransferTimeoutError):
                DRIVERS[driver](get(service_of(server.endpoint, http=http, retry=ONCE), MemorySink()))
            assert not done.is_set()
        finally:
            done.set()
            thread.join()
            signal.signal(signal.SIGVTALRM, before)
