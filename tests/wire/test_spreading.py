"""Requests that are spread over several servers: where they go when one fails, what is safe, and how many at a time."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from s3dlio import Client
from s3dlio.config.sections import RetrySettings
from s3dlio.errors import ConfigError, NetworkError, S3dlioError, TransferCancelledError, TransferTimeoutError
from s3dlio.net import blocking, system
from s3dlio.net.cancellation import AbortScope
from s3dlio.net.endpoints import Endpoint, EndpointChoice
from s3dlio.net.lane import Lane
from s3dlio.net.message import Request, Service
from s3dlio.net.spreading import Spread
from s3dlio.net.task import ask
from tests.servers.base import hold_port, port_of
from tests.servers.scripted import Action, Close, Expect, Reset, ScriptedServer, Send, Until, respond
from tests.wire.harness import DRIVERS, HTTP, QUICK, Driver, get, put, service_of

HELLO = respond(body=b"hello")
#: A pause that no test would survive.
PATIENT = RetrySettings(max_attempts=4, base_delay=3600.0, max_delay=3600.0)
KEYS = {"access_key_id": "A", "secret_access_key": "B", "region": "r"}


@pytest.fixture(params=list(DRIVERS))
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


def spread_over(*urls: str, retry: RetrySettings = QUICK, limit: int | None = None, **options: Any) -> Spread:
    """Requests go to these in turn."""
    choice = EndpointChoice([Endpoint(url, limit) for url in urls], options.pop("strategy", "round_robin"))
    choice.probe = lambda index: None
    return Spread(choice, [service_of(url, retry=retry, **options) for url in urls])


@contextmanager
def scripted(*scripts: list[list[Action]]) -> Iterator[list[ScriptedServer]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer(script)) for script in scripts]
        yield servers
        for server in servers:
            server.assert_consumed()


def states(spread: Spread) -> list[tuple[int, bool]]:
    """Requests and health of each server."""
    assert spread.choice.total()["active_requests"] == 0
    return [(each["requests"], each["healthy"]) for each in spread.choice.statistics()]


def test_each_server_is_asked_by_its_own_name(drive: Driver) -> None:
    scripts: list[list[list[Action]]] = [[[Expect(), HELLO, Expect(), HELLO]] for _ in range(2)]
    with scripted(*scripts) as servers:
        spread = spread_over(*(server.endpoint for server in servers))
        for _ in range(4):
            assert drive(get(spread.entry)).status == 200
        for server in servers:
            hosts = [request.headers["host"] for request in server.all_requests]
            assert hosts == [f"127.0.0.1:{server.port}"] * 2
        assert states(spread) == [(2, True), (2, True)]
        assert [each["bytes_read"] for each in spread.choice.statistics()] == [10, 10]


def test_what_no_server_has_seen_goes_elsewhere_at_once_and_is_no_attempt(drive: Driver) -> None:
    with scripted([[Expect(b"POST"), HELLO]]) as (server,), hold_port() as nobody:
        dead = f"http://127.0.0.1:{port_of(nobody)}"
        spread = spread_over(dead, server.endpoint, retry=dataclasses.replace(PATIENT, max_attempts=1))
        request = Request(spread.entry, "POST", "/k")
        request.idempotent = False
        assert drive(request).attempts == 1
        assert states(spread) == [(1, False), (1, True)]


def test_an_unknown_name_is_routed_around(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, *rest: Any, **named: Any) -> Any:
        if host == "nobody.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return socket.getaddrinfo(host, *rest, **named)

    monkeypatch.setattr(system, "getaddrinfo", look_up)
    with scripted([[Expect(), HELLO]]) as (server,):
        spread = spread_over("http://nobody.test:9", server.endpoint, retry=PATIENT)
        assert drive(get(spread.entry)).status == 200
        assert states(spread) == [(1, False), (1, True)]


@pytest.mark.parametrize("end", [Close(), Reset()])
def test_a_read_that_broke_off_goes_elsewhere_without_a_pause(drive: Driver, end: Action) -> None:
    with scripted([[Expect(), end]], [[Expect(), HELLO]]) as servers:
        spread = spread_over(*(server.endpoint for server in servers), retry=PATIENT)
        assert drive(get(spread.entry)).attempts == 2
        assert states(spread) == [(1, True), (1, True)]  # once says little


def test_what_may_have_been_done_is_not_sent_elsewhere(drive: Driver) -> None:
    with scripted([[Expect(b"POST"), Close()]], []) as servers:
        spread = spread_over(*(server.endpoint for server in servers))
        request = Request(spread.entry, "POST", "/k")
        request.idempotent = False
        with pytest.raises(NetworkError):
            drive(request)


def test_a_server_that_breaks_off_again_and_again_is_down(drive: Driver) -> None:
    with scripted([[Expect(), Close()]] * 3, [[Expect(), HELLO]] * 5) as servers:
        spread = spread_over(*(server.endpoint for server in servers), retry=PATIENT)
        for _ in range(5):
            assert drive(get(spread.entry)).status == 200
            for member in spread.members.values():
                member.pool.renew()
        assert states(spread) == [(3, False), (5, True)]


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (respond("503 Slow Down", body=b"<Error><Code>SlowDown</Code></Error>"), True),
        (respond("500 Internal Server Error"), True),
        (respond("502 Bad Gateway"), True),
    ],
)
def test_an_answer_that_asks_for_another_try_has_it_elsewhere(drive: Driver, answer: Action, healthy: bool) -> None:
    with scripted([[Expect(), answer]], [[Expect(), HELLO]]) as servers:
        spread = spread_over(*(server.endpoint for server in servers), retry=PATIENT)
        assert drive(get(spread.entry)).status == 200
        assert states(spread) == [(1, healthy), (1, True)]


def test_a_refusal_is_an_answer(drive: Driver) -> None:
    with scripted([[Expect(), respond("404 Not Found")]], []) as servers:
        spread = spread_over(*(server.endpoint for server in servers))
        assert drive(get(spread.entry)).status == 404
        assert states(spread) == [(1, True), (0, True)]
        assert spread.choice.statistics()[0]["error_count"] == 1


def test_a_body_that_was_sent_is_sent_again_elsewhere(drive: Driver) -> None:
    with scripted([[Expect(), Close()]], [[Expect(lambda request: request.body == b"data"), HELLO]]) as servers:
        spread = spread_over(*(server.endpoint for server in servers), retry=PATIENT)
        assert drive(put(spread.entry, b"data")).status == 200
        assert [each["bytes_written"] for each in spread.choice.statistics()] == [0, 4]


def test_the_rest_of_a_body_comes_from_another_server() -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\nfirst'
    rest = respond("206 Partial Content", body=b"other", headers=[("Content-Range", "bytes 5-9/10"), ("ETag", '"1"')])
    ranged = Expect(lambda request: request.headers["range"] == "bytes=5-9" and request.headers["if-match"] == '"1"')
    with scripted([[Expect(), Send(head), Close()]], [[ranged, rest]]) as servers:
        urls = [server.endpoint for server in servers]
        with always_in_turn(), Client(endpoints=urls, retry={"base_delay": 0.001}, **KEYS) as client:
            assert client.get("s3://b/k") == b"firstother"


@contextmanager
def always_in_turn() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "uniform", lambda low, high: low)
        yield


def test_all_servers_are_dead(drive: Driver) -> None:
    with hold_port() as one, hold_port() as other:
        spread = spread_over(*(f"http://127.0.0.1:{port_of(port)}" for port in (one, other)))
        with pytest.raises(NetworkError, match=r"refused; none of 2 endpoints answers \(after 4 attempts\)"):
            drive(get(spread.entry))
        assert states(spread)[0][1] is False


def test_silent_servers_take_a_time_out_for_each_attempt_at_most(drive: Driver) -> None:
    http = dataclasses.replace(HTTP, read_timeout=0.1)
    quiet = threading.Event()
    silent: list[list[Action]] = [[Expect(), Until(quiet)]]
    with scripted(silent, silent, []) as servers:
        retry = dataclasses.replace(QUICK, max_attempts=2)
        spread = spread_over(*(server.endpoint for server in servers), retry=retry, http=http)
        with pytest.raises(TransferTimeoutError, match="of 3 endpoints, 2 do not answer"):
            drive(get(spread.entry))
        quiet.set()


def test_a_server_that_is_back_is_found_out_by_a_request_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    done = threading.Event()
    with scripted([[Expect(b"HEAD / "), respond("403 Forbidden")]], [[Expect(), HELLO]]) as servers:
        spread = spread_over(*(server.endpoint for server in servers))
        choice = spread.choice
        monkeypatch.setattr("s3dlio.net.endpoints.system", _Clock(now))
        spread.choice.end(choice.endpoints[0], 1, "gone")
        assert choice.begin() is choice.endpoints[1]
        now[0] += 1.1
        choice.probe = spread._probe
        found = choice.probed
        monkeypatch.setattr(choice, "probed", lambda *result: (found(*result), done.set()))
        assert DRIVERS["blocking"](get(spread.entry)).status == 200  # it does not wait for the other one
        assert done.wait(20)
        assert choice.statistics()[0]["healthy"]


class _Clock:
    def __init__(self, now: list[float]) -> None:
        self._now = now
        self.uniform = system.uniform

    def monotonic(self) -> float:
        return self._now[0]


# -- limits


class Slow:
    """A server that answers after a moment, and notes how many requests it had at a time."""

    def __init__(self) -> None:
        self.active = self.most = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            while b"\r\n\r\n" in sock.recv(65536):
                with self._lock:
                    self.active += 1
                    self.most = max(self.most, self.active)
                time.sleep(0.002)
                with self._lock:
                    self.active -= 1
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("way", ["lane", "threads", "lanes"])
def test_no_server_has_more_in_flight_than_it_may(way: str) -> None:
    servers = [Slow(), Slow()]
    spread = spread_over(*(server.url for server in servers), limit=2)
    requests = [get(spread.entry) for _ in range(40)]

    def gather(some: list[Request]) -> None:
        assert all(answer.status == 200 for answer in Lane(window=16).gather(some))

    if way == "lane":
        gather(requests)
    else:
        work: Callable[[Any], object] = gather if way == "lanes" else DRIVERS["blocking"]
        items: list[Any] = [requests[at::4] for at in range(4)] if way == "lanes" else list(requests)
        threads = [threading.Thread(target=work, args=(item,)) for item in items]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert max(server.most for server in servers) <= 2
    assert sum(requests for requests, _ in states(spread)) == 40
    for server in servers:
        server.close()


@pytest.mark.parametrize("many", [False, True])
def test_a_request_that_waits_for_room_has_the_time_of_its_operation(many: bool, drive: Driver) -> None:
    spread = spread_over("http://127.0.0.1:9", limit=1, total=0.2)
    first = get(spread.entry)
    assert spread.begin(first)
    assert not spread.begin(get(spread.entry))
    requests = [get(spread.entry) for _ in range(8)]
    with pytest.raises(TransferTimeoutError, match=r"not done within 0\.2 s"):
        Lane(window=4).gather(requests) if many else drive(requests[0])
    assert not spread.choice._waiters.keys() & set(requests)  # what is given up is kept by nobody who waits


def test_a_call_that_is_cancelled_while_it_waits_for_room_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    spread, scope = spread_over("http://127.0.0.1:9", limit=1), AbortScope()
    first = get(spread.entry)
    assert spread.begin(first)
    begin = Spread.begin

    def cancelled(self: Spread, request: Any, wake: Any = None) -> bool:
        found = begin(self, request, wake)
        if wake is not None:
            scope.cancel()
        return found

    monkeypatch.setattr(Spread, "begin", cancelled)
    with pytest.raises(TransferCancelledError):
        blocking.drive(ask(get(spread.entry), []), scope=scope)
    assert not spread.choice._waiters


def test_a_request_that_is_given_up_gives_its_room_back() -> None:
    spread = spread_over("http://127.0.0.1:9", limit=1)
    request = get(spread.entry)
    assert spread.begin(request)
    assert not spread.begin(get(spread.entry))
    del request
    assert spread.begin(get(spread.entry))


# -- settings of a client


def test_an_endpoint_may_have_a_limit_of_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[endpoint."b:2"]\ns3.endpoint_max_in_flight = 3\ns3.region = "there"\n')
    monkeypatch.setenv("S3DLIO_CONFIG", str(file))
    with Client(endpoints="http://a:1,http://b:2", access_key_id="A", secret_access_key="B") as client:
        account = client.store_for("s3://bucket/k")[0].service.account  # type: ignore[attr-defined]
        assert [endpoint.limit for endpoint in account.choice.endpoints] == [None, 3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"endpoints": "http://h{1...40}:9000"}, r"Too many endpoints: 40 exceeds maximum of 32"),
        ({"endpoints": ["http://a", "https://b"]}, "several schemes: http, https"),
        ({"endpoints": ["http://a/x", "http://b/y"]}, "different paths"),
        ({"endpoints": ["http://a", "http://a/"]}, "twice"),
        ({"endpoints": ["s3://bucket/data"]}, "no endpoint"),
        ({"endpoints": ["http://user:secret@h"]}, "no endpoint|must not hold credentials"),
        ({"endpoints": []}, "no endpoints"),
        ({"endpoints": ["http://{a...c}:9000"]}, "no endpoint"),
        ({"endpoints": ["http://h{3...1}"]}, "Invalid range"),
        ({"endpoints": "@/nowhere/at/all"}, "cannot read"),
        ({"endpoints": 7}, "must be a list"),
        ({"endpoints": "http://a", "load_balance_strategy": "bogus"}, "Invalid strategy 'bogus'"),
        ({"endpoints": "http://a", "endpoint_url": "http://b"}, "exclude each other"),
        ({"source_addresses": ["localhost"]}, "IP address|IPv4"),
    ],
)
def test_endpoints_that_a_client_refuses(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Client(**wrong)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("backend", ["boto3", "arrow"])
def test_other_transports_refuse_what_they_do_not_do(backend: str) -> None:
    pytest.importorskip({"boto3": "boto3", "arrow": "pyarrow"}[backend])
    several: dict[str, Any] = {"endpoints": "http://a,http://b"}
    for options in (several, {"endpoint_url": "http://a", "source_addresses": "127.0.0.1"}):
        client = Client(s3={"backend": backend}, **options, **KEYS)
        with pytest.raises(ConfigError, match="does not know"):
            client.get("s3://b/k")


def test_a_uri_that_names_its_server_goes_there() -> None:
    with scripted([], [[Expect(), HELLO] * 3]) as servers:
        client = Client(endpoints=[server.endpoint for server in servers], **KEYS)
        for _ in range(3):
            assert client.get(f"s3://127.0.0.1:{servers[1].port}/b/k") == b"hello"


# -- addresses


class Doors:
    """Servers at several addresses of this machine, with one port, that note what they are asked."""

    def __init__(self, *hosts: str) -> None:
        first = socket.create_server((hosts[0], 0))
        self.port = first.getsockname()[1]
        self._listeners = [first, *(socket.create_server((host, self.port)) for host in hosts[1:])]
        self.seen: list[tuple[str, str, bytes]] = []
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, peer[0]), daemon=True).start()

    def _serve(self, sock: socket.socket, peer: str) -> None:
        with sock:
            while head := sock.recv(65536):
                self.seen.append((sock.getsockname()[0], peer, head))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                return

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def doors() -> Iterator[Doors]:
    try:
        found = Doors("127.0.0.1", "127.0.0.2", "127.0.0.3")
    except OSError:
        pytest.skip("this machine has one loopback address")
    yield found
    found.close()


def named(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Every name has these addresses."""
    monkeypatch.setattr(
        system, "getaddrinfo",
        lambda name, port, **options: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts],
    )  # fmt: skip


