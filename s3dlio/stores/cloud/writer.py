"""A streaming write to a cloud: parts go out while the caller makes the next ones."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from functools import partial
from typing import Any

from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError, S3dlioError, TransferCancelledError
from s3dlio.forking import call_in_child
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.crc32c import HOT, combine, crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import MemorySource, PiecesSource, Source, as_memory
from s3dlio.net import blocking
from s3dlio.net.cancellation import GRACE_SECONDS, MAY_BE_THERE, AbortScope, CleanupDeadline
from s3dlio.net.resident import Submission
from s3dlio.net.task import ignore
from s3dlio.reentrancy import expect_finalizers, finalize_elsewhere
from s3dlio.stores.call import Call
from s3dlio.stores.cloud.part_sender import Begun, PartedUpload, PartSender, run_here
from s3dlio.stores.cloud.part_size import part_size_for
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import Payload, PutOptions, PutResult
from s3dlio.wording import option

#: After so many parts those of a stream of unknown length become twice as large: 10,000 parts hold any object.
_PARTS_BEFORE_DOUBLING = 2000
_MIN_PART, _MAX_PART = 5 << 20, 4000 << 20
#: Shorter pieces are copied though they are owned: to send one costs a system call.
_OWNED_FROM = 64 << 10


class _Filling:
    """The part that is being filled: memory of the pool with what was copied, and memory of the caller.

    Args:
        size: of the whole part in bytes.
        hashed: its CRC32C is computed as it is filled.
    """

    def __init__(self, size: int, *, hashed: bool) -> None:
        self.size = size
        self._crc = 0 if hashed else None
        self.filled = 0
        self._pieces: list[memoryview] = []
        self._room: memoryview | None = None
        self._copied = 0  # bytes of the room that are used
        self._since = 0  # those from here on are not among the pieces yet

    def copy(self, data: memoryview) -> int:
        """Copy as much as there is room for; returns how much."""
        count = min(len(data), self.size - self.filled)
        if self._room is None:
            self._room = default_pool().lease(self.size - self.filled)
        if self._crc is not None:
            count = min(count, HOT)
        copy = self._room[self._copied : self._copied + count]
        copy[:] = data[:count]
        if self._crc is not None:
            self._crc = crc32c(copy, self._crc)
        self._copied += count
        self.filled += count
        return count

    def keep(self, data: memoryview, crc: int | None) -> int:
        """Take as much as there is room for, without a copy; returns how much. ``crc``: its CRC32C, where known."""
        count = min(len(data), self.size - self.filled)
        self._cut()
        piece = data[:count]
        self._pieces.append(piece)
        if self._crc is not None:
            if crc is None or count < len(data):
                self._crc = crc32c(piece, self._crc)
            else:
                self._crc = combine(self._crc, crc, count)
        self.filled += count
        return count

    def _cut(self) -> None:
        if self._room is not None and self._copied > self._since:
            self._pieces.append(self._room[self._since : self._copied])
            self._since = self._copied

    def source(self) -> Source:
        """What is in it, to be sent."""
        self._cut()
        return PiecesSource(self._pieces, self._crc)


class CloudWriter(StoreWriter):
    """Collects bytes into parts, and has full ones sent by the resident lanes; a small object is one put at the end.

    Memory: the parts in flight, and the one that is being filled. Parts that grow are fewer at a time.

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
        self, store: CloudStore, key: str, options: PutOptions, upload: PartedUpload, parts: PartOptions
    ) -> None:
        limits = store.settings.multipart
        self._store = store
        self._key = key
        self._options = options
        self._upload = upload
        part_size = parts.part_size
        self._part_size = limits.part_size if part_size is None else checked_part_size(store.uri(key), part_size)
        if parts.expected_size is not None:
            needed = part_size_for(parts.expected_size, self._part_size, upload.most_parts)
            self._part_size = checked_part_size(store.uri(key), needed)
        self._equal = part_size is not None or parts.expected_size is not None
        self._max_in_flight = parts.max_in_flight or limits.max_in_flight
        self._failure: BaseException | None = None
        self._filling: _Filling | None = None
        self._size = 0
        self._open = True
        self._begun = False
        self._scope: AbortScope | None = None  # of the only request of a small object
        self._pid = os.getpid()
        self._call: Call[PutResult] = Call(store, "PUT", key, ignore)
        self._call.begin()
        self._sender = PartSender(store.spare, self._call.observe)
        _open_writers.add(self)
        expect_finalizers()

    # -- writing

    def write(self, data: Payload) -> int:
        return self._take(data, owned=False)

    def write_owned(self, data: Payload) -> int:
        return self._take(data, owned=True)

    def write_hashed(self, data: memoryview, crc: int) -> int:
        return self._take(data, owned=True, crc=crc)

    def _take(self, data: Payload, *, owned: bool, crc: int | None = None) -> int:
        view = as_memory(data)
        self._check_open()
        try:
            written = self._append(view, owned, crc)
        except BaseException as error:  # how much of it was taken is not known: no object may come of this
            del view
            self._fail(error)
            let_go(error)  # it is kept, and its frames refer to parts
            raise
        self._size += written
        return written

    def _append(self, view: memoryview, owned: bool, crc: int | None) -> int:
        written, owned = 0, owned and len(view) >= _OWNED_FROM
        while written < len(view):
            if self._filling is None:
                self._filling = _Filling(self._next_part_size(), hashed=self._store.service.sends_checksums)
            filling = self._filling
            rest = view[written:]
            written += filling.keep(rest, None if written else crc) if owned else filling.copy(rest)
            if filling.filled == filling.size:
                self._send_part()
        return written

    def _next_part_size(self) -> int:
        if not self._equal:
            return self._part_size << (self.parts // _PARTS_BEFORE_DOUBLING)
        if self.parts >= self._upload.most_parts:
            raise ConfigError(
                f"the stream is longer than {self.parts} parts of {self._part_size} bytes", operation="PUT",
                uri=self._store.uri(self._key),
                hint=f"give a larger {option('part_size')} or the right {option('expected_size')}",
            )  # fmt: skip
        return self._part_size

    def _send_part(self) -> None:
        """Have the part sent; wait while as many as may be are on their way."""
        filling, self._filling = self._filling, None
        if filling is None:  # a signal handler has aborted the writer
            raise self._aborted()
        source = filling.source()
        if not self._begun:
            self._begun = True
            self._sender.run(self._upload.begin())
        self._sender.settle(self._upload, max(1, self._max_in_flight * self._part_size // filling.size) - 1)
        self.parts += 1
        crc = source.crc32c() if self._store.service.sends_checksums else None
        self._sender.send(self.parts, self._upload.part(self.parts, source, crc))

    def flush(self) -> None:
        self._check_open()
        try:
            self._sender.settle(self._upload, 0)
        except BaseException as error:
            self._fail(error)
            let_go(error)
            raise

    # -- ending

    def close(self) -> PutResult:
        self._check_open()
        try:
            result = self._make_object()
        except BaseException as error:
            let_go(error)
            self._give_up(error)
            raise
        self._call.size = self._size
        if self._open:
            self._finish(None)
        return result

    def _make_object(self) -> PutResult:
        """The object in one request, or of its parts."""
        if not self.parts:
            source = self._filling.source() if self._filling is not None else MemorySource(memoryview(b""))
            if not self._open:  # a signal handler has aborted the writer, and taken what was to be stored
                raise self._aborted()
            steps = self._call.observe(self._store._write(self._key, source, self._options))
            self._scope = AbortScope()
            result: PutResult = self._scope.run(lambda scope: blocking.drive(steps, scope=scope))
            return result
        if self._filling is not None:
            self._send_part()
        self._sender.settle(self._upload, 0)
        try:
            return self._sender.run(self._upload.complete(self._size))
        except S3dlioError as error:
            if isinstance(error, TransferCancelledError):
                error.hint = error.hint or MAY_BE_THERE
            if error.status == 400 and not self._equal and self.parts > _PARTS_BEFORE_DOUBLING:
                error.hint = f"its parts grew, and some services want all of one size: {_equal_parts()}"
            raise

    def abort(self) -> None:
        if os.getpid() != self._pid:
            self._open = False  # the upload is the parent's: a child that drops its copy must not abort it
        elif self._open:
            self._give_up(self._aborted())

    def _aborted(self) -> TransferCancelledError:
        return TransferCancelledError("the write was aborted", uri=self._store.uri(self._key), operation="PUT")

    def leave(self) -> None:
        if self._open and os.getpid() == self._pid:
            self._open = False
            self._filling = None
            self._sender.give_up()
            _open_writers.discard(self)
            if self._call.observation is not None:
                finalize_elsewhere(partial(self._call.end, TransferCancelledError("the write was left unfinished")))

    def _check_open(self) -> None:
        uri = self._store.uri(self._key)
        if not self._open:
            raise S3dlioError("the writer is closed", uri=uri, operation="PUT")
        self._check_process(self._pid, uri)
        if (failure := self._failure) is not None:
            self._give_up(failure)
            if isinstance(failure, Exception):
                raise failure
            raise S3dlioError("the writer is closed: a write was interrupted", uri=uri, operation="PUT") from failure

    def _fail(self, error: BaseException) -> None:
        """Nothing will come of the object: what is on its way is given up."""
        if isinstance(error, S3dlioError):
            error.locate(self._store.uri(self._key), "PUT")
        self._failure = self._failure or error
        self._filling = None
        self._sender.give_up()
        if self._scope is not None:
            self._scope.cancel()

    def _give_up(self, error: BaseException) -> None:
        self._fail(error)
        if not self._open:  # a signal handler has done so
            return
        cleaned = not self._begun
        try:
            self._sender.await_given_up(self._upload)
            if not cleaned:
                run_here(Begun(self._upload.abort()), ignore, CleanupDeadline())
                cleaned = True
        finally:
            if not cleaned:  # Ctrl-C again
                self._forsake()
            self._finish(error)

    def _forsake(self) -> None:
        """Have somebody else abort the upload. Takes no lock."""
        forsaken = _Forsaken(self._upload, self._call)
        if not self._sender.hand_over(forsaken):
            finalize_elsewhere(forsaken.run)

    def _finish(self, error: BaseException | None) -> None:
        self._open = False
        _open_writers.discard(self)
        self._filling = None
        self._call.end(error)

    def __del__(self) -> None:
        """A writer that is dropped without close leaves no object and no parts; others send the requests for that."""
        if not getattr(self, "_open", False) or os.getpid() != self._pid:
            return
        self._open = False
        self._sender.give_up()
        if self._begun or self._call.observation is not None:
            self._forsake()
        self._dropped(self._store.uri(self._key))


class _Forsaken(Submission):
    """The upload of a writer that was dropped."""

    __slots__ = ("_call", "_done", "_upload")

    def __init__(self, upload: PartedUpload, call: Call[PutResult]) -> None:
        super().__init__(Begun(upload.abort()), 1)
        self._call = call
        self._done = threading.Event()
        _forsaken.add(self)

    def run(self) -> None:
        run_here(self.operation, self.end, CleanupDeadline())

    def end(self, result: Any, error: BaseException | None) -> None:
        try:
            self._call.end(TransferCancelledError("the writer was dropped without close"))
        finally:
            _forsaken.discard(self)
            self._done.set()

    def wait(self, seconds: float) -> None:
        self._done.wait(seconds)


def checked_part_size(uri: str, part_size: int) -> int:
    """Refuse a part size that no service takes, before anything is sent.

    Raises:
        ConfigError: it is no size, or not from 5 MiB (S3) to 4000 MiB (Azure).
    """
    size = parse_size(part_size, name=option("part_size"), minimum=_MIN_PART)
    if size > _MAX_PART:
        reason = f"{option('part_size')} must be at most {_MAX_PART}, got {size}"
        raise ConfigError(reason, uri=uri, hint="that is 4000 MiB")
    return size


_open_writers: weakref.WeakSet[CloudWriter] = weakref.WeakSet()
_forsaken: set[_Forsaken] = set()


@atexit.register
def _abort_open() -> None:
    """What is open when the program ends leaves nothing behind either; later nothing can be sent."""
    for writer in list(_open_writers):
        writer.abort()
    until = time.monotonic() + GRACE_SECONDS
    for forsaken in list(_forsaken):
        forsaken.wait(max(0.0, until - time.monotonic()))


@call_in_child
def _renew() -> None:
    """What is left of uploads of the parent is the parent's."""
    _forsaken.clear()


def _equal_parts() -> str:
    return f"tell how long it will be ({option('expected_size')}) or give a part size ({option('part_size')})"
