"""Whatever becomes of a call with the caller's own buffer: when it has ended the buffer is the caller's alone."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio import api, coroutines
from s3dlio.client import Client
from s3dlio.errors import S3dlioError
from tests.servers.scripted import Close, Expect, Reset, ScriptedServer, Send, Until, respond
from tests.wire.s3_harness import settings_of

KIB = 1024
DATA = bytes(range(256)) * 1200
HEAD = f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {len(DATA)}\r\n\r\n'.encode()
RANGES = {"chunk": 64 * KIB, "threshold": 64 * KIB}


def client_of(server: ScriptedServer, **sections: Any) -> Client:
    return Client(settings=settings_of(server.endpoint, retry={"max_attempts": 1}, **sections))


def check_free(buffer: bytearray) -> None:
    buffer.append(0)  # a BufferError where anything exports it
    buffer.pop()


def fails(call: Callable[[], object]) -> BaseException:
    """The error of a call, with all that it refers to."""
    try:
        call()
    except BaseException:
        error = sys.exc_info()[1]
        assert error is not None
        return error
    raise AssertionError("it did not fail")


def test_after_a_read_in_one_piece_and_in_ranges() -> None:
    answer = respond(body=DATA, headers=[("ETag", '"e"')])
    with ScriptedServer([[Expect(), answer]]) as server:
        buffer = bytearray(len(DATA))
        assert client_of(server).get_into("s3://b/k", buffer) == len(DATA)
        check_free(buffer)
        assert buffer == DATA


BROKEN = [Send(HEAD + DATA[:200_000]), Reset()]


@pytest.mark.parametrize("sections", [{}, {"range": RANGES}, {"http": {"operation_timeout": 20.0}}])
@pytest.mark.parametrize(
    "answer",
    [BROKEN, [respond("404 Not Found")], [respond(body=DATA + b"x")], [respond(body=DATA[1:])], [Send(b"nonsense")]],
    ids=["broken off", "missing", "too long", "too short", "no answer"],
)
def test_after_a_read_that_failed_though_its_error_is_kept(
    sections: dict[str, Any], answer: list[Send | Reset]
) -> None:
    scripts = [[Expect(), *answer, Close()], *([Expect(), Close()] for _ in range(4))]
    with ScriptedServer(scripts) as server:
        buffer = bytearray(len(DATA))
        client = client_of(server, **sections)
        kept = fails(lambda: client.get_into("s3://b/k", buffer, expected_len=len(DATA)))
        assert isinstance(kept, S3dlioError)
        check_free(buffer)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_after_an_interrupt(interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    from s3dlio.net.exchange import Exchange

    def struck(self: Exchange) -> None:
        raise interrupt

    monkeypatch.setattr(Exchange, "_on_full", struck)
    with ScriptedServer([[Expect(), Send(HEAD + DATA), Close()]]) as server:
        buffer = bytearray(len(DATA))
        client = client_of(server)
        kept = fails(lambda: client.get_into("s3://b/k", buffer))
        check_free(buffer)
        assert isinstance(kept, interrupt)


def test_a_call_that_is_refused_takes_nothing(tmp_path: Path) -> None:
    client = Client()
    buffer = bytearray(10)
    uri = f"file://{tmp_path}/k"
    gaps, read_only = memoryview(buffer)[::2], memoryview(buffer).toreadonly()
    refused: list[Callable[[], object]] = [
        lambda: client.get_into(uri, buffer, expected_len=11),
        lambda: client.get_into(uri, buffer, expected_len=-1),
        lambda: client.get_into(uri, gaps),
        lambda: client.get_into(uri, read_only),
        lambda: client.get_into("s3://", buffer),
        lambda: client.get_into(uri, buffer),
        lambda: client.put_bytes(str(tmp_path / "k" / ".." / "\0"), buffer),
        lambda: client.put_many([(uri, buffer), (f"file://{tmp_path}", buffer)]),
    ]
    kept = [fails(call) for call in refused]
    gaps.release()  # our own
    read_only.release()
    check_free(buffer)
    assert len(kept) == len(refused)


@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_buffer_of_no_bytes(tmp_path: Path, scheme: str) -> None:
    client = Client()
    uri = f"{scheme}://{tmp_path}/empty"
    client.put_bytes(uri, b"")
    for buffer in (bytearray(), np.zeros(0, "f8"), np.zeros((0, 3), "f4"), memoryview(bytearray(4))[:0]):
        assert client.get_into(uri, buffer) == 0
        assert client.get_into(uri, buffer, expected_len=0) == 0
    full = bytearray(b"full")
    assert client.get_into(uri, full, expected_len=0) == 0
    assert full == b"full"
    check_free(full)


def test_after_a_write_that_failed_though_its_error_is_kept() -> None:
    with ScriptedServer([[Expect(), respond("403 Forbidden"), Expect(), respond("403 Forbidden")]]) as server:
        buffer = bytearray(DATA)
        client = client_of(server)
        kept = [
            fails(lambda: client.put_bytes("s3://b/k", buffer)),
            fails(lambda: client.put_many([("s3://b/k", buffer)])),
        ]
        check_free(buffer)
        assert len(kept) == 2


@pytest.fixture
def default_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client], None]:
    return lambda client: monkeypatch.setattr(api, "_default", client)


@pytest.mark.parametrize("sections", [{}, {"range": RANGES}, {"http": {"operation_timeout": 20.0}}])
@pytest.mark.parametrize("sent", [b"", HEAD + DATA[:70_000]], ids=["before the head", "within the body"])
def test_after_an_awaited_read_that_was_cancelled(
    sections: dict[str, Any], sent: bytes, default_client: Callable[[Client], None]
) -> None:
    begun, over = threading.Event(), threading.Event()

    def is_here(_: object) -> bool:
        begun.set()
        return True

    late = [Expect(is_here), Send(sent), Until(over), Send((HEAD + DATA)[len(sent) :])]
    waiting = [[Expect(), Until(over)] for _ in range(4)]
    with ScriptedServer([late, *waiting]) as server:
        default_client(client_of(server, **sections))
        buffer = bytearray(len(DATA))

        async def main() -> None:
            task = asyncio.create_task(s3dlio.get_into_async("s3://b/k", buffer))
            await asyncio.to_thread(begun.wait, 20)
            for _ in range(3):  # however often
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            check_free(buffer)
            buffer[:] = bytes(len(buffer))
            over.set()

        asyncio.run(main())
        coroutines.threads.shutdown()
        assert not any(buffer)


def test_after_an_awaited_write_that_was_cancelled(default_client: Callable[[Client], None]) -> None:
    begun, over = threading.Event(), threading.Event()

    def is_here(_: object) -> bool:
        begun.set()
        return True

    with ScriptedServer([[Expect(is_here, body=False), Until(over)]]) as server:
        default_client(client_of(server))
        buffer = bytearray(14 << 20)  # more than the sockets hold

        async def main() -> None:
            task = asyncio.create_task(s3dlio.put_bytes_async("s3://b/k", buffer))
            await asyncio.to_thread(begun.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            check_free(buffer)
            over.set()

        asyncio.run(main())


def test_an_error_that_the_caller_was_handling_keeps_what_it_shows() -> None:
    def mine() -> None:
        evidence = "of another failure"
        raise ValueError(evidence)

    error = fails(mine)
    try:
        raise error
    except ValueError:
        with pytest.raises(S3dlioError):
            s3dlio.get_into("file:///nowhere/at/all", bytearray(8))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert frames[-1].f_locals == {"evidence": "of another failure"}