def test_one_name_with_many_addresses_is_spread(drive: Driver, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9")  # nobody listens at the last one
    service = service_of(f"http://many.test:{doors.port}", retry=dataclasses.replace(PATIENT, max_attempts=1))
    for _ in range(30):
        assert drive(get(service)).attempts == 1
    asked = [host for host, _, _ in doors.seen]
    assert all(asked.count(host) in (9, 10, 11) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")), asked
    assert all(f"host: many.test:{doors.port}\r\n".encode() in head for _, _, head in doors.seen)


def test_an_address_that_failed_is_tried_again_by_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("s3dlio.net.server.system", _Clock(now))
    service: Service = service_of("http://several.test:9")
    server = service.pool
    good, bad = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 9)) for host in ("10.0.0.1", "10.0.0.2")]
    server.resolved([good, bad])
    assert server.avoid(bad)
    assert {server.address() for _ in range(4)} == {good}
    now[0] += 31.0
    server.resolved([good, bad])
    assert [server.address() for _ in range(4)].count(bad) == 1
    server.reached(bad)
    assert {server.address() for _ in range(4)} == {good, bad}


def test_connections_are_made_from_each_source_address(drive: Driver, doors: Doors) -> None:
    http = dataclasses.replace(HTTP, source_addresses=("127.0.0.2", "::1", "127.0.0.3"))
    service = service_of(f"http://127.0.0.1:{doors.port}", http=http)
    for _ in range(10):
        drive(get(service))
    peers = [peer for _, peer, _ in doors.seen]
    assert (peers.count("127.0.0.2"), peers.count("127.0.0.3")) == (5, 5)


