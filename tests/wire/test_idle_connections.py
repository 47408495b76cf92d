"""When connections that nobody uses are closed: in time, without a thread, and when their client is closed."""

from __future__ import annotations

import dataclasses
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.memory.sinks import MemorySink
from s3dlio.net import connection as connections
from s3dlio.net import kept_lock, system
from s3dlio.net import pool as pools
from s3dlio.net.connection import Connection
from s3dlio.net.lane import Lane
from tests.servers.certs import make_authority
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, Until, respond
from tests.wire.harness import DRIVERS, HTTP, Calls, Driver, asking, get, service_of

HELLO = respond(body=b"hello")
ONCE = [Expect(), HELLO, ExpectClose()]


@pytest.fixture(params=list(DRIVERS))
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


def test_the_next_use_of_any_pool_closes_what_was_idle_for_too_long(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = dataclasses.replace(HTTP, pool_idle_seconds=60)
    with ScriptedServer([ONCE]) as old, ScriptedServer([[Expect(), HELLO, Expect(), HELLO, Expect(), HELLO]]) as used:
        first, other = service_of(old.endpoint, http=http), service_of(used.endpoint, http=http)
        drive(get(first))
        monkeypatch.setattr(pools, "_reap_at", 0.0)
        drive(get(other))
        assert len(first.pool._idle) == 1
        first.pool._idle[0].idle_since -= 61
        drive(get(other))  # less than a second after the last look: nobody looks
        assert len(first.pool._idle) == 1
        monkeypatch.setattr(pools, "_reap_at", 0.0)
        drive(get(other))
        assert not first.pool._idle
        assert len(other.pool._idle) == 1
        old.assert_consumed()
        used.assert_consumed()


def test_of_several_only_the_old_ones_are_closed() -> None:
    with ScriptedServer([[Expect(), HELLO] for _ in range(3)]) as server:
        pool = service_of(server.endpoint).pool
        connections = [pool.acquire_fresh() for _ in range(3)]
        for age, connection in zip((90, 80, 0), connections, strict=True):
            connection.open()
            pool.release(connection, reusable=True)
            connection.idle_since -= age
        pool.close_idle(connections[2].idle_since - 60)
        assert list(pool._idle) == [connections[2]]
        assert [connection.ready for connection in connections] == [False, False, True]


def test_threads_that_take_and_close_never_share_a_connection() -> None:
    with ScriptedServer([[Expect(), HELLO] for _ in range(4)]) as server:
        pool = service_of(server.endpoint).pool
        for connection in [pool.acquire_fresh() for _ in range(4)]:
            connection.open()
            pool.release(connection, reusable=True)
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                pool.close_idle(0.0)  # none is so old: each is taken, looked at and put back

        looking = threading.Thread(target=look)
        looking.start()
        try:
            for _ in range(2000):
                held = [pool.acquire() for _ in range(4)]
                assert len({id(connection) for connection in held}) == 4
                for connection in held:
                    pool.release(connection, reusable=True)
        finally:
            stop.set()
            looking.join()


def client_of(endpoint: str, **http: Any) -> Client:
    s3 = {"endpoint_url": endpoint, "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}
    return Client(s3=s3, http=http)


def test_a_client_closes_its_idle_connections_and_no_others() -> None:
    answers = [Expect(), HELLO]
    with ScriptedServer([[*answers, ExpectClose()], answers]) as mine, ScriptedServer([answers * 2]) as theirs:
        other = client_of(theirs.endpoint, read_timeout=11.5)
        other.get("s3://b/k")
        with client_of(mine.endpoint, read_timeout=12.5) as client:
            client.get("s3://b/k")
        assert client.get("s3://b/k") == b"hello"  # it can be used again, on another connection
        other.get("s3://b/k")
        client.close()
        other.close()
        mine.assert_consumed()
        theirs.assert_consumed()


def test_a_client_closes_those_of_its_endpoints(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([ONCE]) as server:
        name = server.endpoint.partition("://")[2]
        config = tmp_path / "config.toml"
        config.write_text(f'[endpoint."{name}"]\nhttp.read_timeout = 13.5\ns3.anonymous = true\n')
        monkeypatch.setenv("S3DLIO_CONFIG", str(config))
        with Client() as client:
            client.get(f"s3://{name}/b/k")
        server.assert_consumed()


def wait_for_bytes(fd: int) -> None:
    assert select.select([fd], [], [], 20)[0]


@pytest.mark.parametrize("tls", [False, True])
def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one(drive: Driver, tls: bool, tmp_path: Path) -> None:
    authority = make_authority(tmp_path) if tls else None
    http = dataclasses.replace(HTTP, ca_bundle=str(authority.bundle)) if authority else HTTP
    idle = threading.Event()
    late = [Expect(), HELLO, Until(idle), respond(body=b"hello again"), ExpectClose()]
    with ScriptedServer([late, [Expect(), respond(body=b"right"), Expect(), HELLO]], tls=authority) as server:
        service = service_of(server.endpoint, http=http)
        drive(get(service))
        idle.set()
        wait_for_bytes(service.pool._idle[0].fd)
        for expected in (b"right", b"hello"):  # and a connection that is in order serves again
            sink = MemorySink()
            drive(get(service, sink))
            assert bytes(sink.view()) == expected
        server.assert_consumed()


def test_a_connection_that_rests_in_a_batch_is_looked_at_too() -> None:
    idle = threading.Event()
    late = [Expect(), HELLO, Until(idle), respond(body=b"hello again"), ExpectClose()]
    with ScriptedServer([late, [Expect(), respond(body=b"right")]]) as server:
        service = service_of(server.endpoint)
        lane = Lane(window=1)
        sinks = [MemorySink(), MemorySink()]
        first, second = Calls([asking(get(service, sink)) for sink in sinks])

        def calls() -> Iterator[Any]:
            yield first
            idle.set()
            ((connection,),) = lane._multiplexer._idle.values()
            wait_for_bytes(connection.fd)
            yield second

        told: list[BaseException | None] = []
        lane.run(calls(), lambda index, result, error: told.append(error))
        assert told == [None, None]
        assert [bytes(sink.view()) for sink in sinks] == [b"hello", b"right"]
        server.assert_consumed()


@pytest.mark.parametrize("tls", [False, True])
def test_urllib3_makes_connections_through_proxies_only(
    drive: Driver, tls: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("urllib3 makes a connection")

    monkeypatch.setattr("urllib3.connection.HTTPConnection.__init__", refuse)
    monkeypatch.setattr("urllib3.connectionpool.HTTPConnectionPool.__init__", refuse)
    authority = make_authority(tmp_path) if tls else None
    http = dataclasses.replace(HTTP, ca_bundle=str(authority.bundle)) if authority else HTTP
    with ScriptedServer([[Expect(), HELLO]], tls=authority) as server:
        drive(get(service_of(server.endpoint, http=http)))
        server.assert_consumed()


def test_where_most_descriptors_are_in_use_one_connection_is_kept_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with many open files does not connect anew for each request."""
    monkeypatch.setattr(system, "descriptors", lambda: 8)
    with ScriptedServer([[Expect(), HELLO, Expect(), HELLO]]) as server:
        service = service_of(server.endpoint)
        for _ in range(2):
            DRIVERS["blocking"](get(service))
        assert len(service.pool._idle) == 1
        server.assert_consumed()


@pytest.mark.skipif(not kept_lock.suits(socket.socket()), reason="Linux")
def test_a_signal_handler_that_makes_calls_breaks_no_request_of_the_main_thread() -> None:
    """Where threads ask at once, the thread that sleeps for an answer is interrupted by a handler, whose own look at a
    connection finds nothing (EAGAIN): that is no time-out of the request."""
    pair, quiet = socket.socketpair(), socket.socketpair()

    def handler(*_: object) -> None:
        assert kept_lock.is_quiet(quiet[0].fileno())
        pair[1].send(b"answer")

    earlier = signal.signal(signal.SIGALRM, handler)
    try:
        connection = Connection(service_of("http://127.0.0.1:1").pool)
        connection.sock, connection.fd = pair[0], pair[0].fileno()
        connection._opened()
        connection.set_blocking(True)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        connections.asking.extend([None, None])
        room = memoryview(bytearray(100))
        assert connection.receive(room, 0) == 6
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
        connections.asking.clear()
        for sock in (*pair, *quiet):
            sock.close()
