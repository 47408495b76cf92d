"""file://: files through the page cache."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from time import perf_counter, time_ns
from typing import ClassVar

from s3dlio.errors import LengthMismatchError, ObjectChangedError
from s3dlio.foreign_errors import local_error
from s3dlio.memory.hashed import HashedSink
from s3dlio.memory.libc import advise, allocate, copy_range, pread_full, pwrite_full, start_write_back
from s3dlio.memory.parallel_read import pread_hashed, pread_parallel
from s3dlio.memory.pool import SMALL, default_pool
from s3dlio.memory.sinks import FileSink, Sink
from s3dlio.memory.sources import FileSource, Source, differs
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import Journal
from s3dlio.stores.local.atomic import Replacement, check_regular
from s3dlio.stores.local.store import READ_FLAGS, LocalStore, etag_of, result_of
from s3dlio.stores.local.writer import Output
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions, PutResult

#: Errors of a copy that are of the side that is written.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Bytes after which the disk begins with a file that will be synced: 512 MiB were durable in 0.30 to 0.46 s instead of
#: 0.43 to 0.51.
_WRITE_BACK = 8 << 20
_CHUNK = 1 << 20  # bytes handed on at once where a body does not land in memory whole

#: When a file of this size or more is replaced, its disk space is reserved before the first byte. On ext4 the rename
#: over an existing file otherwise allocates all delayed blocks at once: 64 MiB went at 1.5 GB/s, and with it at 4.8;
#: 64 KiB took 200 us, and with it 107. For a new file it would only cost (4 KiB: 39 us, with it 105).
_ALLOCATE_FROM = 4096

#: Of files from this size on the page cache reads ahead in mode ``auto``; of smaller ones it reads what is asked for.
_SEQUENTIAL_FROM = 64 << 20


class FileStore(LocalStore):
    """Files read and written through the page cache; a write is atomic: it shows up whole or not at all."""

    scheme: ClassVar[str] = "file"
    storage_class: ClassVar[str] = "STANDARD"

    # -- reading

    def get(self, key: str, *, conditions: Conditions = NO_CONDITIONS) -> BytesView:
        if conditions is NO_CONDITIONS and (data := self.small(key)) is not None:
            return BytesView(data)
        return super().get(key, conditions=conditions)

    def small(self, key: str) -> bytes | None:
        # Small files are read without the machinery of a call, which takes longer than the system calls do; where
        # anything is out of the ordinary, the call finds out and says what. 4 KiB: 7 us instead of 11.
        if self.watched or self.settings.page_cache != "normal":
            return None
        return _read_small(key) if self.journal is None else self._read_noted(key, self.journal)

    def read_small(self, keys: Sequence[str], seconds: float) -> list[bytes]:
        found: list[bytes] = []
        if self.watched or self.settings.page_cache != "normal":
            return found
        clock, take, journal = perf_counter, found.append, self.journal
        until = clock() + seconds
        for key in keys:
            data = _read_small(key) if journal is None else self._read_noted(key, journal)
            if data is None:
                return found
            take(data)
            if clock() > until:
                return found
        return found

    def drain(self, key: str) -> int:
        data = self.small(key)
        return super().drain(key) if data is None else len(data)

    def _read_noted(self, key: str, journal: Journal) -> bytes | None:
        """``_read_small``, noted where there is something."""
        started = time_ns()
        data = _read_small(key)
        if data is not None:
            journal.note(self, "GET", key, 1, len(data), started, time_ns())
        return data

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        fd = os.open(key, READ_FLAGS)
        try:
            info = os.fstat(fd)
            check_regular(info.st_mode)
            self._check_conditions(key, info, conditions)
            size = info.st_size
            if size:
                start = min(offset, size)
                length = size - start if length is None else min(length, size - start)
                if (page_cache := self.settings.page_cache) == "normal":
                    self._read_body(fd, info, sink, start, length)
                else:
                    advise_before(fd, page_cache, size)
                    self._read_body(fd, info, sink, start, length)
                    advise_after(fd, page_cache, start, length)
            else:
                size = _read_unsized(fd, sink, offset, length)
            return ObjectMetadata(size, etag_of(info))
        finally:
            os.close(fd)

    def _read_body(self, fd: int, info: os.stat_result, sink: Sink, start: int, length: int) -> None:
        """``length`` bytes, which were there when the file was opened, into the sink."""
        if length < SMALL:
            data = os.pread(fd, length, start)
            if len(data) < length:
                check_unchanged(fd, info)
            sink.take(data)
            return
        sink.begin(length)
        got = _read_into(fd, sink, start, length)
        check_unchanged(fd, info, whole=got == length)
        sink.end(got)

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions, beneath: int | None = None) -> PutResult:
        with self._replacement(key, options, beneath=beneath) as target:
            self._fill(target, source)
            info = target.commit()
        return result_of(info)

    def _fill(self, target: Replacement, source: Source) -> None:
        fd, size = target.fd, source.size
        if target.replaces and size >= _ALLOCATE_FROM:
            allocate(fd, size)
        whole = source.whole()
        if whole is not None:
            done = os.write(fd, whole) if size < _CHUNK else 0  # one call, and mostly enough
            if done < size:
                _write(target, whole[done:], done)
        elif isinstance(source, FileSource):
            copied = copy_range(source.fd, fd, size, source.offset)
            if copied < size:
                raise LengthMismatchError("the file became shorter while it was read", expected=size, actual=copied)
            source.check()
        else:
            done = 0
            for stretch in source.stretches(_CHUNK):
                done += _write(target, stretch, done)

    def _output(
        self, key: str, options: PutOptions, buffer_size: int, beneath: int | None = None
    ) -> tuple[Replacement, Output]:
        target = self._replacement(key, options, beneath=beneath)
        return target, _BufferedOutput(target, buffer_size)


def _write(target: Replacement, data: memoryview, offset: int) -> int:
    """Write bytes to a file that is not complete yet; to one that is to be on the disk in the end, so that the disk is
    busy meanwhile."""
    if not target.durable:
        return pwrite_full(target.fd, data, offset)
    start, end = offset, offset + len(data)
    while start < end:
        stop = min((start // _WRITE_BACK + 1) * _WRITE_BACK, end)
        pwrite_full(target.fd, data[start - offset : stop - offset], start)
        if stop % _WRITE_BACK == 0:
            start_write_back(target.fd, stop - _WRITE_BACK, _WRITE_BACK)
        start = stop
    return len(data)


def advise_before(fd: int, mode: str, size: int) -> None:
    """Tell the page cache how a file of ``size`` bytes will be read (``file.page_cache``)."""
    if mode == "auto":
        mode = "sequential" if size >= _SEQUENTIAL_FROM else "random"
    if mode in ("sequential", "random"):
        advise(fd, 0, 0, mode)


def advise_after(fd: int, mode: str, start: int, length: int) -> None:
    """Tell the page cache that ``length`` bytes from ``start`` on were read, and are not needed any more."""
    if mode == "dontneed" and length:
        advise(fd, start, length, "dontneed")


def _read_small(path: str) -> bytes | None:
    """The content of a small regular file; None for anything else, and whenever anything goes wrong."""
    try:
        fd = os.open(path, READ_FLAGS)
    except (OSError, ValueError):
        return None
    try:
        info = os.fstat(fd)
        size = info.st_size
        if not 0 < size < SMALL or not stat.S_ISREG(info.st_mode):
            return None
        data = os.read(fd, size)
        return data if len(data) == size else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _read_into(fd: int, sink: Sink, start: int, length: int) -> int:
    """Move bytes from the file to where the sink wants them; returns how many there were."""
    if isinstance(sink, FileSink):
        try:
            return copy_range(fd, sink.fd, length, start, sink.offset)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise local_error(error, sink.path) from error
    place = sink.at(0, length)
    if isinstance(place, memoryview):
        if not isinstance(sink, HashedSink):
            return pread_parallel(fd, place, start)
        got, crc = pread_hashed(fd, place, start)
        if got == length:
            sink.note(crc)
        return got
    buffer = default_pool().lease(min(length, _CHUNK))
    done = 0
    while done < length:
        got = pread_full(fd, buffer[: length - done], start + done)
        if not got:
            break
        place(buffer[:got])
        done += got
    return done


def _read_unsized(fd: int, sink: Sink, offset: int, length: int | None) -> int:
    """A file without a size: empty, or one of /proc, whose content is made as it is read. Returns its size."""
    pieces = []
    while piece := os.read(fd, _CHUNK):
        pieces.append(piece)
    data = b"".join(pieces)
    sink.take(data[offset : None if length is None else offset + length])
    return len(data)


def check_unchanged(fd: int, before: os.stat_result, *, whole: bool = False) -> None:
    """Refuse a mixture of two contents.

    A file that has only grown is no mixture: what was there was read. And one that ended early though nothing changed
    (every file of /sys has 4096 bytes by its stat) has no more.
    """
    after = os.fstat(fd)
    if differs(after, before) and not (whole and after.st_size > before.st_size):
        raise ObjectChangedError("the file was changed while it was read", hint="read it again")


class _BufferedOutput:
    """Appends to a file; small pieces are gathered first."""

    def __init__(self, target: Replacement, buffer_size: int) -> None:
        self._target = target
        self._gathered = bytearray()
        self._limit = buffer_size
        self._size = 0

    def write(self, data: memoryview) -> None:
        if len(self._gathered) + len(data) < self._limit:
            self._gathered += data
            return
        self.flush()
        if len(data) < self._limit:
            self._gathered += data
            return
        self._size += _write(self._target, data, self._size)

    def flush(self) -> None:
        if self._gathered:
            self._size += _write(self._target, memoryview(self._gathered), self._size)
            self._gathered = bytearray()

    def finish(self) -> int:
        self.flush()
        return self._size
