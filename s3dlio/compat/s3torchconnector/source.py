"""What readers read: one object of a store, whole, opened, or a range of it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Self

from s3dlio.compat.s3torchconnector.connection import Connection
from s3dlio.errors import ObjectChangedError
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.streams.object_reader import ObjectReader
from s3dlio.streams.one_version import open_version
from s3dlio.types import NO_CONDITIONS, ObjectMetadata

#: Bytes that a stream hands on at a time.
CHUNK = 8 << 20


class GetObjectStream:
    """The bytes of an object, or of a range of it, in chunks.

    Args:
        bucket, key: the object.
        opened: the object.
        start, end: of the range, in bytes; without an end: to the end of the object.
    """

    def __init__(self, bucket: str, key: str, opened: ObjectReader, start: int, end: int | None) -> None:
        self.bucket = bucket
        self.key = key
        opened.seek(start)
        self._buffered = io.BufferedReader(opened, 1)  # makes bytes that are filled in place
        self._position = start
        self._end = end

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        wanted = CHUNK if self._end is None else min(CHUNK, self._end - self._position)
        data = self._buffered.read(wanted) if wanted > 0 and not self._buffered.closed else b""
        if not data:
            self._buffered.close()
            raise StopIteration
        self._position += len(data)
        return data

    def tell(self) -> int:
        """The position in the object, in bytes."""
        return self._position


class ObjectSource:
    """An object that a reader reads; as a function: a stream of it, as s3torchconnector's readers ask for.

    It pickles by the connection and the names.

    Args:
        connection: to the service.
        bucket, key: the object.
        on_whole: is called with the size when the whole object was wanted.
    """

    def __init__(
        self, connection: Connection, bucket: str, key: str, on_whole: Callable[[int], None] | None = None
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self._key = key
        self._on_whole = on_whole
        self._etag: str | None = None
        self._coming: tuple[int, Future[ObjectMetadata], MemorySink] | None = None

    def __call__(self, start: int | None = None, end: int | None = None) -> GetObjectStream:
        return GetObjectStream(self._bucket, self._key, self.open(), start or 0, end)

    def start(self) -> None:
        """Begin to read the whole object in the background, where that is done by others."""
        store, key = self._connection.place(self._bucket, self._key)
        sink = MemorySink()
        call = store.read_call(key, sink)
        session = self._connection.session
        if store.is_cloud:
            self._coming = os.getpid(), session.lanes.submit(call), sink
        elif store.waits:
            self._coming = os.getpid(), session.executor.submit(partial(store.execute, call)), sink

    def drop(self) -> None:
        """Give up what was started."""
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == os.getpid():
            coming[1].cancel()

    def whole(self) -> BytesView:
        """All bytes."""
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == os.getpid():
            coming[1].result()
            view = coming[2].view()
        else:
            store, key = self._connection.place(self._bucket, self._key)
            view = store.get(key)
        if self._on_whole is not None:
            self._on_whole(len(view))
        return view

    @property
    def is_coming(self) -> bool:
        """Whether the whole object is read in the background, or was."""
        return self._coming is not None

    def open(self) -> ObjectReader:
        """The object as a file, in the version that is there now."""
        store, key = self._connection.place(self._bucket, self._key)
        return ObjectReader(open_version(self._connection.session, store, key, NO_CONDITIONS), store.uri(key))

    def read_into(self, start: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``start`` on, by one request.

        Raises:
            ObjectChangedError: it is another version than an earlier range was of.
            LengthMismatchError: the object ends before.
        """
        store, key = self._connection.place(self._bucket, self._key)
        sink = BufferSink(view, exact=True)
        try:
            found = store.execute(store.read_call(key, sink, offset=start, length=len(view)))
        finally:
            sink.release()
        if self._etag is not None and found.etag is not None and found.etag != self._etag:
            raise ObjectChangedError(
                "the object was replaced while it was read", uri=store.uri(key), operation="GET_RANGE",
                hint="read it again, by another reader",
            )  # fmt: skip
        self._etag = found.etag

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectSource, (self._connection, self._bucket, self._key)


def fill(get_stream: Callable[..., Iterator[bytes]], start: int, view: memoryview) -> int:
    """Fill ``view`` with the bytes of an object from ``start`` on.

    Args:
        get_stream: an :class:`ObjectSource`, or a function of another kind of client.
        start: bytes.
        view: what is filled; the object need not reach so far.

    Returns:
        How many bytes these were.
    """
    if isinstance(get_stream, ObjectSource):
        get_stream.read_into(start, view)
        return len(view)
    filled = 0
    for chunk in get_stream(start, start + len(view)):
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return filled
