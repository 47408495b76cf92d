"""Loaders over a cloud: what is slow holds up no other, and a loop that ends early leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.engine.cancel import CancelToken as BatchToken
from s3dlio.errors import (
    NetworkError,
    ObjectNotFoundError,
    S3dlioError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.cancelling import CancelToken
from s3dlio.loader.dataset import Dataset
from s3dlio.loader.fetching import fetch
from s3dlio.loader.pool_config import PoolConfig
from s3dlio.loader.pool_loader import AsyncPoolDataLoader
from s3dlio.memory.pool import default_pool
from tests.faults.test_forks import in_child
from tests.leases import assert_returned
from tests.servers.delayed import DelayedServer
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, Send, Until, respond

FIELDS = [("ETag", '"e"')]
SIZE = 4096


def client_at(endpoint: str, **settings: Any) -> Client:
    return Client(endpoint_url=endpoint, region="r", access_key_id="A", secret_access_key="B", **settings)


@pytest.fixture(scope="module")
def near() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=SIZE) as server:
        yield server


@pytest.fixture
def client(near: DelayedServer) -> Iterator[Client]:
    with client_at(near.endpoint) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_buffer_is_lost() -> Iterator[None]:
    gc.collect()
    before = default_pool().stats().leased
    yield
    gc.collect()
    assert_returned(before)


def names(count: int) -> list[str]:
    return [f"s3://b/{number}" for number in range(count)]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OneSlow

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if slow := self.path == "/b/0":
            self.server.go_on.wait(30)
        self.send_response(200)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"slow" if slow else b"fast")

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class OneSlow(ThreadingHTTPServer):
    """A server whose object 0 comes when ``go_on`` is set; all others come at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=[0.01], daemon=True)
        self.thread.start()

    def handle_error(self, *args: Any) -> None:
        """Clients go."""

    def __exit__(self, *args: Any) -> None:
        self.go_on.set()
        self.shutdown()
        super().__exit__(*args)


def test_a_slow_object_holds_up_no_other_where_samples_come_as_they_arrive() -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        items = BytesLoader(Dataset.from_uris(names(20), client=client), {"max_threads": 2}).items()
        first = [item for _ in range(2) for item in items.collect_batch(8)]
        assert [bytes(item) for item in first] == [b"fast"] * 16
        slow.go_on.set()
        rest = items.collect_batch(8)
        assert {item.uri for item in (*first, *rest)} == set(names(20))


def test_a_slow_object_holds_up_no_batch_of_a_pool() -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        dataset = Dataset.from_uris(names(9), client=client)
        pool = PoolConfig(pool_size=2)
        batches = iter(AsyncPoolDataLoader(dataset, {"batch_size": 4}).stream_with_pool(pool))
        assert [bytes(data) for data in next(batches)] == [b"fast"] * 4
        assert [bytes(data) for data in next(batches)] == [b"fast"] * 4
        slow.go_on.set()
        assert [bytes(data) for data in next(batches)] == [b"slow"]


def test_in_order_the_others_wait_and_are_there(client: Client) -> None:
    loader = BytesLoader(Dataset.from_uris(names(300), client=client), {"batch_size": 7, "prefetch": 20})
    assert [len(batch) for batch in loader] == [7] * 42 + [6]


def test_no_more_is_asked_for_than_there_is_room_for() -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        found = fetch(client, ["s3://b/1", *names(50)], prefetch_items=3, width=2)
        assert next(found) == (0, b"fast")
        slow.go_on.set()
        assert next(found) == (1, b"slow")
        found.close()
        assert len(slow.asked) <= 2 + 3 + 1


@pytest.mark.parametrize("token", [CancelToken, BatchToken])
@pytest.mark.parametrize("awaited", [False, True])
def test_a_token_ends_the_waiting_at_once(token: Callable[[], Any], awaited: bool) -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        cancel = token()
        loader = BytesLoader(Dataset.from_uris(names(1), client=client), {"batch_size": 1, "cancel": cancel})
        threading.Timer(0.1, cancel.cancel, ["enough"]).start()
        with pytest.raises(TransferCancelledError, match="enough"):
            asyncio.run(_first(loader)) if awaited and token is CancelToken else list(loader)
        with pytest.raises(TransferCancelledError, match="enough"):
            list(loader)


async def _first(loader: BytesLoader) -> Any:
    async for batch in loader:
        return batch
    return None


@pytest.mark.parametrize("awaited", [False, True])
def test_what_does_not_arrive_is_an_error_with_its_uri(awaited: bool) -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        loader = BytesLoader(Dataset.from_uris(names(1), client=client), {"batch_size": 1, "timeout": 0.1})
        with pytest.raises(TransferTimeoutError, match=r"no sample arrived within 0\.1 seconds") as caught:
            asyncio.run(_first(loader)) if awaited else list(loader)
        assert caught.value.uri == "s3://b/0"


