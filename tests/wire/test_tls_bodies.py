"""Bodies through TLS, whatever the records are and wherever they end: by OpenSSL's own loop and by ssl."""

from __future__ import annotations

import itertools
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.memory.sinks import MemorySink
from s3dlio.net import tls_chain
from s3dlio.net.message import Service
from tests.servers.certs import Authority
from tests.servers.nginx import NginxServer
from tests.sinks import WriterSink
from tests.wire.harness import DRIVERS, Driver, get, put
from tests.wire.tls_peer import PATIENCE, RECORD, Peer, TlsServer

Script = Callable[[Peer], None]

WAYS = [pytest.param(True, id="direct", marks=pytest.mark.skipif(bool(tls_chain.refusal()), reason="not known here")),
        pytest.param(False, id="ssl")]  # fmt: skip
BODY = random.Random(0).randbytes(150_000)


@pytest.fixture(params=list(DRIVERS))
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


@pytest.fixture(params=WAYS)
def direct(request: pytest.FixtureRequest) -> bool:
    way: bool = request.param
    return way


def head_of(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)


def answer(body: bytes = BODY) -> Script:
    """Head and body in full records."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(peer.records(head_of(body) + body, itertools.repeat(RECORD))))

    return script


def received(drive: Driver, service: Service) -> bytes:
    sink = MemorySink()
    drive(get(service, sink))
    return bytes(sink.view())


# -- right bytes


@pytest.mark.parametrize("way", WAYS)
def test_with_a_server_that_frames_as_it_likes(way: bool, authority: Authority) -> None:
    """Objects of many sizes, one by one, in batches and as ranges."""
    data = random.Random(2).randbytes(3_000_000)
    objects = {f"s3://b/{size}": data[-size:] for size in (1, 5_000, 16_384, 60_000, 131_072, 1_000_000, 3_000_000)}
    with NginxServer(tls=authority, cache=False) as server:
        s3 = {"endpoint_url": server.endpoint, "region": "r", "access_key_id": "a", "secret_access_key": "b"}
        http = {"ca_bundle": str(authority.bundle), "tls_direct": way}
        with Client(s3=s3, http=http, range={"threshold": 1 << 20, "chunk": 1 << 18}) as client:
            client.put_many(objects.items())
            assert all(got == objects[uri] for uri, got in client.get_many(objects))
            for uri, body in objects.items():
                client.put_bytes(uri, body[::-1])
                assert client.get(uri) == body[::-1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("seed", range(6))
def test_bodies_in_any_records_and_pieces(
    drive: Driver, direct: bool, version: ssl.TLSVersion, seed: int, authority: Authority
) -> None:
    """Several answers on one connection; between records TLS has things of its own to say."""
    chance = random.Random(seed)
    sizes_of_bodies = [chance.choice((0, 1, 5_000, 40_000, 70_000, chance.randrange(500_000))) for _ in range(5)]
    bodies, done = [chance.randbytes(size) for size in sizes_of_bodies], threading.Event()

    def sizes() -> Iterator[int]:
        while True:
            yield from itertools.repeat(chance.choice((1, 700, 4096, 16000, RECORD)), chance.randrange(1, 5))

    def script(peer: Peer) -> None:
        for body in bodies:
            peer.request()
            together = chance.random() < 0.5
            first = head_of(body) + body if together else head_of(body)
            stream = bytearray(b"".join(peer.records(first, sizes() if together else iter([RECORD]))))
            at = len(body) if together else 0
            while at < len(body):
                if version == ssl.TLSVersion.TLSv1_3 and (what := chance.randrange(8)) < 3:
                    peer.new_ticket() if what == 0 else peer.update_keys(both=what == 1)
                end = at + chance.choice((1, 10_000, 100_000))
                stream += b"".join(peer.records(body[at:end], sizes()))
                at = end
            while stream:
                cut = chance.choice((1, 5, 6, 1000, RECORD, 100_000))
                peer.send(bytes(stream[:cut]))
                del stream[:cut]
        done.wait(PATIENCE)  # a reset would overtake the bytes: the client answers updates of keys

    with TlsServer([script], authority, version) as server:
        service = server.service(tls_direct=direct)
        for body in bodies:
            if chance.random() < 0.3:
                parts: list[bytes] = []
                drive(get(service, WriterSink(lambda data, parts=parts: parts.append(bytes(data)))))
                assert b"".join(parts) == body
            else:
                assert received(drive, service) == body
        done.set()


def test_bodies_are_sent_to_a_server_that_reads_slowly(drive: Driver, direct: bool, authority: Authority) -> None:
    body = random.Random(1).randbytes(6_000_000)
    sent: list[bytes] = []

    def script(peer: Peer) -> None:
        _, _, data = peer.request().partition(b"\r\n\r\n")
        taken = [data]
        left = len(body) - len(data)
        while left:
            taken.append(peer.read(700))
            left -= len(taken[-1])
        sent.append(b"".join(taken))
        peer.send(peer.record(head_of(b"ok") + b"ok"))

    with TlsServer([script], authority) as server:
        assert bytes(drive(put(server.service(tls_direct=direct), body)).body) == b"ok"
    assert sent == [body]


def test_what_comes_in_the_last_record_behind_a_body_ends_the_connection(
    drive: Driver, direct: bool, authority: Authority
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(peer.records(head_of(BODY) + BODY + b"more", itertools.repeat(RECORD))))

    with TlsServer([script, answer()], authority) as server:
        service = server.service(tls_direct=direct)
        assert received(drive, service) == BODY
        assert received(drive, service) == BODY


@pytest.mark.skipif(bool(tls_chain.refusal()), reason="not known here")
def test_a_large_body_takes_few_calls(drive: Driver, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is there before the client reads on: a call for every MiB, and a few around them."""
    body, there, calls = bytes(8 << 20), threading.Event(), []
    receive = tls_chain.BodyChain.receive

    def counted(chain: Any, room: memoryview, count: int, waits: bool) -> int:
        there.wait(PATIENCE)
        calls.append(receive(chain, room, count, waits))
        return calls[-1]

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        peer.request()
        data = b"".join(peer.records(head_of(body) + body, itertools.repeat(RECORD)))
        peer.send(data[: 3 << 20])
        there.set()
        peer.send(data[3 << 20 :])

    monkeypatch.setattr(tls_chain.BodyChain, "receive", counted)
    with TlsServer([script], authority) as server:
        assert received(drive, server.service()) == body
    assert drive is DRIVERS["lane"] or len(calls) <= 10
    assert sum(calls) > len(body) - 2 * tls_chain.CHAIN_FROM
