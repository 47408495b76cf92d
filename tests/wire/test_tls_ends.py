"""How TLS connections end in the middle of bodies: alike by OpenSSL's own loop and by ssl."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.engine.cancel import AwaitToken, cancelled_by
from s3dlio.errors import S3dlioError, TransferCancelledError, TransferTimeoutError
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.net import blocking, tls_chain
from s3dlio.net.connection import Connection
from s3dlio.net.message import Service
from s3dlio.net.retry import RetryPolicy
from s3dlio.net.tls_reader import RUN
from tests.servers.certs import Authority
from tests.wire.harness import QUICK, Driver, get, put
from tests.wire.test_tls_bodies import BODY, answer, head_of, received
from tests.wire.test_tls_bodies import direct as direct  # a fixture
from tests.wire.test_tls_bodies import drive as drive  # a fixture
from tests.wire.tls_peer import PATIENCE, RECORD, Peer, TlsServer

Script = Callable[[Peer], None]
#: What the connection ends with; the second argument makes the next record of the body.
Ending = Callable[[Peer, Callable[[], bytes]], bytes]

only_direct = pytest.mark.skipif(bool(tls_chain.refusal()), reason="not known here")


def fault_of(drive: Driver, service: Service) -> str:
    """What a read that fails says, without the line of CPython's source that ssl names."""
    with pytest.raises(S3dlioError) as caught:
        received(drive, service)
    return re.sub(r" \(_ssl\.c:\d+\)", "", str(caught.value))


def stream_of(peer: Peer, body: bytes = BODY) -> list[bytes]:
    return peer.records(head_of(body) + body, itertools.repeat(RECORD))


def twice(peer: Peer) -> None:
    answer()(peer)
    answer()(peer)