def test_a_loop_that_is_left_gives_up_what_is_in_flight() -> None:
    begun = threading.Event()
    head = f"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {1 << 20}\r\n\r\n".encode()
    cut = [Expect(), Send(head + b"x" * 1000), Until(begun), ExpectClose()]
    first = [Expect(), respond(body=b"first", headers=FIELDS)]
    with ScriptedServer([[*first, *cut]]) as server, client_at(server.endpoint) as client:
        loader = BytesLoader(Dataset.from_uris(names(3), client=client), {"max_threads": 1, "batch_size": 1})
        for batch in loader:
            assert batch == [b"first"]
            begun.set()
            break
        del batch
        server.assert_consumed()


def test_an_event_loop_that_is_left_gives_up_what_is_in_flight(client: Client) -> None:
    async def some() -> int:
        count = 0
        async for batch in BytesLoader(Dataset.from_uris(names(100), client=client), {"batch_size": 3}):
            count += len(batch)
            if count > 10:
                break
        return count

    assert asyncio.run(some()) == 12


def test_a_transform_that_raises_is_the_programs_own_error_and_names_the_sample(client: Client) -> None:
    def transform(data: Any) -> Any:
        raise ZeroDivisionError("as planned")

    loader = BytesLoader(Dataset.from_uris(names(5), client=client), {"transform": transform})
    with pytest.raises(ZeroDivisionError, match="as planned") as caught:
        list(loader)
    assert any("s3://b/0" in note for note in caught.value.__notes__)
    assert [*BytesLoader(loader.dataset, {"transform": len})] == [SIZE] * 5
    assert len(next(iter(BytesLoader(loader.dataset, {"transform": len, "enable_transforms": False})))) == SIZE


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("read", ["views", "batches", "items", "collected", "awaited"])
def test_a_transform_that_says_stop_ends_no_epoch(client: Client, read: str, kind: type[Exception]) -> None:
    made = 0

    def transform(data: Any) -> Any:
        nonlocal made
        made += 1
        if made > 3:
            raise kind
        return data

    options = {"transform": transform} | ({} if read == "views" else {"batch_size": 2})
    loader = BytesLoader(Dataset.from_uris(names(5), client=client), options)

    async def awaited() -> list[Any]:
        return [batch async for batch in loader]

    ways: dict[str, Callable[[], Any]] = {
        "views": lambda: list(loader), "batches": lambda: list(loader), "items": lambda: list(loader.items()),
        "collected": lambda: list(iter(partial(loader.items().collect_batch, 2), [])),
        "awaited": lambda: asyncio.run(awaited()),
    }  # fmt: skip
    with pytest.raises(S3dlioError, match=kind.__name__) as caught:
        ways[read]()
    assert str(caught.value.uri).startswith("s3://b/")
    assert loader.epoch == 0


def test_who_is_not_said_to_be_one_of_many_workers_reads_all(client: Client) -> None:
    loader = BytesLoader(Dataset.from_uris(names(9), client=client), {"num_workers_pytorch": 4})
    assert len(loader) == 9
    assert len([*loader]) == 9


def test_the_first_error_comes_after_what_was_before_it() -> None:
    gone = respond(404, body=b"<Error><Code>NoSuchKey</Code></Error>")
    steps = [Expect(), respond(body=b"x", headers=FIELDS), Expect(), gone]
    with ScriptedServer([steps]) as server, client_at(server.endpoint) as client:
        loader = BytesLoader(Dataset.from_uris(names(2), client=client), {"max_threads": 1, "batch_size": 1})
        batches = iter(loader)
        assert next(batches) == [b"x"]
        with pytest.raises(ObjectNotFoundError) as caught:
            next(batches)
        assert caught.value.uri == "s3://b/1"


def test_an_error_that_is_swallowed_makes_no_short_epoch(client: Client) -> None:
    def transform(data: Any) -> Any:
        raise ZeroDivisionError("as planned")

    loader = BytesLoader(Dataset.from_uris(names(5), client=client), {"transform": transform})
    views = iter(loader)
    with pytest.raises(ZeroDivisionError):
        next(views)
    for _ in range(2):
        with pytest.raises(S3dlioError, match="this pass has ended by an error: ZeroDivisionError: as planned"):
            next(views)
    assert loader.epoch == 0


def test_a_loop_that_was_closed_has_not_ended_its_epoch(client: Client) -> None:
    loader = BytesLoader(Dataset.from_uris(names(5), client=client), {"batch_size": 2})
    with iter(loader) as batches:
        next(batches)
    assert list(batches) == []
    assert (loader.epoch, loader.state_dict()["epoch"]) == (0, 0)
    list(loader)
    assert loader.epoch == 1


