"""What a pass over a loader is: one sample after the other, in batches, or with their URIs.

An error ends a pass, for good: whoever goes on after it gets an error again, and never takes the rest of the epoch for
its end. An interrupt (Ctrl-C, a cancelled await) ends nothing: the batch that it fell into goes on with the next call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple, Self

from s3dlio.errors import S3dlioError
from s3dlio.forking import ForkLock
from s3dlio.loader.entries import SizesAhead, uri_of
from s3dlio.loader.fetching import Fetch
from s3dlio.loader.items import item_of, name_sample
from s3dlio.loader.progress import Pass
from s3dlio.transfer.stream_entry import Outcome


class Sample(NamedTuple):
    """One sample: its position in the pass, what was read, how many bytes, and what became of them."""

    position: int
    entry: Any
    size: int
    made: Any


class Samples:
    """One pass: one sample after the other, in whichever way they are taken. Threads may share it.

    Args:
        fetched: what reads them.
        make: makes the sample of what was read and its bytes; None: these are the sample.
        begun: the pass over the data set that keeps what was delivered.
        sizes: those that the objects must have, where they are known.
    """

    def __init__(
        self, fetched: Fetch, make: Callable[[Any, Any], Any] | None, begun: Pass, sizes: SizesAhead | None = None
    ) -> None:
        self._fetched = fetched
        self._make = make
        self._pass = begun
        self._sizes = sizes
        self._lock = ForkLock()
        self._is_whole = True  # nothing has kept it from its end
        self._failure = ""
        self._failed_uri: str | None = None
        self._kept: list[list[Sample]] = []  # batches that an interrupt fell into
        self._again: list[tuple[int, Outcome]] = []  # what was being made when an interrupt came

    def take(self) -> Sample:
        """The next one.

        Raises:
            StopIteration: there are no more.
            S3dlioError: it could not be read; it has its URI.
        """
        self._check()
        try:
            return self._sample(self._again.pop() if self._again else self._fetched.take())
        except StopIteration:
            raise
        except BaseException as error:
            if isinstance(error, Exception) or self._fetched.is_broken:
                self._fail(error)
                self.close()
            raise

    async def take_async(self) -> Sample | None:
        """As :meth:`take`, for an event loop; None where there are no more."""
        self._check()
        try:
            taken = self._again.pop() if self._again else await self._fetched.take_async()
            return None if taken is None else self._sample(taken)
        except Exception as error:
            self._fail(error)
            self.drop()
            raise

    def _sample(self, taken: tuple[int, Outcome]) -> Sample:
        position, (entry, data) = taken
        if isinstance(data, BaseException):
            raise data
        if self._sizes is not None:
            self._sizes.check(position, entry, len(data))
        if self._make is None:
            return Sample(position, entry, len(data), data)
        try:
            return Sample(position, entry, len(data), self._make(entry, data))
        except Exception as error:
            name_sample(error, entry)
            raise
        except BaseException:  # an interrupt
            self._again.append(taken)
            raise

    def _fail(self, error: BaseException) -> None:
        if self._is_whole:
            self._failure = f"{type(error).__name__}: {error}"
            self._failed_uri = getattr(error, "uri", None)

    def _check(self) -> None:
        if self._failure:
            raise S3dlioError(
                f"this pass has ended by an error: {self._failure}", uri=self._failed_uri,
                hint="begin another one: iter(loader)",
            )  # fmt: skip

    def begin_batch(self) -> list[Sample]:
        """An empty batch, or one that an interrupt fell into."""
        try:
            return self._kept.pop()
        except IndexError:
            return []

    def keep(self, batch: list[Sample]) -> None:
        """A batch goes on later."""
        if batch:
            self._kept.append(batch)

    def deliver(self, batch: list[Sample]) -> list[Any]:
        """These samples reach the program: a pass that goes on elsewhere does not give them again."""
        with self._lock:
            self._pass.took([sample.position for sample in batch])
        return [sample.made for sample in batch]

    def finish(self) -> None:
        """The program learns that there are no more."""
        if self._is_whole:
            self._pass.finish()

    def drop(self) -> None:
        """Give up what is in flight, without waiting."""
        self._is_whole = False
        self._fetched.drop()

    def close(self) -> None:
        """Give up what is in flight, and wait a while for that."""
        self._is_whole = False
        self._fetched.close()


class _Loop(Iterator[Any]):
    """What a loop goes over; also a context manager, which ends it."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __iter__(self) -> Self:
        return self

    def _batch(self, size: int, *, drop_last: bool = False) -> list[Sample]:
        """The next samples, fewer at the end.

        Raises:
            StopIteration: there are none.
        """
        samples = self._samples
        batch = samples.begin_batch()
        try:
            while len(batch) < size:
                batch.append(samples.take())
        except StopIteration:
            if not batch or drop_last:
                samples.finish()
                raise
        except BaseException:
            samples.keep(batch)
            raise
        return batch

    def close(self) -> None:
        """Give up what is in flight, and its buffers, and wait a while for that."""
        self._samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Views(_Loop):
    """One object after the other."""

    def __next__(self) -> Any:
        return self._samples.deliver(self._batch(1))[0]


class Batches(_Loop):
    """Lists of objects."""

    def __init__(self, samples: Samples, size: int, drop_last: bool) -> None:
        super().__init__(samples)
        self._size = size
        self._drop_last = drop_last

    def __next__(self) -> list[Any]:
        return self._samples.deliver(self._batch(self._size, drop_last=self._drop_last))


class ObjectItems(_Loop):
    """Objects with their URIs."""

    def __next__(self) -> Any:
        return self._items(self._batch(1))[0]

    def _items(self, batch: list[Sample]) -> list[Any]:
        self._samples.deliver(batch)
        return [self._item(sample) for sample in batch]

    def _item(self, sample: Sample) -> Any:
        return item_of(uri_of(sample.entry), sample.made, sample.size)

    def collect_batch(self, n: int) -> list[Any]:
        """The next ``n`` objects, fewer at the end, where it gives an empty list.

        Raises:
            ValueError: ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"collect_batch takes 1 or more, not {n}")
        try:
            return self._items(self._batch(n))
        except StopIteration:
            return []


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
        batch = samples.begin_batch()
        try:
            while len(batch) < self._size and (sample := await samples.take_async()) is not None:
                batch.append(sample)
                del sample
        except BaseException:
            samples.keep(batch)
            raise
        if not batch or (len(batch) < self._size and self._drop_last):
            samples.finish()
            raise StopAsyncIteration
        return samples.deliver(batch)

    async def aclose(self) -> None:
        """Give up what is in flight, and its buffers."""
        if self._samples is not None:
            self._samples.drop()
