"""Lanes end with their client, with the process, and in a forked child; nobody waits for what cannot come."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import api
from s3dlio.client import Client
from s3dlio.errors import TransferCancelledError
from s3dlio.memory.sinks import MemorySink
from s3dlio.net.resident import Submission
from s3dlio.stores.call import Call
from tests.faults.test_forks import in_child
from tests.servers.delayed import DelayedServer
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, Until, respond
from tests.wire.s3_harness import store_of

ROOT = Path(s3dlio.__file__).parents[1]


def client_at(endpoint: str) -> Client:
    return Client(endpoint_url=endpoint, region="r", access_key_id="A", secret_access_key="B")


def reading(client: Client, key: str = "k") -> tuple[Call[Any], MemorySink]:
    store, name = client.store_for(f"s3://b/{key}")
    sink = MemorySink()
    return store.read_call(name, sink), sink


def test_a_forked_child_has_lanes_of_its_own_and_waits_for_none_of_the_parents() -> None:
    asked, go_on = threading.Event(), threading.Event()
    first = [Expect(lambda seen: asked.set() is None), Until(go_on), respond(body=b"parent", headers=[("ETag", '"e"')])]
    with ScriptedServer([first]) as server, DelayedServer(delay=0.0, size=100) as other:
        client, elsewhere = client_at(server.endpoint), client_at(other.endpoint)
        call, sink = reading(client)
        future = client.lanes.submit(call)
        assert asked.wait(30)

        def work() -> bool:
            if not isinstance(future.exception(10), TransferCancelledError):
                return False
            mine, landed = reading(elsewhere)
            elsewhere.lanes.submit(mine).result(10)
            return landed.size == 100

        assert in_child(work)
        go_on.set()
        future.result(30)
        assert sink.view() == b"parent"
        server.assert_consumed()


def test_awaited_calls_work_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    with DelayedServer(delay=0.0, size=100) as server:
        monkeypatch.setattr(api, "_default", client_at(server.endpoint))
        assert len(asyncio.run(s3dlio.get_async("s3://b/k"))) == 100
        assert in_child(lambda: len(asyncio.run(s3dlio.get_async("s3://b/k"))) == 100)
        assert len(asyncio.run(s3dlio.get_async("s3://b/k"))) == 100


def test_what_begins_on_a_lane_that_fails_is_told() -> None:
    with DelayedServer(delay=0.0, size=100) as server, client_at(server.endpoint) as client:
        told: list[tuple[Any, BaseException | None]] = []
        over = threading.Event()

        class Second(Submission):
            def end(self, result: Any, error: BaseException | None) -> None:
                told.append((result, error))
                over.set()

        class First(Submission):
            def end(self, result: Any, error: BaseException | None) -> None:
                told.append((result, error))
                lane.begin([Second(reading(client)[0], 1)])

        lane = client.lanes.first()

        def fail() -> None:
            lane._tell(First(reading(client)[0], 1), "done", None)
            raise ArithmeticError("as planned")

        lane.post(fail)
        assert over.wait(30)
        (first, none), (nothing, error) = told
        assert (first, none, nothing) == ("done", None, None)
        assert isinstance(error, TransferCancelledError)


def test_a_client_that_nobody_refers_to_has_no_lanes_any_more() -> None:
    with DelayedServer(delay=0.0, size=100) as server:
        client = client_at(server.endpoint)
        client.lanes.submit(reading(client)[0]).result(30)
        threads = list(client.lanes._threads.values())
        assert threads
        del client
        gc.collect()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def test_a_closed_client_waits_for_its_calls() -> None:
    with DelayedServer(delay=0.05, size=100) as server:
        client = client_at(server.endpoint)
        future = client.lanes.submit(reading(client)[0])
        client.close()
        assert future.done()
        client.lanes.submit(reading(client)[0]).result(30)  # and can be used again
        client.close()


def test_a_call_within_what_a_lane_runs_does_not_wait_for_the_lane() -> None:
    with DelayedServer(delay=0.0, size=100) as server:
        client = client_at(server.endpoint)
        inner: list[int] = []

        class Nested(MemorySink):
            def end(self, size: int) -> None:
                super().end(size)
                inner.append(len(client.get("s3://b/other")))

        store, key = client.store_for("s3://b/k")
        client.lanes.submit(store.read_call(key, Nested())).result(30)
        assert inner == [100]
        client.close()


def test_giving_up_a_call_that_has_ended_does_no_harm() -> None:
    with DelayedServer(delay=0.0, size=100) as server:
        client = client_at(server.endpoint)
        future = client.lanes.submit(reading(client)[0])
        future.result(30)
        assert not future.cancel()
        client.close()


def test_many_cancelled_calls_leave_no_connection() -> None:
    with ScriptedServer([[Expect(), ExpectClose()]] * 4) as server:
        store = store_of(server.endpoint)
        client = client_at(server.endpoint)
        futures = [client.lanes.submit(store.read_call("k", MemorySink())) for _ in range(4)]
        while len(server.all_requests) < 4:
            threading.Event().wait(0.01)
        for future in futures:
            future.cancel()
        for future in futures:
            with pytest.raises(CancelledError):
                future.result(30)
        client.close()
        server.assert_consumed()


def test_a_process_ends_though_calls_are_in_flight() -> None:
    code = """
import sys, threading
from s3dlio import Client
from s3dlio.memory.sinks import MemorySink
client = Client(endpoint_url=sys.argv[1], region="r", access_key_id="A", secret_access_key="B")
store, key = client.store_for("s3://b/k")
client.lanes.submit(store.read_call(key, MemorySink()))
sys.stdin.readline()
"""
    asked, over = threading.Event(), threading.Event()
    with ScriptedServer([[Expect(lambda seen: asked.set() is None), Until(over)]]) as server:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", code, server.endpoint], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=ROOT, env=os.environ | {"S3DLIO_LOAD_DOTENV": "0"}, text=True,
        )  # fmt: skip
        assert asked.wait(30)
        _, complaints = process.communicate("\n", timeout=30)
        over.set()
        assert process.returncode == 0
        assert "Fatal" not in complaints
        assert "Traceback" not in complaints