def ended_by(what: Ending, drive: Driver, authority: Authority, direct: bool) -> str:
    """The fault where two thirds of a body come, and then what ``what`` makes of the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        text = head_of(BODY) + BODY
        whole = b"".join(peer.records(text[: 6 * RECORD], itertools.repeat(RECORD)))
        peer.send(whole + what(peer, lambda: peer.record(text[6 * RECORD : 7 * RECORD])))
        with contextlib.suppress(OSError):
            peer.sock.shutdown(socket.SHUT_WR)
            while peer.sock.recv(1 << 16):
                pass

    with TlsServer([script], authority) as server, TlsServer([twice], authority) as good:
        service, other = server.service(tls_direct=direct), good.service(tls_direct=direct)
        assert received(drive, other) == BODY
        said = fault_of(drive, service).replace(service.pool.name, "SERVER")
        library = tls_chain._library()
        assert isinstance(library, str) or not library.last_error()  # other connections would take it for theirs
        assert received(drive, other) == BODY
    return said


@pytest.mark.parametrize("from_end", [*range(0, 25), RECORD, RECORD + 5, RECORD + 21, RECORD + 22, RECORD + 23])
def test_a_body_that_is_cut_at_any_byte(drive: Driver, direct: bool, from_end: int, authority: Authority) -> None:
    """Without a close_notify, by a FIN alone."""
    def script(peer: Peer) -> None:
        peer.request()
        stream = b"".join(stream_of(peer))
        peer.send(stream[: len(stream) - from_end])

    with TlsServer([script], authority) as server:
        service = server.service(tls_direct=direct)
        if from_end:
            said = fault_of(drive, service)
            assert "broke: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol" in said
        else:
            assert received(drive, service) == BODY


ENDINGS: dict[str, tuple[Ending, str]] = {
    "close_notify": (lambda peer, _: peer.close_notify(), "the connection was closed before the answer was complete"),
    "close_notify behind a record": (
        lambda peer, record: record() + peer.close_notify(), "closed before the answer was complete"),
    "a fatal alert": (lambda peer, _: peer.fatal_alert(), "alert bad record mac"),
    "a record that was changed": (
        lambda _, record: b"\x17\x03\x03" + record()[3:5] + bytes(RECORD + 17), "decryption failed or bad record mac"),
    "what is no record": (lambda peer, _: b"HTTP/1.1 200 OK\r\n\r\n" * 2, "wrong version number"),
    "a record that is too long": (lambda peer, _: b"\x17\x03\x03\xff\xff", "packet length too long"),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_ends(drive: Driver, ending: str, authority: Authority) -> None:
    what, words = ENDINGS[ending]
    said = ended_by(what, drive, authority, direct=False)
    assert words in said
    assert ended_by(what, drive, authority, direct=True) == said


def test_a_reset(drive: Driver, direct: bool, authority: Authority) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer)[:3]))
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with TlsServer([script], authority) as server:
        said = fault_of(drive, server.service(tls_direct=direct))
        # CPython 3.11 takes it for an end.
        assert "broke: Connection reset by peer" in said or (not direct and "broke: EOF occurred" in said)


# -- time


@pytest.mark.parametrize("sent", [RECORD * 4, RECORD * 4 + 3, RECORD * 5 - 100])
def test_a_server_that_stalls(drive: Driver, direct: bool, sent: int, authority: Authority) -> None:
    """Between two records, in the head of one, in its middle."""
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer))[:sent])
        done.wait(PATIENCE)

    with TlsServer([script], authority) as server:
        service = server.service(tls_direct=direct, read_timeout=0.2)
        try:
            assert "sent nothing for 0.2 s" in fault_of(drive, service)
            assert not done.is_set()
        finally:
            done.set()


def test_signals_put_off_no_time_out(direct: bool, authority: Authority) -> None:
    done = threading.Event()
    before = signal.signal(signal.SIGVTALRM, lambda number, frame: None)

    def pester() -> None:
        while not done.wait(0.02):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer))[:70_000])
        done.wait(PATIENCE)

    thread = threading.Thread(target=pester)
    with TlsServer([script], authority) as server:
        thread.start()
        try:
            with pytest.raises(TransferTimeoutError):
                received(blocking.perform, server.service(tls_direct=direct, read_timeout=0.3))
            assert not done.is_set()
        finally:
            done.set()
            thread.join()
            signal.signal(signal.SIGVTALRM, before)


class Interrupted(BaseException):
    pass


def test_an_interrupt_ends_a_read_that_waits(drive: Driver, direct: bool, authority: Authority) -> None:
    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    done, stop = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer))[:70_000])
        while not done.wait(0.05):  # until it is heard: the first may come before the client waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)
        stop.wait(PATIENCE)

    try:
        with TlsServer([script], authority) as server:
            try:
                with pytest.raises(Interrupted):
                    received(drive, server.service(tls_direct=direct))
            finally:
                done.set()
                stop.set()
    finally:
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("size", [100, 40_000_000])
def test_a_server_that_does_not_read(drive: Driver, direct: bool, size: int, authority: Authority) -> None:
    """Also where the body is small, and the answer is what does not come."""
    done = threading.Event()

    def script(peer: Peer) -> None:
        done.wait(PATIENCE)

    with TlsServer([script], authority) as server:
        service = server.service(tls_direct=direct, read_timeout=0.2)
        try:
            with pytest.raises(TransferTimeoutError, match=r"for 0\.2 s"):
                drive(put(service, bytes(size)))
            assert not done.is_set()
        finally:
            done.set()


def test_an_interrupt_ends_a_write_that_waits(drive: Driver, direct: bool, authority: Authority) -> None:
    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        while not done.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)

    try:
        with TlsServer([script], authority) as server:
            try:
                with pytest.raises(Interrupted):
                    drive(put(server.service(tls_direct=direct), bytes(40_000_000)))
            finally:
                done.set()
    finally:
        signal.signal(signal.SIGVTALRM, before)


def test_another_thread_cancels_a_read_that_waits(direct: bool, authority: Authority) -> None:
    token, done = AwaitToken(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer))[:70_000])
        token.cancel()
        done.wait(PATIENCE)

    with TlsServer([script], authority) as server:
        service = server.service(tls_direct=direct)
        try:
            with pytest.raises(TransferCancelledError):
                cancelled_by(token, lambda: blocking.perform(get(service, MemorySink())))
        finally:
            done.set()


# -- lifetimes


@only_direct
def test_a_chain_goes_with_its_connection(
    drive: Driver, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []
    library: Any = tls_chain._library()
    free = library.free_all
    monkeypatch.setattr(library, "free_all", lambda bio: (freed.append(bio), free(bio)))
    with TlsServer([answer()], authority) as server:
        service = server.service()
        assert received(drive, service) == BODY
        assert not freed
        service.pool.renew()
        assert len(freed) == 1
        assert freed[0]


@pytest.mark.parametrize("cut", [2 * RECORD, 3 * RECORD // 2])
def test_the_buffer_of_a_body_that_broke_off_and_came_again_is_free(
    drive: Driver, direct: bool, cut: int, authority: Authority
) -> None:
    def broken(peer: Peer) -> None:
        peer.request()
        peer.send(b"".join(stream_of(peer))[:cut])

    buffer = bytearray(len(BODY))
    gc.disable()
    try:
        with TlsServer([broken, answer()], authority) as server:
            service = server.service(tls_direct=direct)
            service.policy = RetryPolicy(QUICK, None)
            drive(get(service, BufferSink(memoryview(buffer))))
        assert buffer == BODY
        buffer.clear()
    finally:
        gc.enable()


def test_a_forked_child_says_nothing_on_its_parent_s_connection(
    drive: Driver, direct: bool, authority: Authority
) -> None:
    """Older releases of OpenSSL end the session when a chain is freed."""
    with TlsServer([twice], authority) as server:
        service = server.service(tls_direct=direct)
        assert received(drive, service) == BODY
        child = os.fork()
        if not child:
            try:
                service.pool.renew()
                service.pool.close_idle(float("inf"))
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert received(drive, service) == BODY


def opened(service: Service) -> Connection:
    """A connection that has sent a request, in blocking mode."""
    connection = service.pool.acquire()
    connection.open()
    connection.set_blocking(True)
    connection.send([memoryview(b"GET / HTTP/1.1\r\n\r\n")])
    return connection


@only_direct
def test_the_descriptor_of_a_connection_that_is_closed_while_it_is_read_is_free_only_behind_the_read(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = tls_chain._library()
    read, open_still = library.read, []

    def closed_at_once(*arguments: Any) -> int:
        sock = connection.sock
        connection.close()
        open_still.append(sock)
        assert sock.fileno() >= 0
        return int(read(*arguments))

    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            answer()(peer)

    with TlsServer([script], authority) as server:
        connection = opened(server.service())
        monkeypatch.setattr(library, "read", closed_at_once)
        room = memoryview(bytearray(len(BODY)))
        with contextlib.suppress(OSError):
            connection.receive(room, len(room))
    assert open_still[0].fileno() == -1


@only_direct
def test_one_turn_of_a_connection_among_others_ends_with_a_record(authority: Authority) -> None:
    """What is left in TLS would be another turn at once."""
    body, there = bytes(2 << 20), threading.Event()

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        peer.request()
        peer.send(peer.record(b"x") + b"".join(peer.records(body, itertools.repeat(RECORD - 5))))
        there.set()
        with contextlib.suppress(OSError):
            peer.sock.recv(1)

    with TlsServer([script], authority) as server:
        connection = opened(server.service())
        room, got = memoryview(bytearray(len(body))), 0
        assert connection.receive(room, 0) == 1
        connection.set_blocking(False)
        longest = 0
        while got < len(body):
            with contextlib.suppress(ssl.SSLWantReadError):
                count = connection.receive(room[got:], len(body) - got)
                got, longest = got + count, max(longest, count)
                assert not connection.holds_more()
        assert longest <= RUN + RECORD
        connection.close()


def test_a_connection_that_another_thread_closes_while_it_is_read(direct: bool, authority: Authority) -> None:
    waits = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(peer.record(bytes(RECORD)))
        waits.set()
        with contextlib.suppress(OSError):
            peer.sock.recv(1)  # until the client has closed

    ended: list[BaseException] = []
    with TlsServer([script], authority) as server:
        connection = opened(server.service(tls_direct=direct, read_timeout=PATIENCE))
        room = memoryview(bytearray(100_000))

        def read() -> None:
            try:
                while connection.receive(room, len(room)):
                    pass
            except (OSError, ValueError) as error:
                ended.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert waits.wait(PATIENCE)
        sock = connection.sock
        connection.end()
        connection.close()
        reader.join(PATIENCE)
        assert not reader.is_alive()
        assert sock.fileno() == -1
