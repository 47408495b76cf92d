"""TLS, forks, threads and interrupts: connections that are shared, and those that must not be trusted."""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import pickle
import signal
import socket
import ssl
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import ConfigError, NetworkError, S3dlioError
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import DiscardSink, MemorySink
from s3dlio.net import tls
from s3dlio.net.lane import Lane
from s3dlio.stores.s3 import S3Store
from tests.faults.connect_proxy import ConnectRelay
from tests.leases import assert_returned
from tests.servers import Server
from tests.servers.certs import Authority, make_authority
from tests.servers.delayed import DelayedServer
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.scripted import Close, Expect, ExpectClose, Receive, Reset, ScriptedServer, Send, Wait, respond
from tests.threads import run_in_threads
from tests.wire.harness import DRIVERS, HTTP, Calls, Driver, asking, get, put, service_of
from tests.wire.s3_harness import read, store_of

OK = respond(body=b"hello", headers=[("ETag", '"e"')])


@pytest.fixture(params=list(DRIVERS))
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


def secure(server: ScriptedServer, bundle: Path | None, host: str = "127.0.0.1") -> Any:
    http = dataclasses.replace(HTTP, ca_bundle=None if bundle is None else str(bundle))
    return service_of(f"https://{host}:{server.port}", http=http)


# -- TLS


def test_a_private_authority_is_trusted_when_named(drive: Driver, authority: Authority) -> None:
    body = bytes(range(256)) * 4000
    script = [Expect(lambda seen: seen.body == body), respond(body=body), Expect(), OK]
    with ScriptedServer([script], tls=authority) as server:
        service = secure(server, authority.bundle)
        sink = MemorySink()
        request = put(service, body)
        request.sink = sink
        drive(request)
        assert sink.view() == body
        assert bytes(drive(get(service)).body) == b"hello"
        server.assert_consumed()


def test_an_unknown_authority_is_not(drive: Driver, authority: Authority) -> None:
    with ScriptedServer([[]], tls=authority) as server:
        with pytest.raises(NetworkError, match="is not trusted") as caught:
            drive(get(secure(server, None)))
        assert "AWS_CA_BUNDLE" in str(caught.value)
        assert server.extra_connections == 0  # trying again would not help


def test_another_host_name_is_not(drive: Driver, tmp_path: Path) -> None:
    """The certificate is good, but for another host."""
    other = make_authority(tmp_path, names=("elsewhere.example",))
    with ScriptedServer([[]], tls=other) as server:
        service = secure(server, other.bundle, host="localhost")
        with pytest.raises(NetworkError, match=r"is not trusted.*localhost"):
            drive(get(service))


def test_an_expired_certificate_is_not(drive: Driver, tmp_path: Path) -> None:
    expired = make_authority(tmp_path, expired=True)
    with ScriptedServer([[]], tls=expired) as server, pytest.raises(NetworkError, match="expired"):
        drive(get(secure(server, expired.bundle)))


def test_plain_text_where_tls_is_expected(drive: Driver, authority: Authority) -> None:
    nonsense = [Receive(1), Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()]
    with ScriptedServer([nonsense]) as server:
        with pytest.raises(NetworkError, match=r"does not answer in TLS; .* write http://"):
            drive(get(secure(server, authority.bundle)))
        server.assert_consumed()


def test_a_body_until_close_that_was_cut(drive: Driver, authority: Authority) -> None:
    """Without close_notify nobody knows whether the body is whole."""
    head = b"HTTP/1.1 200 OK\r\n\r\nhalf a bo"
    with ScriptedServer([[Expect(), Send(head), Wait(0.05), Close()]] * 4, tls=authority) as server:
        with pytest.raises(NetworkError):
            drive(get(secure(server, authority.bundle)))
        server.assert_consumed()


@pytest.mark.parametrize("withheld", [False, True])
def test_the_go_ahead_over_tls(drive: Driver, authority: Authority, withheld: bool) -> None:
    """The session tickets that a server sends first are no answer."""
    go_ahead = Wait(1.2) if withheld else Send(b"HTTP/1.1 100 Continue\r\n\r\n")
    with ScriptedServer([[Expect(body=False), go_ahead, Receive(100), OK]], tls=authority) as server:
        request = put(secure(server, authority.bundle), b"x" * 100)
        request.expect_continue = True
        assert drive(request).status == 200
        server.assert_consumed()