def test_a_source_address_that_this_machine_does_not_have(drive: Driver) -> None:
    http = dataclasses.replace(HTTP, source_addresses=("192.0.2.1",))
    with hold_port() as port, pytest.raises(S3dlioError, match=r"from 192\.0\.2\.1: .*http\.source_addresses"):
        drive(get(service_of(f"http://127.0.0.1:{port_of(port)}", http=http)))


@pytest.mark.parametrize("verb", ["get", "put", "list"])
def test_the_server_that_is_no_s3_is_the_one_that_is_named(verb: str) -> None:
    page = respond(body=b"<html><title>Hello</title></html>", headers=[("Content-Type", "text/html")])
    with scripted([[Expect(), page]]) as (other,), hold_port() as nobody:
        client = Client(endpoints=[f"http://127.0.0.1:{port_of(nobody)}", other.endpoint], **KEYS)
        work: dict[str, Callable[[], object]] = {
            "get": lambda: client.get("s3://b/k"), "put": lambda: client.put_bytes("s3://b/k", b"x"),
            "list": lambda: client.list("s3://b/"),
        }  # fmt: skip
        with pytest.raises(S3dlioError, match=f"^[A-Z]+ s3://b/k?: {other.endpoint} is not an S3 endpoint"):
            work[verb]()
