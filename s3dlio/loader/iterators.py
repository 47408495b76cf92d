"""What a pass over a loader is: one sample after the other, in batches, or with their URIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

from s3dlio.loader.fetching import Fetch
from s3dlio.loader.items import ObjectItem


class Samples:
    """One pass: (URI, bytes) of one sample after the other, in whichever way they are taken.

    Args:
        fetched: what reads them.
        transform: what the bytes of each go through, if anything.
        ended: is called when all samples have been taken.
    """

    def __init__(self, fetched: Fetch, transform: Callable[[Any], Any] | None, ended: Callable[[], None]) -> None:
        self._fetched = fetched
        self._transform = transform
        self._ended = ended

    def take(self) -> tuple[Any, Any]:
        """The next one.

        Raises:
            StopIteration: there are no more.
            S3dlioError: it could not be read; it has its URI.
        """
        try:
            _, (entry, data) = self._fetched.take()
        except StopIteration:
            self._end()
            raise
        return entry, self._made(entry, data)

    async def take_async(self) -> tuple[Any, Any] | None:
        """As :meth:`take`, for an event loop; None where there are no more."""
        taken = await self._fetched.take_async()
        if taken is None:
            self._end()
            return None
        entry, data = taken[1]
        del taken
        return entry, self._made(entry, data)

    def _made(self, entry: Any, data: Any) -> Any:
        if isinstance(data, BaseException):
            self._fetched.drop()
            raise data
        if self._transform is None:
            return data
        try:
            return self._transform(data)
        except BaseException as error:
            self._fetched.drop()
            if isinstance(error, Exception):
                error.add_note(f"while transforming {entry}")
            raise

    def _end(self) -> None:
        ended, self._ended = self._ended, _nothing
        ended()

    def drop(self) -> None:
        """Give up what is in flight, without waiting."""
        self._fetched.drop()

    def close(self) -> None:
        """Give up what is in flight, and wait a while for that."""
        self._fetched.close()


def _nothing() -> None:
    """Once is enough."""


class _Pass(Iterator[Any]):
    """What a loop goes over; also a context manager, which ends it."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __iter__(self) -> Self:
        return self

    def close(self) -> None:
        """Give up what is in flight, and its buffers, and wait a while for that."""
        self._samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Views(_Pass):
    """One object after the other."""

    def __next__(self) -> Any:
        return self._samples.take()[1]


class Batches(_Pass):
    """Lists of objects."""

    def __init__(self, samples: Samples, size: int, drop_last: bool) -> None:
        super().__init__(samples)
        self._size = size
        self._drop_last = drop_last

    def __next__(self) -> list[Any]:
        batch: list[Any] = []
        try:
            while len(batch) < self._size:
                batch.append(self._samples.take()[1])
        except StopIteration:
            if not batch or self._drop_last:
                raise
        return batch


class ObjectItems(_Pass):
    """Objects with their URIs."""

    def __next__(self) -> Any:
        uri, data = self._samples.take()
        return ObjectItem(uri, data)

    def collect_batch(self, n: int) -> list[Any]:
        """The next ``n`` objects, fewer at the end, where it gives an empty list.

        Raises:
            ValueError: ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"collect_batch takes 1 or more, not {n}")
        batch: list[Any] = []
        for item in self:
            batch.append(item)
            if len(batch) >= n:
                break
        return batch


class AsyncBatches(AsyncIterator[list[Any]]):
    """Lists of objects for an event loop, which waits for nothing."""

    def __init__(self, begin: Callable[[], Samples], size: int, drop_last: bool) -> None:
        self._begin = begin
        self._samples: Samples | None = None
        self._size = size
        self._drop_last = drop_last

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Any]:
        samples = self._samples = self._samples or self._begin()
        batch: list[Any] = []
        while len(batch) < self._size:
            taken = await samples.take_async()
            if taken is None:
                if not batch or self._drop_last:
                    raise StopAsyncIteration
                break
            batch.append(taken[1])
            del taken
        return batch

    async def aclose(self) -> None:
        """Give up what is in flight, and its buffers."""
        if self._samples is not None:
            self._samples.drop()
