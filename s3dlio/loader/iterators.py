"""What a pass over a loader is: one sample after the other, in batches, or with their URIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

from s3dlio.loader.fetching import Fetch
from s3dlio.loader.items import ObjectItem
from s3dlio.loader.progress import Pass


class Samples:
    """One pass: (URI, bytes) of one sample after the other, in whichever way they are taken.

    Args:
        fetched: what reads them.
        transform: what the bytes of each go through, if anything.
        begun: the pass over the data set that keeps what was delivered.
    """

    def __init__(self, fetched: Fetch, transform: Callable[[Any], Any] | None, begun: Pass) -> None:
        self._fetched = fetched
        self._transform = transform
        self._pass = begun
        self._taken: list[int] = []

    def take(self) -> tuple[Any, Any]:
        """The next one.

        Raises:
            StopIteration: there are no more.
            S3dlioError: it could not be read; it has its URI.
        """
        position, (entry, data) = self._fetched.take()
        made = self._made(entry, data)
        self._taken.append(position)
        return entry, made

    async def take_async(self) -> tuple[Any, Any] | None:
        """As :meth:`take`, for an event loop; None where there are no more."""
        taken = await self._fetched.take_async()
        if taken is None:
            return None
        position, (entry, data) = taken
        del taken
        made = self._made(entry, data)
        self._taken.append(position)
        return entry, made

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

    def deliver(self) -> None:
        """What was taken reaches the program: a pass that goes on elsewhere does not give it again."""
        taken, self._taken = self._taken, []
        self._pass.took(taken)

    def finish(self) -> None:
        """The program learns that there are no more."""
        self._pass.finish()

    def drop(self) -> None:
        """Give up what is in flight, without waiting."""
        self._fetched.drop()

    def close(self) -> None:
        """Give up what is in flight, and wait a while for that."""
        self._fetched.close()


class _Loop(Iterator[Any]):
    """What a loop goes over; also a context manager, which ends it."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            made = self._next()
        except StopIteration:
            self._samples.finish()
            raise
        self._samples.deliver()
        return made

    def _next(self) -> Any:
        """What comes next.

        Raises:
            StopIteration: nothing.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is in flight, and its buffers, and wait a while for that."""
        self._samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Views(_Loop):
    """One object after the other."""

    def _next(self) -> Any:
        return self._samples.take()[1]


class Batches(_Loop):
    """Lists of objects."""

    def __init__(self, samples: Samples, size: int, drop_last: bool) -> None:
        super().__init__(samples)
        self._size = size
        self._drop_last = drop_last

    def _next(self) -> list[Any]:
        batch: list[Any] = []
        try:
            while len(batch) < self._size:
                batch.append(self._samples.take()[1])
        except StopIteration:
            if not batch or self._drop_last:
                raise
        return batch


class ObjectItems(_Loop):
    """Objects with their URIs."""

    def _next(self) -> Any:
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
                    samples.finish()
                    raise StopAsyncIteration
                break
            batch.append(taken[1])
            del taken
        samples.deliver()
        return batch

    async def aclose(self) -> None:
        """Give up what is in flight, and its buffers."""
        if self._samples is not None:
            self._samples.drop()
