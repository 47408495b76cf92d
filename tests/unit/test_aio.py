"""The coroutine functions: the same results and errors, and given up when their task is."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy
import pytest

import s3dlio
from s3dlio import api, coroutines
from s3dlio.errors import BatchError, ObjectNotFoundError, TransferCancelledError
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import Observation
from tests.servers.certs import Authority
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, respond
from tests.wire.s3_harness import store_of


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_the_verbs(tmp_path: Path) -> None:
    base = f"file://{tmp_path}"

    async def work() -> None:
        assert await s3dlio.put_bytes_async(f"{base}/a", b"hello") is None
        await s3dlio.put_many_async([(f"{base}/d/b", b"x"), (f"{base}/d/c", b"y")])
        assert await s3dlio.get_async(f"{base}/a") == b"hello"
        assert await s3dlio.get_range_async(f"{base}/a", 1, 2) == b"el"
        assert await s3dlio.get_many_async([f"{base}/a"]) == [(f"{base}/a", b"hello")]
        assert await s3dlio.get_many_stats_async([f"{base}/a"]) == (1, 5)
        assert (await s3dlio.stat_async(f"{base}/a"))["size"] == 5
        assert len(await s3dlio.stat_many_async([f"{base}/a", f"{base}/d/b"])) == 2
        assert await s3dlio.exists_async(f"{base}/a")
        assert await s3dlio.list_async(base) == [f"{base}/a", f"{base}/d/"]
        assert [uri async for uri in s3dlio.iterate_async(base, recursive=True)] == s3dlio.list(base, True)
        buffer = bytearray(5)
        assert await s3dlio.get_into_async(f"{base}/a", buffer, expected_len=5) == 5
        assert buffer == b"hello"
        about = await s3dlio.head_async(f"{base}/a")
        assert about is not None
        assert about.size == 5
        assert await s3dlio.head_async(f"{base}/nope") is None
        await s3dlio.mkdir_async(f"{base}/e")
        await s3dlio.rmdir_async(f"{base}/e")
        await s3dlio.delete_async(f"{base}/d", recursive=True)
        await s3dlio.delete_many_async([f"{base}/a"])
        assert await s3dlio.list_async(base) == []

    run(work())


def test_every_function_has_its_coroutine() -> None:
    not_verbs = {
        "configure", "configure_s3", "default_client", "get_endpoint_stats", "init_logging", "open",
        "parquet_cache_invalidate",
    }  # fmt: skip
    homes = ("s3dlio.api", "s3dlio.api_formats")
    verbs = {name for name in s3dlio.__all__ if s3dlio._homes().get(name) in homes and name.islower()} - not_verbs
    verbs = {name for name in verbs if not name.endswith("_async") and "writer" not in name}  # used piece by piece
    assert {f"{name}_async" for name in verbs} <= set(s3dlio.__all__)


def test_the_formats(tmp_path: Path) -> None:
    base = f"file://{tmp_path}"

    async def work() -> None:
        s3dlio.put_bytes(f"{base}/t", s3dlio.build_tfrecord([b"one", b"three"]))
        assert await s3dlio.create_tfrecord_index_async(f"{base}/t") == 2
        assert await s3dlio.read_tfrecord_index_async(f"{base}/t.idx") == [(0, 19), (19, 21)]
        s3dlio.put_bytes(f"{base}/n", s3dlio.build_multi_npz([("x", numpy.arange(3))]))
        assert (await s3dlio.read_npz_async(f"{base}/n", "x")).tolist() == [0, 1, 2]

    run(work())


def test_errors_are_those_of_the_blocking_form() -> None:
    async def work() -> None:
        with pytest.raises(ObjectNotFoundError):
            await s3dlio.get_async("memory://aio/nope")
        with pytest.raises(BatchError):
            await s3dlio.get_many_async(["memory://aio/nope"])

    run(work())


def test_every_one_is_a_coroutine_function_that_says_what_it_takes() -> None:
    names = [name for name in s3dlio.__all__ if name.endswith("_async") and not name.startswith(("iter", "find"))]
    assert len(names) > 30
    for name in names:
        function = getattr(s3dlio, name)
        assert inspect.iscoroutinefunction(function), name
        assert function.__name__ == name
        assert function.__doc__
        blocking = getattr(s3dlio, name.removesuffix("_async"))
        if name not in ("get_async", "put_bytes_async"):
            assert inspect.signature(function).parameters.keys() <= inspect.signature(blocking).parameters.keys() | {
                "borrow"
            }, name


def test_tasks_and_groups_take_them() -> None:
    async def work() -> None:
        await s3dlio.put_bytes_async("memory://aio/task", b"x")
        assert await asyncio.create_task(s3dlio.get_async("memory://aio/task")) == b"x"
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(s3dlio.get_async("memory://aio/task")) for _ in range(3)]
        assert [task.result() for task in tasks] == [b"x"] * 3

    run(work())
    assert asyncio.run(s3dlio.get_async("memory://aio/task")) == b"x"


def test_context_variables_reach_the_work_and_its_helpers() -> None:
    trace = contextvars.ContextVar("trace", default="lost")
    seen: list[str] = []

    def observe(observation: Observation) -> None:
        seen.append(trace.get())

    async def work() -> None:
        trace.set("kept")
        await s3dlio.put_many_async([(f"memory://aio/context/{i}", b"x") for i in range(4)])
        await s3dlio.get_async("memory://aio/context/0")
        assert trace.get() == "kept"

    api.default_client().add_observer(observe)
    try:
        run(work())
    finally:
        api.default_client().remove_observer(observe)
    assert seen == ["kept"] * 5


@pytest.mark.parametrize("secure", [False, True])
def test_a_request_in_flight_is_given_up_with_its_task(secure: bool, authority: Authority) -> None:
    """The connection is closed at once, not when the server or the time for its answer says so."""
    asked = threading.Event()
    script = [Expect(lambda seen: asked.set() is None), ExpectClose()]
    with ScriptedServer([script], tls=authority if secure else None) as server:
        store = store_of(server.endpoint, http={"read_timeout": 120.0, "ca_bundle": str(authority.bundle)})
        ended: list[BaseException | None] = []

        def observe(observation: Observation) -> None:
            ended.append(observation.error)

        async def work() -> None:
            task = asyncio.create_task(coroutines.run(lambda: store.get("k")))
            await asyncio.get_running_loop().run_in_executor(None, asked.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        store.observers = (observe,)
        run(work())
        coroutines.threads.shutdown()
        assert isinstance(ended[0], TransferCancelledError)
        server.assert_consumed()


def test_a_pause_between_attempts_is_given_up_with_its_task() -> None:
    asked = threading.Event()
    slow_down = respond("503 Slow Down", headers=[("Retry-After", "100")])
    with ScriptedServer([[Expect(lambda seen: asked.set() is None), slow_down]]) as server:
        store = store_of(server.endpoint, retry={"retry_after_cap": 100.0})
        ended = threading.Event()

        def get() -> None:
            try:
                store.get("k")
            finally:
                ended.set()

        async def work() -> None:
            task = asyncio.create_task(coroutines.run(get))
            await asyncio.get_running_loop().run_in_executor(None, asked.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(work())
        assert ended.wait(30)


def test_a_payload_can_be_copied_when_the_write_begins() -> None:
    async def work() -> None:
        data = bytearray(b"before")
        writing = asyncio.create_task(s3dlio.put_bytes_async("memory://aio/copied", data, borrow=False))
        await asyncio.sleep(0)
        data[:] = b"after!"
        await writing
        assert await s3dlio.get_async("memory://aio/copied") == b"before"
        with pytest.raises(TypeError):
            await s3dlio.put_bytes_async("memory://aio/copied", "text", borrow=False)

    run(work())


def test_work_runs_side_by_side() -> None:
    together = threading.Barrier(4)

    def wait(uri: str) -> str:
        together.wait(30)
        return uri

    waiting = coroutines.coroutine_of(wait)

    async def work() -> Any:
        return await asyncio.gather(*(waiting(str(i)) for i in range(4)))

    assert run(work()) == ["0", "1", "2", "3"]


MANY = 100


def batches(base: str, here: Path) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The coroutine functions for many objects; that at ``base`` has ``MANY`` files, ``here`` is another directory."""
    uris = [f"{base}/d/{i:03}" for i in range(MANY)]
    return {
        "get_many": lambda: s3dlio.get_many_async(uris, 2),
        "get_many_outcomes": lambda: s3dlio.get_many_outcomes_async(uris, 2),
        "get_many_stats": lambda: s3dlio.get_many_stats_async(uris, 2),
        "stat_many": lambda: s3dlio.stat_many_async(uris, 2),
        "pre_stat_and_cache": lambda: s3dlio.pre_stat_and_cache_async(uris, 2),
        "put_many": lambda: s3dlio.put_many_async([(uri, b"new") for uri in uris], 2),
        "put": lambda: s3dlio.put_async(f"{base}/new/", MANY, size=8, max_in_flight=2),
        "upload": lambda: s3dlio.upload_async(str(here), f"{base}/up/", 2),
        "download": lambda: s3dlio.download_async(f"{base}/d/", str(here / "down"), 2),
        "copy": lambda: s3dlio.copy_async(f"{base}/d/", f"{base}/copy/", 2, recursive=True),
        "move": lambda: s3dlio.move_async(f"{base}/d/", f"{base}/moved/", 2, recursive=True),
        "delete": lambda: s3dlio.delete_async(f"{base}/d", recursive=True),
        "delete_many": lambda: s3dlio.delete_many_async(uris, 2),
    }


