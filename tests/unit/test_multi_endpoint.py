"""Several endpoints as one store: how requests are spread, named and counted, and what happens when one fails."""

from __future__ import annotations

import asyncio
import pickle
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import s3dlio
from s3dlio import Client, MultiEndpointStore
from s3dlio.errors import BatchError, ConfigError, InvalidURIError, NetworkError, ObjectNotFoundError, ThrottledError
from s3dlio.launcher import RANK_VARIABLES
from s3dlio.net import endpoints, system
from s3dlio.net.endpoints import NOTHING, Endpoint, EndpointChoice
from s3dlio.stores.multi import EndpointGroup
from tests.servers.certs import Authority
from tests.servers.scripted import Action, Expect, ScriptedServer, respond


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    return [f"file://{tmp_path}/{name}" for name in ("a", "b", "c")]


def requests_of(store: MultiEndpointStore) -> list[int]:
    return [each["total_requests"] for each in store.get_endpoint_stats()]


def test_requests_go_round(roots: list[str]) -> None:
    store = s3dlio.create_multi_endpoint_store(roots)
    assert (store.endpoint_count(), store.strategy()) == (3, "round_robin")
    store.put_all_endpoints("x", b"12345")
    for _ in range(6):
        assert store.get(f"{roots[0]}/x") == b"12345"
    assert store.get_range(f"{roots[2]}/x", 1, 3) == b"234"
    assert store.stat("x")["size"] == 5
    assert [store.exists("x"), store.exists("y")] == [True, False]
    total = store.get_total_stats()
    assert requests_of(store) == [5, 4, 4]
    assert total == {
        "total_requests": 13, "requests": 13, "bytes_read": 33, "bytes_written": 15, "bytes_transferred": 48,
        "error_count": 0, "active_requests": 0,
    }  # fmt: skip
    assert [each["uri"] for each in store.get_endpoint_stats()] == roots


def test_writes_and_deletes_go_to_one_endpoint(roots: list[str]) -> None:
    store = s3dlio.create_multi_endpoint_store(roots)
    for number in range(3):
        store.put(f"{roots[1]}/{number}", bytearray(b"x"), borrow=bool(number))
    assert [s3dlio.list_keys(f"{root}/") for root in roots] == [["0"], ["1"], ["2"]]
    assert store.list_all_endpoints("", True) == [f"{root}/{number}" for number, root in enumerate(roots)]
    assert sorted(store.list("", recursive=True) for _ in roots) == [[f"{r}/{n}"] for n, r in enumerate(roots)]
    store.put_to_endpoint(2, "there", b"y")
    assert store.get_from_endpoint(2, f"{roots[0]}/there") == b"y"
    store.delete_from_endpoint(2, "there")
    with pytest.raises(ObjectNotFoundError, match=r"^Get from endpoint failed: GET file:.*/c/there"):
        store.get_from_endpoint(2, "there")
    for _ in roots:
        store.delete("0")
    assert store.list_all_endpoints("", True) == [f"{roots[1]}/1", f"{roots[2]}/2"]


def test_verbs_are_awaited_where_a_loop_runs(roots: list[str]) -> None:
    async def all_of_them() -> None:
        store = s3dlio.create_multi_endpoint_store(roots, "least_connections")
        await store.put_all_endpoints("x", b"12345")
        assert await asyncio.gather(*(store.get("x") for _ in range(6))) == [b"12345"] * 6
        assert await store.get_range("x", 1, 2) == b"23"
        assert (await store.stat("x"))["size"] == 5
        assert await store.exists("x")
        await store.put(f"{roots[0]}/y", b"1", borrow=False)
        assert await store.list("missing/", True) == []
        assert len(await store.list_all_endpoints("", False)) == 4
        await store.delete_from_endpoint(0, "x")
        with pytest.raises(ObjectNotFoundError, match=r"^Get from endpoint failed: "):
            await store.get_from_endpoint(0, "x")
        assert store.get_total_stats()["error_count"] == 1
        assert store.get_total_stats()["active_requests"] == 0

    asyncio.run(all_of_them())


def test_a_uri_elsewhere_is_used_as_it_is(roots: list[str], tmp_path: Path) -> None:
    store = s3dlio.create_multi_endpoint_store(roots)
    store.put(f"file://{tmp_path}/abc/x", b"1")  # its name begins as that of an endpoint
    assert (tmp_path / "abc/x").read_bytes() == b"1"
    assert requests_of(store) == [0, 0, 0]