def test_a_stale_tls_connection(drive: Driver, authority: Authority) -> None:
    with ScriptedServer([[Expect(), OK, Expect(), Reset()], [Expect(), OK]], tls=authority) as server:
        service = secure(server, authority.bundle)
        drive(get(service))
        assert drive(get(service)).attempts == 2
        server.assert_consumed()


def test_errors_of_connections_pickle(drive: Driver, authority: Authority) -> None:
    with ScriptedServer([[]], tls=authority) as server, pytest.raises(NetworkError) as caught:
        drive(get(secure(server, None)))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_the_end_that_tls_tells_behind_bytes_is_noticed_at_once(drive: Driver, authority: Authority) -> None:
    """A server that says in TLS that it has ended, and leaves the socket open until we have said so, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.cert, authority.key)
    body = bytes(range(256)) * 400
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

    def serve(listener: socket.socket) -> None:
        first = context.wrap_socket(listener.accept()[0], server_side=True)
        first.recv(65536)
        first.sendall(head)
        first.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # the rest arrives as one
        first.sendall(body[:5000])
        first.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            first.unwrap()
        first.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        with first, context.wrap_socket(listener.accept()[0], server_side=True) as second:
            second.recv(65536)
            second.sendall(head + body)
            second.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        http = dataclasses.replace(HTTP, read_timeout=5.0, ca_bundle=str(authority.bundle))
        service = service_of(f"https://127.0.0.1:{listener.getsockname()[1]}", http=http)
        before = service.policy.budget.tokens
        sink = MemorySink()
        drive(get(service, sink))
        assert sink.view() == body
        assert before - service.policy.budget.tokens == 5  # a broken connection; a time-out would cost 10
        service.pool.close_idle(math.inf)
        server.join(10)
        assert not server.is_alive()


# -- forks and threads


def in_child(work: Any) -> None:
    """Run ``work`` in a forked child, which must succeed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_has_connections_of_its_own(moto_server: Server) -> None:
    with FaultProxy(moto_server.endpoint) as proxy:
        store = store_of(proxy.endpoint, "forks")
        store.create_container()
        store.put("k", b"data")
        before = proxy.tally.connections

        def work() -> None:
            for _ in range(5):
                assert store.get("k") == b"data"
            assert batch(store, 20) == []

        in_child(work)
        assert proxy.tally.connections > before
        during = proxy.tally.connections
        assert store.get("k") == b"data"
        assert proxy.tally.connections == during  # ours is as it was


