"""Shards: the bytes of one rank on their way to the store and back, compressed or not, with their checksum."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Self

import zstandard

from s3dlio.checkpoint.base import NEW, Base
from s3dlio.checkpoint.layout import COMPRESSED, Name
from s3dlio.checkpoint.manifest import ShardMeta
from s3dlio.errors import (
    ConfigError,
    CorruptDataError,
    IntegrityError,
    LengthMismatchError,
    OutOfMemoryError,
    S3dlioError,
)
from s3dlio.hardware import available_memory, usable_cpus
from s3dlio.memory.crc32c import crc32c, format_crc32c
from s3dlio.memory.sources import as_memory
from s3dlio.memory.view import BytesView
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import Payload, PutResult

log = logging.getLogger("s3dlio.checkpoint")

_MAX_LEVEL = 22
#: From this size on, several threads compress: below, starting them takes longer than they save.
_THREADED_FROM = 4 << 20
_CHUNK = 4 << 20  # bytes that are compressed or decompressed at once


def checked_level(level: int | None) -> int | None:
    """A level of zstd; None: no compression.

    Raises:
        ConfigError: there is no such level.
        TypeError: it is no integer.
    """
    if level is None:
        return None
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"compression_level must be an integer, not {type(level).__name__}")
    if not 1 <= level <= _MAX_LEVEL:
        raise ConfigError(f"compression_level={level}: zstd has the levels 1 to {_MAX_LEVEL}")
    return level


def write_shard(base: Base, key: str, rank: int, data: Payload, level: int | None) -> ShardMeta:
    """Store all bytes of a shard, and look at what is there then.

    Raises:
        AlreadyExistsError: there is a shard of that key; nothing was written.
        IntegrityError: the store has something else than was sent.
    """
    view = as_memory(data)
    if level is None:
        checksum = crc32c(view)
        result = base.write(key, view)
        looked_at(base, key, result.size, checksum)
        return ShardMeta(rank, key, result.size, result.etag, format_crc32c(checksum))
    with ShardWriter(base, key, rank, level, size=len(view)) as writer:
        writer.write(view)
        return writer.finish()


class ShardWriter:
    """A shard that is written piece by piece; it appears whole, or not at all.

    Args:
        base: where.
        key: of the shard, relative to the base.
        rank: whose it is.
        level: of zstd; None: stored as it comes.
        size: how many bytes will come, if that is known.
    """

    def __init__(self, base: Base, key: str, rank: int, level: int | None, *, size: int | None = None) -> None:
        self.key = key
        self.rank = rank
        #: Bytes that were written, before compression.
        self.written = 0
        self._base = base
        self._crc = 0
        self._stored_crc = 0
        self._compressor: Any = None if level is None else _compressor(level, size)
        self._out: StoreWriter = base.store.writer(
            base.key(key), options=NEW, expected_size=size if level is None else None
        )

    def write(self, data: Payload) -> int:
        """Append; the memory may be reused afterwards. Returns how many bytes that were."""
        view = as_memory(data)
        self._crc = crc32c(view, self._crc)
        if self._compressor is None:
            self._out.write(view)
        else:
            for start in range(0, len(view), _CHUNK):
                self._put(self._compressor.compress(view[start : start + _CHUNK]))
        self.written += len(view)
        return len(view)

    def _put(self, compressed: bytes) -> None:
        if compressed:
            self._stored_crc = crc32c(compressed, self._stored_crc)
            self._out.write_owned(compressed)

    def finish(self) -> ShardMeta:
        """Make the shard visible and look at it.

        Raises:
            AlreadyExistsError: there is one of that key by now.
            IntegrityError: the store has something else than was sent.
        """
        if self._compressor is not None:
            self._put(self._compressor.flush())
        result: PutResult = self._out.close()
        stored = self._crc if self._compressor is None else self._stored_crc
        looked_at(self._base, self.key, result.size, stored)
        return ShardMeta(self.rank, self.key, result.size, result.etag, format_crc32c(self._crc))

    def abort(self) -> None:
        self._out.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._out.abort()  # which does nothing after `finish`


def looked_at(base: Base, key: str, size: int, checksum: int | None = None) -> None:
    """Compare what the store has with what was written.

    Raises:
        ObjectNotFoundError: there is nothing.
        IntegrityError: it has another size, or tells another checksum.
    """
    found = base.head(key)
    if found.size != size:
        raise LengthMismatchError(
            f"{size} bytes were written and the store has {found.size}", uri=base.uri(key), operation="HEAD",
            expected=size, actual=found.size,
        )  # fmt: skip
    if checksum is not None and found.crc32c is not None and found.crc32c != checksum:
        raise IntegrityError(
            f"{format_crc32c(checksum)} was written and the store has {format_crc32c(found.crc32c)}",
            uri=base.uri(key), operation="HEAD",
        )  # fmt: skip


def _compressor(level: int, size: int | None) -> Any:
    threads = usable_cpus() if size is None or size >= _THREADED_FROM else 0
    made = zstandard.ZstdCompressor(level=level, threads=threads if threads > 1 else 0, write_checksum=True)
    return made.compressobj() if size is None else made.compressobj(size=size)


class ShardStream:
    """A shard that a rank writes piece by piece, so that it may be larger than memory. Used with ``with``, an exception
    leaves nothing of it.

    Args:
        writer: stores it.
        name: of the checkpoint.
        epoch: is told again by :meth:`finalize`.
    """

    def __init__(self, writer: ShardWriter, name: Name, epoch: int) -> None:
        self._writer = writer
        self._name = name
        self._epoch = epoch
        self._ended = ""

    def write_chunk(self, data: Payload) -> int:
        """Append bytes, whose memory may be reused afterwards; returns how many."""
        self._check("write to")
        try:
            return self._writer.write(data)
        except (TypeError, BufferError):
            raise  # nothing was written of it
        except BaseException:
            self.cancel()
            raise

    write = write_chunk

    def bytes_written(self) -> int:
        """Bytes so far, before compression."""
        return self._writer.written

    def finalize(self) -> dict[str, Any]:
        """Make the shard visible: what ``finalize_distributed_checkpoint`` wants to know of it: ``step``,
        ``timestamp``, ``epoch``, ``rank``, ``key``, ``size``, ``etag``, ``checksum``.

        Raises:
            ConfigError: nothing was written.
            S3dlioError: it is finalized or cancelled already; or it could not be stored, and nothing is left of it.
        """
        self._check("finalize")
        if not self._writer.written:
            raise ConfigError("No data written to stream", uri=self._uri, hint="cancel() gives it up")
        self._ended = "finalized"
        with self._writer:
            return described(self._writer.finish(), self._name, epoch=self._epoch)

    def cancel(self) -> None:
        """Give the shard up; nothing is left of it. May be called again."""
        self._ended = self._ended or "cancelled"
        self._writer.abort()

    @property
    def _uri(self) -> str:
        return self._writer._base.uri(self._writer.key)

    def _check(self, action: str) -> None:
        if self._ended:
            raise S3dlioError(f"Stream has been {self._ended}: there is nothing to {action}", uri=self._uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._ended:
            self.cancel()


def described(shard: ShardMeta, name: Name, **more: Any) -> dict[str, Any]:
    """What a rank tells the others of its shard."""
    return {"step": name.step, "timestamp": name.timestamp, **more, **shard.as_dict()}


# -- reading


def read_shard(base: Base, shard: ShardMeta, *, verify: bool = True) -> BytesView:
    """The bytes of a shard, as they were saved.

    Raises:
        ObjectNotFoundError: it is missing.
        IntegrityError: its size or its checksum is another than the manifest says.
        CorruptDataError: it cannot be decompressed.
    """
    uri = base.uri(shard.key)
    data, _ = base.read(shard.key)
    if len(data) != shard.size:
        raise LengthMismatchError(
            f"the manifest says {shard.size} bytes, and there are {len(data)}", uri=uri, operation="GET",
            expected=shard.size, actual=len(data),
        )  # fmt: skip
    if shard.key.endswith(COMPRESSED):
        data = decompressed(data, uri)
    if verify:
        check_sum(crc32c(data), shard, uri)
    return data


def check_sum(found: int, shard: ShardMeta, uri: str) -> None:
    """Compare the checksum of a shard's bytes with that of its manifest, where that has one.

    Raises:
        IntegrityError: they differ.
    """
    if shard.checksum is None:
        log.warning("%s: the manifest has no checksum of it, so its bytes are not verified", uri)
    elif format_crc32c(found) != shard.checksum:
        raise IntegrityError(
            f"Integrity validation failed: expected {shard.checksum}, got {format_crc32c(found)}",
            uri=uri, operation="GET", hint="the checkpoint is damaged; load another one",
        )  # fmt: skip


def decompressed(data: BytesView, uri: str) -> BytesView:
    """The bytes that zstd has made ``data`` of, of all its frames.

    Raises:
        CorruptDataError: that is damaged.
        OutOfMemoryError: it would become more than there is memory for.
    """
    limit = available_memory()
    out = bytearray()
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(data.memoryview(), read_across_frames=True)
        while piece := reader.read(_CHUNK):
            if len(out) + len(piece) > limit:
                raise OutOfMemoryError(
                    f"the shard decompresses to more than the {limit} bytes of memory that there are", uri=uri,
                    operation="GET", hint="read it piece by piece: reader().iter_shard(...)",
                )  # fmt: skip
            out += piece
    except zstandard.ZstdError as error:
        raise CorruptDataError(f"the compressed shard is damaged: {error}", uri=uri, operation="GET") from error
    return BytesView(out)