def test_names_beneath_a_server() -> None:
    group = EndpointGroup(["s3://a:1", "s3://b:2/"], ["a", "b"], "round_robin")
    for uri in ("s3://bucket/k", "bucket/k", "s3://a:1/bucket/k", "s3://b:2/bucket/k"):
        assert group.beneath(uri) == "/bucket/k"
    for uri in ("s3://c:3/bucket/k", "gs://bucket/k"):
        assert group.beneath(uri) is None
    nested = EndpointGroup(["gcs://b/x", "gs://b/x/y"], ["1", "2"], "round_robin")
    assert [nested.beneath(f"gs://b/{key}") for key in ("x/y/k", "x/yk", "xy", "x")] == ["/k", "/yk", None, ""]
    whole = EndpointGroup(["file:///"], ["1"], "round_robin")
    assert next(whole.attempts("file:///x")).uri == "file:///x"


def test_the_endpoint_with_the_fewest_requests_in_flight() -> None:
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "least_connections")
    held = next(group.attempts("k"))
    with held:
        for _ in range(3):
            with next(group.attempts("k")) as other:
                assert other.uri == "memory://b/k"
    assert group.statistics()[0]["active_requests"] == 0
    assert [each["requests"] for each in group.statistics()] == [1, 3]


class Clock:
    """The time of a group, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(system, "monotonic", lambda: self.now)


def targets_of(group: EndpointGroup, dead: set[str], error: Exception) -> list[str]:
    """Where one request goes, while the endpoints in ``dead`` fail."""
    tried = []
    for attempt in group.attempts("k"):
        with attempt:
            tried.append(attempt.uri[len("memory://") : -len("/k")])
            if tried[-1] in dead:
                raise error
            break
    return tried


def test_an_endpoint_that_fails_is_avoided_probed_and_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "round_robin")
    dead, error = {"a"}, NetworkError("gone")
    assert targets_of(group, dead, error) == ["a", "b"]
    assert [targets_of(group, dead, error) for _ in range(3)] == [["b"]] * 3
    assert [each["healthy"] for each in group.statistics()] == [False, True]
    clock.now += 1.0
    probe = next(group.attempts("k"))
    assert probe.uri == "memory://a/k"
    assert [targets_of(group, dead, error) for _ in range(2)] == [["b"]] * 2  # one finds out, the others go on
    with probe:
        raise error
    clock.now += 1.9  # the second pause is twice as long
    assert [targets_of(group, dead, error) for _ in range(2)] == [["b"]] * 2
    clock.now += 0.1
    assert targets_of(group, set(), error) == ["a"]
    assert [targets_of(group, set(), error) for _ in range(2)] == [["b"], ["a"]]
    assert all(each["healthy"] for each in group.statistics())


def test_many_failures_at_once_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "round_robin")
    flying = [next(group.attempts("k", 0)) for _ in range(8)]
    for attempt in flying:
        with pytest.raises(NetworkError), attempt:
            raise NetworkError("gone")
    clock.now += 1.0
    assert [targets_of(group, set(), NetworkError("")) for _ in range(2)] == [["b"], ["a"]]
    assert group.statistics()[0]["error_count"] == 8


def test_a_server_that_is_busy_is_not_down_and_one_that_answers_no_is_up() -> None:
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "round_robin")
    assert targets_of(group, {"a"}, ThrottledError("slow down", status=503)) == ["a", "b"]
    assert targets_of(group, set(), NetworkError("")) == ["a"]
    with pytest.raises(ObjectNotFoundError):
        targets_of(group, {"b"}, ObjectNotFoundError("none", status=404))
    assert all(each["healthy"] for each in group.statistics())


def test_where_all_are_down_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "round_robin")
    everyone, error = {"a", "b"}, NetworkError("gone")
    for _ in range(2):
        with pytest.raises(NetworkError):
            targets_of(group, everyone, error)
    assert [each["total_requests"] for each in group.statistics()] == [2, 1]
    assert targets_of(group, set(), error) == ["b"]


def test_all_endpoints_dead_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [one.getsockname()[1], two.getsockname()[1]]
    with (
        Client(retry={"max_attempts": 1}) as client,
        MultiEndpointStore([f"http://127.0.0.1:{port}" for port in ports], client=client) as store,
    ):
        with pytest.raises(NetworkError, match=rf"^Put failed: PUT s3://127.0.0.1:{ports[1]}/b/k: "):
            store.put("s3://b/k", b"1")
        with pytest.raises(BatchError, match=r"^Put to all endpoints failed: ") as failed:
            store.put_all_endpoints("s3://b/k", b"1")
        assert [failure.index for failure in failed.value.failures] == [0, 1]
        assert [each["healthy"] for each in store.get_endpoint_stats()] == [False, False]


@pytest.mark.parametrize(
    ("uris", "strategy", "error", "message"),
    [
        ([], None, InvalidURIError, "no URIs"),
        ([f"s3://b{n}" for n in range(40)], None, ConfigError, r"Too many endpoints: 40 exceeds maximum of 32 \(MAX_"),
        (["s3://a", "file:///b"], None, InvalidURIError, "several schemes: file, s3"),
        (["http://a", "https://a"], None, InvalidURIError, "several schemes"),
        (["s3://a"], "bogus", ConfigError, "Invalid strategy 'bogus'. Use 'round_robin' or 'least_connections'"),
        (["s3://"], None, InvalidURIError, "scheme|name"),
        (["http://"], None, InvalidURIError, "no URL of an endpoint"),
        (["http://user:secret@h"], None, InvalidURIError, "no URL of an endpoint"),
        (["http://h:99999"], None, InvalidURIError, "no URL of an endpoint"),
        ("s3://a,s3://b", None, ConfigError, "one text"),
        (["ftp://a"], None, InvalidURIError, "backend"),
    ],
)
def test_endpoints_that_are_refused(uris: Any, strategy: str | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        s3dlio.create_multi_endpoint_store(uris, strategy)
    assert isinstance(refused.value, RuntimeError)
    assert "secret" not in str(refused.value)


def test_an_index_that_there_is_not(roots: list[str]) -> None:
    store = s3dlio.create_multi_endpoint_store(roots[:2])
    for index in (9, -1):
        text = f"Get from endpoint failed: endpoint index {index} out of range: 2 endpoint"
        with pytest.raises(ConfigError, match=text):
            store.get_from_endpoint(index, "x")


def test_a_url_says_whether_it_means_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    answers: list[list[Action]] = [[Expect(b"GET /b/k "), respond(body=b"hello")]]
    with ScriptedServer(answers, tls=authority) as secure, ScriptedServer(answers) as plain:
        ports = f"443,{plain.port}"
        with Client(ca_bundle=str(authority.bundle), s3={"tls_ports": ports}) as client:
            for server in (secure, plain):
                with MultiEndpointStore([server.endpoint], client=client) as store:
                    assert store.get("s3://b/k") == b"hello"
                server.assert_consumed()


def test_a_service_that_fails_is_asked_twice_and_then_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    failing: list[list[Action]] = [
        [Expect(), respond("500 Internal Server Error"), Expect(), respond("500 Internal Server Error")]
    ]
    working: list[list[Action]] = [[Expect(b"PUT /b/k "), respond(headers=[("ETag", '"1"')])]]
    with (
        ScriptedServer(failing) as one,
        ScriptedServer(working) as other,
        Client(retry={"base_delay": 0.001}) as client,
        MultiEndpointStore([one.endpoint, other.endpoint], client=client) as store,
    ):
        store.put("b/k", b"1")
        one.assert_consumed()
        other.assert_consumed()
        assert [each["error_count"] for each in store.get_endpoint_stats()] == [1, 0]
        assert [each["bytes_written"] for each in store.get_endpoint_stats()] == [0, 1]


@pytest.mark.usefixtures("fresh_settings")
def test_settings_that_change_later_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def signed_for(region: str) -> Expect:
        return Expect(lambda request: f"/{region}/s3/aws4_request".encode() in request.head)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    scripts: list[list[Action]] = [
        [signed_for("eu-west-1"), respond(body=b"1"), signed_for("eu-west-2"), respond(body=b"2")]
    ]
    with ScriptedServer(scripts) as server, MultiEndpointStore([server.endpoint]) as store:
        for number in (1, 2):
            s3dlio.configure_s3(region=f"eu-west-{number}")
            assert store.get("b/k") == str(number).encode()
        server.assert_consumed()


def test_templates_and_files(tmp_path: Path) -> None:
    store = s3dlio.create_multi_endpoint_store_from_template("s3://10.0.0.{1...2}:9000/b-{01...02}")
    assert [each["uri"] for each in store.get_endpoint_stats()] == [
        f"s3://10.0.0.{host}:9000/b-0{bucket}" for host in (1, 2) for bucket in (1, 2)
    ]
    assert s3dlio.create_multi_endpoint_store(template="s3://b-{1...32}").endpoint_count() == 32
    assert s3dlio.create_multi_endpoint_store_from_template(template="http://h{1...3}:9000").endpoint_count() == 3
    with pytest.raises(ConfigError, match=r"^Template expansion failed: Invalid range: start \(3\) > end \(1\)"):
        s3dlio.create_multi_endpoint_store_from_template("s3://b-{3...1}")
    path = tmp_path / "endpoints"
    path.write_text("# two\n s3://a/ \n\ns3://b/\n")
    assert s3dlio.create_multi_endpoint_store_from_file(path, "least_connections").endpoint_count() == 2
    with pytest.raises(ObjectNotFoundError):
        s3dlio.create_multi_endpoint_store_from_file(tmp_path / "none")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("URIS", "TEMPLATE", "FILE"):
        monkeypatch.delenv(f"S3_ENDPOINT_{name}", raising=False)
    monkeypatch.delenv("S3_LOAD_BALANCE_STRATEGY", raising=False)
    return monkeypatch


def test_endpoints_of_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of S3_ENDPOINT_URIS"):
        s3dlio.create_multi_endpoint_store_from_env()
    path = tmp_path / "endpoints"
    path.write_text("s3://a\n")
    counts = []
    for name, value in (
        ("FILE", str(path)),
        ("TEMPLATE", "s3://b{1...2}"),
        ("URIS", "http://a:9000, http://b, http://c"),
    ):
        environment.setenv(f"S3_ENDPOINT_{name}", value)
        counts.append(s3dlio.create_multi_endpoint_store_from_env().endpoint_count())
    assert counts == [1, 2, 3]  # the later ones win
    environment.setenv("S3_LOAD_BALANCE_STRATEGY", "least_connections")
    assert s3dlio.create_multi_endpoint_store_from_env().strategy() == "least_connections"
    assert s3dlio.create_multi_endpoint_store_from_env("round_robin").strategy() == "round_robin"
    environment.setenv("S3_LOAD_BALANCE_STRATEGY", "bogus")
    with pytest.raises(ConfigError, match="Invalid strategy"):
        s3dlio.create_multi_endpoint_store_from_env()


def test_a_store_pickles_by_its_endpoints(roots: list[str]) -> None:
    store = s3dlio.create_multi_endpoint_store(roots, "least_connections")
    store.put_all_endpoints("x", b"1")
    other = pickle.loads(pickle.dumps(store))
    assert other.get("x") == b"1"
    assert (other.strategy(), other.get_total_stats()["requests"]) == ("least_connections", 1)


def test_the_endpoint_with_the_shortest_expected_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    choice = EndpointChoice([Endpoint("slow"), Endpoint("quick")], "shortest_expected_wait")
    slow, quick = choice.endpoints
    for endpoint, seconds in ((slow, 0.8), (quick, 0.1)):  # nobody knows anything yet: each is asked once
        assert choice.begin() is endpoint
        clock.now += seconds
        choice.succeeded(endpoint, clock.now - seconds, 1, 0)
    flying = [choice.begin() for _ in range(18)]
    assert flying.count(quick) == 16  # 16 in flight of 0.1 s, and 2 of 0.8 s
    for each in flying:
        assert each is not None
        choice.end(each, NOTHING)
    asked = []
    while slow not in asked:  # what was long ago says nothing: it is tried again
        asked.append(choice.begin())
        clock.now += 0.1
        choice.succeeded(quick, clock.now - 0.1, 1, 0)
    assert 20 < len(asked) < 100


@pytest.mark.parametrize("variable", RANK_VARIABLES)
def test_a_rank_has_an_endpoint_of_its_own_while_that_is_up(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "5")
    group = EndpointGroup([f"memory://{name}" for name in "abc"], ["a", "b", "c"], "rank")
    assert [targets_of(group, set(), NetworkError("")) for _ in range(3)] == [["c"]] * 3
    assert targets_of(group, {"c"}, NetworkError("gone")) == ["c", "a"]
    assert targets_of(group, set(), NetworkError("")) == ["b"]


def test_without_a_rank_endpoints_are_used_in_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    group = EndpointGroup(["memory://a", "memory://b"], ["a", "b"], "RANK")
    assert [targets_of(group, set(), NetworkError("")) for _ in range(2)] == [["a"], ["b"]]
    assert "rank of this process" in caplog.text


def test_rounds_in_another_order_are_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "uniform", random.Random(7).uniform)
    choice = EndpointChoice([Endpoint(name) for name in "abc"], "round_robin", shuffled=True)
    rounds = ["".join(each.name for _ in range(3) if (each := choice.begin())) for _ in range(40)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) == 3


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_signal_handler_may_choose_between_any_two_lines_of_a_choice(shuffled: bool) -> None:
    choice = EndpointChoice([Endpoint(name) for name in "abc"], "round_robin", shuffled=shuffled)
    inside = 0

    def interrupt(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal inside
        if not inside and frame.f_code.co_filename == endpoints.__file__:
            inside += 1
            assert choice.begin() is not None
            inside -= 1
        return interrupt

    tracing = sys.gettrace()
    sys.settrace(interrupt)
    try:
        for _ in range(12):
            assert choice.begin() is not None
    finally:
        sys.settrace(tracing)
    assert sum(each.total_requests for each in choice.endpoints) > 12