def test_a_child_of_a_busy_parent(moto_server: Server) -> None:
    store = store_of(moto_server.endpoint, "busy")
    store.create_container()
    store.put("k", b"data")
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            store.get("k")

    threads = [threading.Thread(target=keep_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            in_child(lambda: store.get("k"))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_fork_while_credentials_are_asked_for(moto_server: Server) -> None:
    """Another thread holds the locks at that moment; in the child it does not exist."""
    store = store_of(moto_server.endpoint, "locked")
    store.create_container()
    store.put("k", b"data")
    signer: Any = store.service.route.target.signer
    with signer.lock, store.service.account.credentials._lock:
        in_child(lambda: (signer.forget_credentials(), store.get("k")))


def batch(store: S3Store, count: int) -> list[BaseException]:
    failures: list[BaseException] = []

    def done(index: int, result: Any, error: BaseException | None) -> None:
        if error is not None:
            failures.append(error)

    calls = [store.read_call("k", DiscardSink()) for _ in range(count)]
    run_calls(calls, admission=Admission(8), on_done=done, cancel=CancelToken(), executor=InlineExecutor())
    return failures


def test_eight_threads_on_one_store(moto_server: Server) -> None:
    store = store_of(moto_server.endpoint, "threads")
    store.create_container()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                body = bytes([number]) * (1000 * turn + 1)
                store.put(f"k{number}", body)
                assert store.get(f"k{number}") == body
                assert batch_of(store, f"k{number}") == []
        except BaseException as error:
            errors.append(error)

    run_in_threads(work, range(8))
    assert errors == []


def batch_of(store: S3Store, key: str) -> list[BaseException]:
    failures: list[BaseException] = []

    def done(index: int, result: Any, error: BaseException | None) -> None:
        if error is not None:
            failures.append(error)

    calls = [store.read_call(key, DiscardSink()) for _ in range(5)]
    run_calls(calls, admission=Admission(3), on_done=done, cancel=CancelToken(), executor=InlineExecutor())
    return failures


def test_threads_over_a_network_that_breaks() -> None:
    with DelayedServer(delay=0.002, size=5000) as far, FaultProxy(far.endpoint) as proxy:
        faults = [Fault(reset=True), Fault(cut_after=3000), Fault(cut_after=100, reset=True), Fault(refuse=True)] * 3
        proxy.plan(*faults)
        store = store_of(proxy.endpoint, retry={"max_attempts": 20})
        failures: list[BaseException] = []
        run_in_threads(lambda _: failures.extend(batch(store, 60)), range(4))
        assert failures == []
        proxy.assert_planned_faults_happened()


# -- interrupts


@pytest.mark.parametrize("lane", [False, True])
def test_an_interrupt_in_the_middle_of_a_range_read(lane: bool) -> None:
    """A signal, as Ctrl-C sends it, while half the ranges are there: nothing is kept, and the store works on."""
    body = bytes(300 * 1024)
    half = Send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: %d\r\n\r\n' % len(body) + body[: 64 * 1024])
    stuck = [Expect(lambda seen: "range" in seen.headers), ExpectClose()]
    before = default_pool().stats().leased
    with ScriptedServer([[Expect(), half], stuck, stuck, stuck, stuck, [Expect(), OK]]) as server:
        store = store_of(server.endpoint, range={"threshold": 65536, "chunk": 65536})

        def strike() -> None:
            while len(server.all_requests) < 5:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        striker = threading.Thread(target=strike, daemon=True)  # where fewer requests come, the test ends all the same
        striker.start()
        with pytest.raises(KeyboardInterrupt):
            read(store, "k", MemorySink(), lane=lane)
        striker.join()
        assert bytes(store.get("k")) == b"hello"
        server.assert_consumed()
    gc.collect()
    assert_returned(before)


# -- proxies


def test_a_slow_proxy_holds_up_nobody(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a proxy takes its time, the other connections of the lane go on."""
    refusal = respond("403 Forbidden", headers=[("Connection", "close")])
    slow = [Expect(b"CONNECT far.example:443"), Wait(0.25), refusal, Close()]
    with ScriptedServer([slow] * 4) as proxy, DelayedServer(delay=0.005) as near:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        far_away = service_of("https://far.example")
        order: list[int] = []
        errors: list[BaseException] = []

        def done(index: int, result: Any, error: BaseException | None) -> None:
            order.append(index)
            if error is not None:
                errors.append(error)

        calls = Calls([asking(get(far_away)), *[asking(get(service_of(near.endpoint))) for _ in range(20)]])
        Lane(window=4).run(calls, done)
        assert order[-1] == 0
        assert len(errors) == 1
        assert isinstance(errors[0], S3dlioError)
        assert "proxy" in str(errors[0])


@pytest.mark.parametrize("said", [b"220 mail.test ESMTP\r\n", b"HTTP/1.1 2000000 OK\r\n\r\n", b"x" * 70_000])
def test_a_proxy_that_is_none(drive: Driver, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([[Expect(b"CONNECT"), Send(said), Close()]] * 4) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(NetworkError, match="gave no connection") as caught:
            drive(get(service_of(f"https://behind-{proxy.port}.test")))
        assert len(str(caught.value)) < 500
        proxy.assert_consumed()


def test_what_is_found_wrong_while_connecting_harms_no_other(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(ca_bundle: str | None) -> Any:
        raise ConfigError("the CA bundle cannot be used")

    with ScriptedServer([[]], tls=authority) as server, ScriptedServer([[Expect(), OK]] * 4) as plain:
        bad, good = service_of(server.endpoint), service_of(plain.endpoint)
        monkeypatch.setattr(tls, "client_context", gone)
        calls = Calls([asking(get(bad)), *[asking(get(good)) for _ in range(4)]])
        Lane(window=8).run(calls, calls.done)
        assert isinstance(calls.errors[0], ConfigError)
        assert sorted(calls.results) == [1, 2, 3, 4]


def test_through_a_proxy(drive: Driver, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CONNECT proxy in front of a TLS server: it relays what the tunnel carries."""
    with ScriptedServer([[Expect(b"GET /k"), OK, Expect(), OK]], tls=authority) as server:
        with ConnectRelay(server.port) as relay:
            monkeypatch.setenv("https_proxy", f"http://user:pass%40word@127.0.0.1:{relay.port}")
            service = secure(server, authority.bundle, host="localhost")
            assert bytes(drive(get(service)).body) == b"hello"
            assert bytes(drive(get(service)).body) == b"hello"
            assert relay.asked == [f"localhost:{server.port}"]
            assert relay.credentials == ["Basic dXNlcjpwYXNzQHdvcmQ="]
        server.assert_consumed()
