"""Shards: the bytes of one rank on their way to the store and back, compressed or not, with their checksum."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import zstandard

from s3dlio.checkpoint.base import NEW, Base
from s3dlio.checkpoint.layout import COMPRESSED, Name
from s3dlio.checkpoint.manifest import ShardMeta
from s3dlio.checkpoint.seal import SIZE as SEAL
from s3dlio.checkpoint.seal import SealCheck, SealedWriter, check_seal
from s3dlio.errors import (
    ConfigError,
    CorruptDataError,
    IntegrityError,
    LengthMismatchError,
    OutOfMemoryError,
    S3dlioError,
)
from s3dlio.hardware import available_memory
from s3dlio.memory.crc32c import crc32c, format_crc32c
from s3dlio.memory.hashed import crc32c_parallel
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import as_memory
from s3dlio.memory.view import BytesView
from s3dlio.streams.compression import ZstdStream
from s3dlio.streams.object_reader import ObjectReader
from s3dlio.streams.one_version import open_version
from s3dlio.streams.writer import ObjectWriter
from s3dlio.streams.writer_options import LEVELS
from s3dlio.types import NO_CONDITIONS, Payload
from s3dlio.wording import either

log = logging.getLogger("s3dlio.checkpoint")

_BUFFER = 4 << 20  # bytes of a stream that are collected before they go on
_CHUNK = 4 << 20  # bytes that are decompressed at once


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
    if level not in LEVELS:
        raise ConfigError(f"compression_level={level}: zstd has the levels {LEVELS[0]} to {LEVELS[-1]}")
    return level


def write_shard(base: Base, key: str, rank: int, data: Payload, level: int | None) -> ShardMeta:
    """Store all bytes of a shard, and look at what is there then.

    Raises:
        AlreadyExistsError: there is a shard of that key; nothing was written.
        IntegrityError: the store has something else than was sent.
    """
    view = as_memory(data)
    if level is None:
        result, checksum = base.write_hashed(key, view)
        looked_at(base, key, result.size, checksum)
        return ShardMeta(rank, key, result.size, result.etag, format_crc32c(checksum))
    with shard_writer(base, key, level, size=len(view)) as writer:
        writer.write_owned_bytes(view)
        return finished(base, key, rank, writer)


def shard_writer(base: Base, key: str, level: int | None, *, size: int | None = None) -> ObjectWriter:
    """Writes a shard piece by piece; it appears whole when it is finished.

    Args:
        base: where.
        key: of the shard, relative to the base; that of a compressed one ends in ``.zst``.
        level: of zstd; None: stored as it comes.
        size: how many bytes will come, if that is known.
    """
    target = base.store.writer(base.key(key), options=NEW, expected_size=size if level is None else None)
    zstd = None if level is None else ZstdStream(level, size)
    return ObjectWriter(
        target if zstd is None else SealedWriter(target), base.uri(key), zstd=zstd, buffer_size=_BUFFER
    )


def finished(base: Base, key: str, rank: int, writer: ObjectWriter) -> ShardMeta:
    """Make what was written visible, and look at it.

    Raises:
        AlreadyExistsError: there is a shard of that key by now.
        IntegrityError: the store has something else than was sent.
    """
    stats = writer.finalize()
    sealed = key.endswith(COMPRESSED)
    size = stats.compressed_bytes + (SEAL if sealed else 0)
    looked_at(base, key, size, None if sealed else int(stats.checksum.rpartition(":")[2], 16))
    return ShardMeta(rank, key, size, stats.etag, stats.checksum)


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


class ShardStream:
    """A shard that a rank writes piece by piece, so that it may be larger than memory. It appears whole when it is
    finalized; used with ``with``, a block that ends without that leaves nothing.

    Args:
        base: where.
        key: of the shard, relative to the base.
        rank: whose it is.
        level: of zstd, or None.
        name: of the checkpoint.
        epoch: is told again by :meth:`finalize`.
    """

    def __init__(self, base: Base, key: str, rank: int, level: int | None, name: Name, epoch: int) -> None:
        self._base = base
        self._key = key
        self._rank = rank
        self._name = name
        self._epoch = epoch
        self._ended = ""
        self._writer = shard_writer(base, key, level)

    def __repr__(self) -> str:
        return f"<ShardStream {self._base.uri(self._key)!r}: {self.bytes_written()} bytes, {self._ended or 'open'}>"

    def write_chunk(self, data: Payload) -> int:
        """Append bytes, whose memory may be used again afterwards; returns how many."""
        self._check("Stream has been finalized")
        return self._writer.write(data)

    write = write_chunk

    def bytes_written(self) -> int:
        """Bytes so far, before compression."""
        return self._writer.bytes_written()

    def finalize(self) -> dict[str, Any]:
        """Make the shard visible: what ``finalize_distributed_checkpoint`` wants to know of it: ``step``,
        ``timestamp``, ``epoch``, ``rank``, ``key``, ``size``, ``etag``, ``checksum``.

        Raises:
            ConfigError: nothing was written.
            S3dlioError: it is finalized or cancelled already; or it could not be stored, and nothing is left of it.
        """
        self._check("Stream already finalized")
        if not self.bytes_written():
            raise ConfigError("No data written to stream", uri=self._base.uri(self._key), hint="cancel() gives it up")
        shard = finished(self._base, self._key, self._rank, self._writer)
        self._ended = "finalized"
        return described(shard, self._name, epoch=self._epoch)

    def cancel(self) -> None:
        """Give the shard up; nothing is left of it. May be called again; of one that is finalized, it does nothing."""
        self._ended = self._ended or "cancelled"
        self._writer.abort()

    def _check(self, after_its_end: str) -> None:
        if self._ended:
            reason = after_its_end if self._ended == "finalized" else "Stream has been cancelled"
            raise S3dlioError(reason, uri=self._base.uri(self._key), operation="PUT", hint="begin another one")

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
    if shard.key.endswith(COMPRESSED) or not verify:
        return as_saved(base, shard, base.read(shard.key)[0], verify=verify)
    data, crc = base.read_hashed(shard.key)
    uri = base.uri(shard.key)
    _check_size(len(data), shard, uri)
    check_sum(crc, shard, uri)
    return data


def as_saved(base: Base, shard: ShardMeta, data: BytesView, *, verify: bool = True) -> BytesView:
    """What was saved, of the bytes that are stored; raises as :func:`read_shard` does."""
    uri = base.uri(shard.key)
    _check_size(len(data), shard, uri)
    if shard.key.endswith(COMPRESSED):
        data = decompressed(data, uri)
    if verify:
        check_sum(crc32c_parallel(data.memoryview()), shard, uri)
    return data


def iter_shard(base: Base, shard: ShardMeta, *, verify: bool = True) -> Iterator[BytesView]:
    """The bytes of a shard as they were saved, piece by piece, whatever its size. What was given out is verified when
    the last piece has been taken: an error then says that all of it is worth nothing.

    Raises:
        as :func:`read_shard`.
    """
    uri = base.uri(shard.key)
    reader = ObjectReader(open_version(base.session, base.store, base.key(shard.key), NO_CONDITIONS), uri)
    with reader:
        _check_size(reader.seek(0, os.SEEK_END), shard, uri)
        reader.seek(0)
        crc = 0
        for piece in _decompressed_pieces(reader, uri) if shard.key.endswith(COMPRESSED) else _pieces(reader):
            crc = crc32c(piece, crc) if verify else 0
            yield piece
    if verify:
        check_sum(crc, shard, uri)


def _pieces(reader: ObjectReader) -> Iterator[BytesView]:
    while True:
        buffer = default_pool().lease(_CHUNK)
        if not (count := reader.readinto(buffer)):
            return
        yield BytesView(buffer[:count])


def _decompressed_pieces(reader: ObjectReader, uri: str) -> Iterator[BytesView]:
    stored: Any = _Stored(reader, SealCheck(reader.seek(0, os.SEEK_END), uri))
    reader.seek(0)
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(
            stored, read_size=_CHUNK, read_across_frames=True, closefd=False
        )
        while piece := stream.read(_CHUNK):
            yield BytesView(piece)
    except zstandard.ZstdError as error:
        raise _damaged(error, uri) from error
    stored.check.finish()


class _Stored:
    """The stored bytes of a shard, as the decompressor takes them."""

    def __init__(self, reader: ObjectReader, check: SealCheck) -> None:
        self._reader = reader
        self.check = check

    def read(self, size: int) -> memoryview:
        buffer = default_pool().lease(size)
        piece = buffer[: self._reader.readinto(buffer)]
        self.check.take(piece)
        return piece


def check_shard(base: Base, shard: ShardMeta) -> None:
    """Read a shard and compare it with its manifest, in bounded memory.

    Raises:
        as :func:`read_shard`; a shard without a checksum is compared by its size only.
    """
    for _ in iter_shard(base, shard):
        pass


def _check_size(found: int, shard: ShardMeta, uri: str) -> None:
    if found != shard.size:
        raise LengthMismatchError(
            f"the manifest says {shard.size} bytes, and there are {found}", uri=uri, operation="GET",
            expected=shard.size, actual=found,
        )  # fmt: skip


def _damaged(error: Exception, uri: str) -> CorruptDataError:
    return CorruptDataError(f"the compressed shard is damaged: {error}", uri=uri, operation="GET")


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
    stored = data.memoryview()
    check_seal(bytes(stored[-SEAL:]), crc32c(stored[:-4]), uri)
    limit = available_memory()
    out = bytearray()
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
        while piece := reader.read(_CHUNK):
            if len(out) + len(piece) > limit:
                raise OutOfMemoryError(
                    f"the shard decompresses to more than the {limit} bytes of memory that there are", uri=uri,
                    operation="GET", hint=either("read it piece by piece: reader().iter_shard(...)", "free memory"),
                )  # fmt: skip
            out += piece
    except zstandard.ZstdError as error:
        raise _damaged(error, uri) from error
    return BytesView(out)