@pytest.mark.parametrize("verb", batches("", Path()))
def test_cancelling_the_task_ends_the_batch(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStore, "delete_batch_size", 2)
    base = f"file://{tmp_path}/there"
    (tmp_path / "here").mkdir()
    for i in range(MANY):
        (tmp_path / "here" / f"{i:03}").write_bytes(b"x")
    api.put_many([(f"{base}/d/{i:03}", b"x") for i in range(MANY)])
    reached, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def hold(seen: Observation) -> None:
        if seen.operation != "LIST":
            ended.append(seen.uri)
            reached.set()
            go_on.wait(30)

    start = batches(base, tmp_path / "here")[verb]

    async def work() -> None:
        task = asyncio.ensure_future(start())
        await asyncio.get_running_loop().run_in_executor(None, reached.wait, 30)
        task.cancel()
        await asyncio.sleep(0)  # the batch hears of it
        if verb == "put_many":  # the buffers are the caller's again when the await ends: not before the calls have
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    api.default_client().add_observer(hold)
    try:
        run(work())
        go_on.set()
        coroutines.threads.shutdown()  # waits until the batch has stopped
    finally:
        go_on.set()
        api.default_client().remove_observer(hold)
    assert reached.is_set()
    assert len(ended) < MANY / 2
    assert len([*(tmp_path / "there" / "d").iterdir()]) > MANY / 2


def test_a_cancelled_call_that_has_not_begun_never_begins() -> None:
    hold = threading.Event()
    begun: list[int] = []

    async def work() -> None:
        count = coroutines.threads.threads
        holding = [asyncio.create_task(coroutines.run(lambda: hold.wait(30))) for _ in range(count)]
        await asyncio.sleep(0)
        late = asyncio.create_task(coroutines.run(lambda: begun.append(1)))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.sleep(0)
        hold.set()
        await asyncio.gather(*holding)

    run(work())
    coroutines.threads.shutdown()
    assert not begun
