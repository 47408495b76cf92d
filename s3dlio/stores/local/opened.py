"""A local file that stays open and is read at any position: whoever replaces it meanwhile, it is the same file."""

from __future__ import annotations

import os
from functools import partial

from s3dlio.memory.libc import O_DIRECT, pread_full
from s3dlio.memory.parallel_read import pread_parallel
from s3dlio.memory.sinks import BufferSink
from s3dlio.stores.call import Call
from s3dlio.stores.local.atomic import check_regular
from s3dlio.stores.local.file import advise_after, advise_before, check_unchanged
from s3dlio.stores.local.store import READ_FLAGS, LocalStore, etag_of
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata


class OpenedFile:
    """One regular file, open for reading. Every read is an operation for observers.

    Args:
        store: of ``file://`` or ``direct://``.
        key: its path.
        conditions: ETags that it must or must not have.

    Raises:
        ObjectNotFoundError, IsDirectoryError, PermissionDeniedError, PreconditionFailedError, ...
    """

    def __init__(self, store: LocalStore, key: str, conditions: Conditions = NO_CONDITIONS) -> None:
        self._store = store
        self._key = key
        self._fd = -1
        store.check_key(key, "GET")
        self._info: os.stat_result = store.execute(Call(store, "HEAD", key, partial(self._open, conditions)))
        self.size: int = self._info.st_size
        self.etag = etag_of(self._info)

    def _open(self, conditions: Conditions) -> os.stat_result:
        self._fd = os.open(self._key, READ_FLAGS)
        info = os.fstat(self._fd)
        check_regular(info.st_mode)
        self._store._check_conditions(self._key, info, conditions)
        advise_before(self._fd, self._store.settings.page_cache, info.st_size)
        return info

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on, which must be there.

        Raises:
            ObjectChangedError: the file was written to since it was opened.
        """
        sink = BufferSink(view, exact=True)
        # O_DIRECT takes a descriptor of its own, of the file that is open here.
        read = self._read_direct if self._store.scheme == "direct" and O_DIRECT else self._read
        call: Call[None] = Call(self._store, "GET_RANGE", self._key, partial(read, sink, offset, len(view)), sink)
        call.range = offset, len(view)
        try:
            self._store.execute(call)
        finally:
            sink.release()

    def _read(self, sink: BufferSink, offset: int, length: int) -> None:
        sink.begin(length)
        place = sink.at(0, length)
        assert isinstance(place, memoryview)
        got = pread_parallel(self._fd, place, offset)
        check_unchanged(self._fd, self._info, whole=got == length)
        sink.end(got)
        advise_after(self._fd, self._store.settings.page_cache, offset, length)

    def _read_direct(self, sink: BufferSink, offset: int, length: int) -> None:
        about: ObjectMetadata = self._store._read(f"/proc/self/fd/{self._fd}", sink, offset, length, NO_CONDITIONS)
        check_unchanged(self._fd, self._info, whole=about.size >= self.size)

    def read_unsized(self) -> bytes:
        """The content of a file that tells no size: nothing, or what a file of /proc makes when it is read."""
        pieces = []
        buffer = memoryview(bytearray(1 << 16))
        position = 0
        while got := pread_full(self._fd, buffer, position):
            pieces.append(bytes(buffer[:got]))
            position += got
        return b"".join(pieces)

    def close(self) -> None:
        """Let the file go; more than once is no error."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
