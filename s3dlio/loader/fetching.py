"""Fetching samples: the next ones are read while the program works on those before, within bounds.

It is the one engine under every loader, and rides on the stream of ``iter_many``: objects of clouds come on the
client's resident lanes, nothing here owns a thread. What is asked for and not taken is bounded by number and by bytes.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Self

from s3dlio.engine.cancel import CancelToken as BatchToken
from s3dlio.engine.session import Session
from s3dlio.errors import S3dlioError, TransferCancelledError, TransferTimeoutError
from s3dlio.loader.cancelling import CancelToken
from s3dlio.loader.consumer import torch_worker
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.runs import MOST, Runs
from s3dlio.loader.stretches import NO_PINS, Pins
from s3dlio.transfer.many_iterator import check_room
from s3dlio.transfer.stream import Stream
from s3dlio.transfer.stream_entry import Entry, Outcome

#: Requests in flight, at most, where nobody says.
_WIDTH = 64
#: So many bytes may be in flight or waiting in each of many workers.
_LEAST_BYTES = 128 << 20
#: A reader whose token cannot wake it looks at it so often (seconds).
_LOOK_SECONDS = 0.05


class Fetch(Iterator[tuple[int, Any]]):
    """(position, bytes or error) of many objects, which are read ahead. See :func:`fetch`."""

    def __init__(self, stream: Stream, cancel: BatchToken | None, timeout: float | None) -> None:
        self._stream = stream
        self._cancel = cancel
        self._timeout = timeout
        if isinstance(cancel, CancelToken):
            cancel.enter(stream.end)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, Any]:
        position, outcome = self.take()
        return position, outcome[1]

    @property
    def is_broken(self) -> bool:
        """Whether what is to be read ended by an error, an interrupt too: there would be more."""
        return self._stream.is_broken

    def take(self) -> tuple[int, Outcome]:
        """The next one's position in the input, and what was asked for with its bytes or its error.

        Raises:
            StopIteration: there are no more.
            TransferCancelledError: the token was cancelled.
            TransferTimeoutError: none arrived in time.
            BaseException: what the input raised.
        """
        waited, wait = 0.0, self._timeout
        polls = self._cancel is not None and not isinstance(self._cancel, CancelToken)
        while True:
            if polls:
                wait = _LOOK_SECONDS if self._timeout is None else min(_LOOK_SECONDS, self._timeout)
            try:
                taken = self._stream.take(wait)
            except StopIteration:
                self._check_end()
                raise
            except Exception:
                self.close()
                raise
            self._check()
            if taken is not None:
                return taken
            waited += wait or 0.0
            if self._timeout is not None and waited >= self._timeout:
                raise self._late()

    async def take_async(self) -> tuple[int, Outcome] | None:
        """As :meth:`take`, for an event loop; None where there are no more."""
        import asyncio

        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody reads on
                loop.call_soon_threadsafe(changed.set)

        while True:
            changed.clear()
            try:
                taken = self._stream.take(0.0, tell)
            except StopIteration:
                self._check_end()
                return None
            self._check()
            if taken is not None:
                return taken
            try:
                await asyncio.wait_for(changed.wait(), self._timeout)
            except TimeoutError:
                raise self._late() from None

    def _check(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            self.drop()
            raise TransferCancelledError(self._cancel.reason or "cancelled", operation="GET")

    def _check_end(self) -> None:
        """There is no more: because that was all?"""
        self._check()
        self._leave()
        if self._stream.is_broken:
            raise S3dlioError("reading was interrupted, and what is missing is not asked for any more", operation="GET")

    def _late(self) -> S3dlioError:
        uri = self._stream.waits_for()
        self.drop()
        return TransferTimeoutError(
            f"no sample arrived within {self._timeout} seconds", uri=uri, operation="GET",
            hint="raise the option timeout, or look at the endpoint",
        )  # fmt: skip

    def _leave(self) -> None:
        if isinstance(self._cancel, CancelToken):
            self._cancel.leave(self._stream.end)

    def drop(self) -> None:
        """Give up what is in flight, and its buffers, without waiting. From any thread, and from a finaliser."""
        self._stream.drop()
        self._leave()

    def close(self) -> None:
        """Give up what is in flight, and its buffers, and wait a while for that."""
        self._leave()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_cancel"):
            self.drop()


class FetchRuns(Fetch):
    """As :class:`Fetch`, of small samples of which those that follow each other in one object are read together."""

    def __init__(self, stream: Stream, cancel: BatchToken | None, timeout: float | None, runs: Runs) -> None:
        super().__init__(stream, cancel, timeout)
        self._runs = runs
        self._apart: deque[tuple[int, Outcome]] = deque()

    def take(self) -> tuple[int, Outcome]:
        while True:
            try:
                return self._apart.popleft()
            except IndexError:  # also where another thread has taken the last one
                self._apart.extend(self._runs.apart(*super().take()))

    async def take_async(self) -> tuple[int, Outcome] | None:
        while not self._apart:
            taken = await super().take_async()
            if taken is None:
                return None
            self._apart.extend(self._runs.apart(*taken))
        return self._apart.popleft()

    def drop(self) -> None:
        super().drop()
        self._apart.clear()

    def close(self) -> None:
        super().close()
        self._apart.clear()


def fetch(
    session: Session,
    uris: Iterable[Entry],
    *,
    prefetch_items: int | None = None,
    prefetch_bytes: int | None = None,
    in_order: bool = True,
    cancel: BatchToken | None = None,
    timeout: float | None = None,
    width: int = _WIDTH,
    here: bool = True,
    near: bool = False,
    pins: Pins = NO_PINS,
) -> Fetch:
    """Read objects ahead of whoever takes them.

    Args:
        session: whose stores, lanes and threads are used.
        uris: which; or (URI, offset, length) for a stretch of one. Any number, an endless generator too.
        prefetch_items: how many may be in flight or waiting; None: 4 times ``width``.
        prefetch_bytes: how many bytes of them, about; None: ``transfer.max_in_flight_bytes``. One alone may be larger.
        in_order: in the order of ``uris``; False: as they arrive, so that a slow one holds up no other.
        cancel: ends it, from any thread.
        timeout: seconds that the next one may take to arrive.
        width: how many requests are in flight at most.
        here: the reader's thread asks for them, which takes a moment; False for an event loop, and where a URI may be a
            while in coming.
        near: small stretches that follow each other in one object are read by one request, of a quarter of
            ``prefetch_items`` at most.
        pins: the versions of objects that are meant, by URI.

    Returns:
        An iterator of (position in ``uris``, bytes or the error in their place); an error of one stops no other.
    """
    if cancel is not None:
        cancel.check()
    limit = session.settings.transfer.max_in_flight_bytes if prefetch_bytes is None else prefetch_bytes
    objects, size = check_room(prefetch_items, width, limit)
    if near:
        most = MOST if prefetch_items is None else max(1, min(MOST, objects // 4))
        uris, objects = (runs := Runs(uris, most)), max(1, objects // most if prefetch_items else objects)
    stream = Stream(
        session, uris, min(width, objects), objects=objects, size=size, ordered=in_order, here=here, at_hand=True,
        pins=pins,
    )  # fmt: skip
    return FetchRuns(stream, cancel, timeout, runs) if near else Fetch(stream, cancel, timeout)


def fetch_with(
    session: Session, uris: Iterable[Entry], values: LoaderValues, *, in_order: bool = True, here: bool = True,
    near: bool = False, pins: Pins = NO_PINS,
) -> Fetch:  # fmt: skip
    """:func:`fetch` as the options of a loader say; ``in_order`` counts where they say nothing of it."""
    width, prefetch, timeout = _WIDTH, values.prefetch or None, values.timeout
    if values.pool is not None:
        width = values.pool.width
        prefetch = prefetch or width * values.pool.readahead_batches
        timeout = values.pool.seconds if timeout is None else timeout
    elif not values.auto_tune:
        width = max(width, values.num_workers)
    size = values.prefetch_bytes
    workers = values.num_workers_pytorch or (torch_worker() or (0, 0))[1]
    if size is None and workers:  # what a batch may have, for all workers of a program together
        size = max(session.settings.transfer.max_in_flight_bytes // workers, _LEAST_BYTES)
    if values.max_threads is not None:
        width = min(width, values.max_threads)
    return fetch(
        session, uris, prefetch_items=prefetch, prefetch_bytes=size,
        in_order=in_order if values.in_order is None else values.in_order,
        cancel=values.cancel, timeout=timeout, width=width, here=here, near=near, pins=pins,
    )  # fmt: skip
