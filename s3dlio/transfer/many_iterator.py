"""Iterators over the outcomes of a stream, for a loop and for an event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

from s3dlio.errors import ConfigError, TransferTimeoutError
from s3dlio.transfer.stream import Stream


class ManyIterator(Iterator[tuple[Any, Any]]):
    """(URI, data) of many objects, which are read while the caller works on the ones before; see ``iter_many``.

    It ends with its loop: by ``break``, an error or its last object. As a context manager, or by ``close``, it waits
    until nothing is in flight any more.
    """

    def __init__(self, stream: Stream, *, timeout: float | None, continue_on_error: bool) -> None:
        self._stream = stream
        self._timeout = timeout
        self._continue = continue_on_error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, Any]:
        taken = self._stream.take(self._timeout)
        if taken is None:
            self.close()
            raise late(self._timeout)
        outcome = taken[1]
        if isinstance(outcome[1], BaseException) and not self._continue:
            self.close()
            raise outcome[1]
        return outcome

    def close(self) -> None:
        """Stop, give the buffers back, and wait a while for what is in flight."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if stream := getattr(self, "_stream", None):
            stream.drop()


async def outcomes(
    open_stream: Callable[[], Stream], *, timeout: float | None, continue_on_error: bool
) -> AsyncIterator[tuple[Any, Any]]:
    """The outcomes of a stream, which is opened here, for an event loop: it waits for none of them."""
    import asyncio

    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody reads on
            loop.call_soon_threadsafe(changed.set)

    stream = open_stream()
    try:
        while True:
            changed.clear()
            try:
                taken = stream.take(0.0, tell)
            except StopIteration:
                return
            if taken is None:
                try:
                    await asyncio.wait_for(changed.wait(), timeout)
                except TimeoutError:
                    raise late(timeout) from None
                continue
            outcome = taken[1]
            del taken
            if isinstance(outcome[1], BaseException) and not continue_on_error:
                raise outcome[1]
            yield outcome
    finally:
        stream.drop()


def late(timeout: float | None) -> TransferTimeoutError:
    """The error of a reader that waited in vain."""
    return TransferTimeoutError(
        f"no object arrived within {timeout} seconds", operation="GET", hint="raise timeout=, or look at the endpoint"
    )


def check_room(prefetch: int | None, width: int, max_bytes: int) -> tuple[int, int]:
    """How many objects and bytes may be asked for and not be taken.

    Raises:
        ConfigError: less than 1.
    """
    objects = 4 * width if prefetch is None else prefetch
    for name, value in (("prefetch", objects), ("max_bytes", max_bytes)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    return max(objects, 1), max_bytes