def test_an_interrupt_loses_no_sample(client: Client) -> None:
    strikes = iter([False, False, True, False, True])

    def transform(data: Any) -> Any:
        if next(strikes, False):
            raise KeyboardInterrupt
        return len(data)

    batches = iter(BytesLoader(Dataset.from_uris(names(7), client=client), {"transform": transform, "batch_size": 3}))
    found: list[list[int]] = []
    while True:
        try:
            found.append(next(batches))
        except KeyboardInterrupt:
            continue
        except StopIteration:
            break
    assert found == [[SIZE] * 3, [SIZE] * 3, [SIZE]]


def test_an_interrupt_while_more_is_asked_for_is_no_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(indices: Any) -> Iterator[str]:
        yield from names(30)
        raise KeyboardInterrupt

    dataset = Dataset.from_uris(names(50), client=client)
    monkeypatch.setattr(dataset, "entries_at", entries)
    loader = BytesLoader(dataset)
    views = iter(loader)
    seen: list[Any] = []
    with pytest.raises((KeyboardInterrupt, S3dlioError)):  # on this thread, or on another one
        seen.extend(views)
    assert len(seen) <= 30
    with pytest.raises(S3dlioError, match=r"ended by an error: .*[iI]nterrupt"):
        next(views)
    assert loader.epoch == 0


def test_a_signal_ends_the_waiting() -> None:
    with OneSlow() as slow, client_at(slow.endpoint) as client:
        loader = BytesLoader(Dataset.from_uris(names(1), client=client))
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            list(loader)


def test_an_await_that_is_given_up_loses_no_sample() -> None:
    async def waiting() -> list[Any]:
        with OneSlow() as slow, client_at(slow.endpoint) as client:
            dataset = Dataset.from_uris(["s3://b/1", *names(1)], client=client)
            batches = aiter(BytesLoader(dataset, {"batch_size": 2}))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(batches), 0.1)
            slow.go_on.set()
            return [bytes(data) for data in await anext(batches)]

    assert asyncio.run(waiting()) == [b"fast", b"slow"]


def test_a_server_that_has_gone_is_an_error() -> None:
    with client_at("http://127.0.0.1:9", retry={"max_attempts": 1}) as client:
        with pytest.raises(NetworkError) as caught:
            list(BytesLoader(Dataset.from_uris(names(2), client=client)))
        assert caught.value.uri in names(2)


def _read_all(loader: BytesLoader) -> int:
    return sum(len(data) for batch in loader for data in batch)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_what_they_were_given(
    client: Client, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B")
    dataset = Dataset.from_uris(names(40), client=client)
    assert len(dataset[0]) == SIZE  # the parent has used its lanes
    loaders = [BytesLoader(dataset, {"batch_size": 3, "worker_id": one, "num_workers_pytorch": 2}) for one in (0, 1)]
    with multiprocessing.get_context(method).Pool(2) as workers:
        assert sum(workers.map_async(_read_all, loaders).get(60)) == 40 * SIZE


def test_a_child_that_is_forked_in_the_middle_of_an_epoch_has_epochs_of_its_own(client: Client) -> None:
    loader = BytesLoader(Dataset.from_uris(names(60), client=client), {"batch_size": 10})
    batches = iter(loader)
    next(batches)
    assert in_child(lambda: _read_all(loader) == 60 * SIZE)
    assert sum(len(batch) for batch in batches) == 50


def test_threads_have_passes_of_their_own(client: Client) -> None:
    loader = BytesLoader(Dataset.from_uris(names(50), client=client), {"batch_size": 4})
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(_read_all(loader))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [50 * SIZE] * 4


def test_threads_may_share_one_pass(client: Client) -> None:
    items = BytesLoader(Dataset.from_uris(names(200), client=client)).items()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(item.uri for item in items)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(names(200))


@pytest.mark.parametrize("given", [{"prefetch": 0}, {"prefetch": 1}, {"batch_size": 10**9}, {"prefetch_bytes": 1},
                                   {"num_workers": 1000, "auto_tune": True}, {"max_threads": 1}])  # fmt: skip
def test_absurd_sizes_are_no_hang_and_no_short_epoch(client: Client, given: dict[str, Any]) -> None:
    loader = BytesLoader(Dataset.from_uris(names(30), client=client), {"batch_size": 4, **given})
    assert _read_all(loader) == 30 * SIZE


def test_objects_are_read_as_ranges_where_that_is_asked_for(client: Client) -> None:
    dataset = Dataset.from_uris(names(3), {"reader_mode": "range", "part_size": "64 KiB"}, client=client)
    body = bytes(index % 251 for index in range(SIZE))
    assert list(dataset) == [body] * 3
    assert dataset.session.settings.range.chunk == 65536
    assert client.settings.range.chunk != 65536
