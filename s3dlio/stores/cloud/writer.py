"""A streaming write to a cloud: parts go out while the caller makes the next ones."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError, S3dlioError, TransferCancelledError
from s3dlio.memory import crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import MemorySource, Source, as_memory
from s3dlio.net import blocking
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.reentrancy import expect_finalizers, finalize_elsewhere, submit
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.cloud.observing import note
from s3dlio.stores.cloud.part_size import part_size_for
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import Payload, PutOptions, PutResult

#: After so many parts those of a stream of unknown length become twice as large: 10,000 parts hold any object.
_PARTS_BEFORE_DOUBLING = 2000
_MIN_PART, _MAX_PART = 5 << 20, 4000 << 20
_EQUAL_PARTS = "tell how long it will be (expected_size, --expected-size) or give a part size (part_size, --part-size)"


class PartedUpload(Protocol):
    """An object that is written in parts which become visible together (multipart upload, block list, ...)."""

    #: How many parts an object can have.
    most_parts: int

    def begin(self) -> Steps[None]:
        """Open the upload."""

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        """The request that sends part ``number`` (from 1 on); its ``check`` raises for a refusal."""

    def note(self, number: int, response: Response) -> None:
        """Keep what the answer to a part has: its ETag, its checksum."""

    def complete(self, size: int) -> Steps[PutResult]:
        """Make the object of all parts; ``size`` is its length in bytes."""

    def abort(self) -> Steps[None]:
        """Leave nothing behind; best effort, never raises for what is gone already."""


class CloudWriter(StoreWriter):
    """Collects bytes into parts and sends full ones in the background; a small object is one put at the end.

    Memory: at most ``multipart.max_in_flight + 1`` parts.

    Args:
        store: where.
        key: the object.
        options: content type, metadata, conditions, ...
        upload: how parts become an object there.
        parts: the size of every part but the last, and how many are in flight. Without a size, of parts or of the
            object, they begin with ``multipart.part_size`` of the settings and grow.

    Raises:
        ConfigError: a part size that no service takes.
    """

    def __init__(
        self,
        store: CloudStore,
        key: str,
        options: PutOptions,
        upload: PartedUpload,
        parts: PartOptions,
    ) -> None:
        limits = store.settings.multipart
        part_size, expected_size = parts.part_size, parts.expected_size
        in_flight = parts.max_in_flight or limits.max_in_flight
        self._store = store
        self._key = key
        self._options = options
        self._upload = upload
        self._part_size = limits.part_size if part_size is None else checked_part_size(store.uri(key), part_size)
        if expected_size is not None:
            size = parse_size(expected_size, name="expected_size")
            needed = part_size_for(size, self._part_size, upload.most_parts)
            self._part_size = checked_part_size(store.uri(key), needed)
        self._equal = part_size is not None or expected_size is not None
        self._slots = threading.BoundedSemaphore(in_flight)
        self._threads: ThreadPoolExecutor | None = None
        self._max_threads = in_flight
        self._failure: BaseException | None = None
        self._buffer: memoryview | None = None
        self._filled = 0
        self._size = 0
        self.parts = 0
        self._open = True
        self._pid = os.getpid()
        self._call: Call[PutResult] = Call(store, "PUT", key, lambda: None)
        self._call.begin()
        _open_writers.add(self)
        expect_finalizers()

    def write(self, data: Payload) -> int:
        view = as_memory(data)
        self._check_open()
        try:
            self._append(view)
        except BaseException as error:  # how much of it was taken is not known: no object may come of this
            self._failure = self._failure or error
            raise
        return len(view)

    def _append(self, view: memoryview) -> None:
        written = 0
        while written < len(view):
            if self._buffer is None:
                self._buffer = default_pool().lease(self._next_part_size())
            count = min(len(view) - written, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = view[written : written + count]
            self._filled += count
            written += count
            if self._filled == len(self._buffer):
                self._send_part()
        self._size += written

    def _next_part_size(self) -> int:
        if not self._equal:
            return self._part_size << (self.parts // _PARTS_BEFORE_DOUBLING)
        if self.parts >= self._upload.most_parts:
            raise ConfigError(
                f"the stream is longer than {self.parts} parts of {self._part_size} bytes", operation="PUT",
                uri=self._store.uri(self._key), hint="give a larger part_size (--part-size) or the right expected_size",
            )  # fmt: skip
        return self._part_size

    def flush(self) -> None:
        self._check_open()
        for _ in range(self._max_threads):  # when all slots are free, nothing is on its way
            self._slots.acquire()
        self._slots.release(self._max_threads)
        self._check_open()

    def close(self) -> PutResult:
        self._check_open()
        try:
            result = self._close()
        except BaseException as error:
            self._give_up(error)
            raise
        self._finish(None)
        return result

    def abort(self) -> None:
        if os.getpid() != self._pid:
            self._open = False  # the upload is the parent's: a child that drops its copy must not abort it
        elif self._open:
            self._give_up(TransferCancelledError("the write was aborted"))

    def _close(self) -> PutResult:
        if self.parts == 0:
            data = self._buffer[: self._filled] if self._buffer is not None else memoryview(b"")
            return self._run(lambda: self._store._write(self._key, MemorySource(data), self._options))
        if self._filled:
            self._send_part()
        assert self._threads is not None
        self._threads.shutdown(wait=True)
        self._raise_failure()
        try:
            return self._run(lambda: self._upload.complete(self._size))
        except S3dlioError as error:
            if error.status == 400 and not self._equal and self.parts > _PARTS_BEFORE_DOUBLING:
                error.hint = f"its parts grew, and some services want all of one size: {_EQUAL_PARTS}"
            raise

    def _run(self, start: Callable[[], Steps[PutResult]]) -> PutResult:
        result: PutResult = blocking.drive(self._call.observe(start()))
        self._call.size = self._size
        return result

    def _check_open(self) -> None:
        if not self._open:
            raise S3dlioError("the writer is closed", uri=self._store.uri(self._key), operation="PUT")
        if os.getpid() != self._pid:
            raise S3dlioError(
                "the writer belongs to the process that opened it", uri=self._store.uri(self._key), operation="PUT",
                hint="open one in the forked process",
            )  # fmt: skip
        if self._failure is not None:
            failure = self._failure
            self._give_up(failure)
            if isinstance(failure, Exception):
                raise failure
            raise S3dlioError(
                "the writer is closed: a write was interrupted", uri=self._store.uri(self._key), operation="PUT"
            ) from failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send_part(self) -> None:
        """Hand the buffer to a thread; wait while ``max_in_flight`` parts are on their way."""
        assert self._buffer is not None
        if self._threads is None:
            blocking.drive(self._call.observe(self._upload.begin()))
            self._threads = ThreadPoolExecutor(self._max_threads, thread_name_prefix="s3dlio-part")
        data, self._buffer, self._filled = self._buffer[: self._filled], None, 0
        self.parts += 1
        self._slots.acquire()
        self._raise_failure()
        send = functools.partial(self._upload_part, self.parts, data)
        if submit(self._threads, send) is None:
            send()

    def _upload_part(self, number: int, data: memoryview) -> None:
        try:
            if self._failure is None:
                crc = crc32c.crc32c(data) if self._store.service.sends_checksums else None
                request = self._upload.part(number, MemorySource(data), crc)
                response = blocking.perform(request)
                while request.again is not None and (instead := request.again(request, response)) is not None:
                    request = instead
                    response = blocking.perform(request)
                if (seen := self._call.observation) is not None:
                    note(seen, request, response)
                if request.check is not None:
                    request.check(response)
                self._upload.note(number, response)
        except BaseException as error:
            self._failure = error
        finally:
            self._slots.release()

    def _give_up(self, error: BaseException) -> None:
        self._failure = self._failure or error
        try:
            if self._threads is not None:
                self._threads.shutdown()
                blocking.drive(self._upload.abort())
        finally:
            self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        self._open = False
        _open_writers.discard(self)
        self._buffer = None
        self._call.end(error)

    def __del__(self) -> None:
        # A writer that is dropped without close leaves no object and no parts.
        if getattr(self, "_open", False) and os.getpid() == self._pid:
            finalize_elsewhere(self.abort)


def checked_part_size(uri: str, part_size: int) -> int:
    """Refuse a part size that no service takes, before anything is sent.

    Raises:
        ConfigError: it is no size, or not from 5 MiB (S3) to 4000 MiB (Azure).
    """
    size = parse_size(part_size, name="part_size", minimum=_MIN_PART)
    if size > _MAX_PART:
        raise ConfigError(f"part_size must be at most {_MAX_PART}, got {size}", uri=uri, hint="that is 4000 MiB")
    return size


_open_writers: weakref.WeakSet[CloudWriter] = weakref.WeakSet()


@atexit.register
def _abort_open() -> None:
    """What is open when the program ends leaves nothing behind either; later nothing can be sent."""
    for writer in list(_open_writers):
        writer.abort()
