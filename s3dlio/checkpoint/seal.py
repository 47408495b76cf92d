"""The seal of a compressed shard: the CRC32C of what is stored, in a frame of zstd that decoders skip.

The checksum in the manifest is that of the bytes before compression, so it says nothing of a bit that all decoders pass
over. And what is sealed is verified without being decompressed. Shards of other writers have no seal.
"""

from __future__ import annotations

import struct

from s3dlio.errors import IntegrityError
from s3dlio.memory.crc32c import crc32c
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import Payload, PutResult

#: A skippable frame (RFC 8878, 3.1.2): its magic number, of which the lowest four bits are free; four bytes; the CRC32C
#: of all before these four.
_FRAME = struct.Struct("<III")
_MAGIC = 0x184D2A5C
_FREE = 0xF
SIZE = _FRAME.size
_CRC = 4


class SealedWriter(StoreWriter):
    """Adds the seal when it is closed.

    Args:
        target: where to.
    """

    def __init__(self, target: StoreWriter) -> None:
        self._target = target
        self._crc = 0

    def write(self, data: Payload) -> int:
        self._crc = crc32c(data, self._crc)
        return self._target.write(data)

    def write_owned(self, data: Payload) -> int:
        self._crc = crc32c(data, self._crc)
        return self._target.write_owned(data)

    def flush(self) -> None:
        self._target.flush()

    def close(self) -> PutResult:
        begin = _FRAME.pack(_MAGIC, _CRC, 0)[:-_CRC]
        self._target.write(begin + crc32c(begin, self._crc).to_bytes(_CRC, "little"))
        return self._target.close()

    def abort(self) -> None:
        self._target.abort()


def check_seal(end: bytes, crc: int, uri: str) -> None:
    """Compare a stored shard with its seal, if it has one.

    Args:
        end: its last bytes, ``SIZE`` or more.
        crc: of all its bytes but the last four.
        uri: of the shard.

    Raises:
        IntegrityError: it was changed since it was stored.
    """
    if len(end) < SIZE:
        return
    magic, length, sealed = _FRAME.unpack(end[-SIZE:])
    if magic | _FREE == _MAGIC | _FREE and (length != _CRC or sealed != crc):
        raise IntegrityError(
            "the shard was changed since it was stored: its checksum differs", uri=uri, operation="GET",
            hint="the checkpoint is damaged; load another one",
        )  # fmt: skip


class SealCheck:
    """The check for a shard that is read piece by piece.

    Args:
        size: of the stored shard, in bytes.
        uri: of the shard.
    """

    def __init__(self, size: int, uri: str) -> None:
        self._left = size - _CRC
        self._crc = 0
        self._end = b""
        self._uri = uri

    def take(self, piece: bytes | memoryview) -> None:
        """The next bytes."""
        covered = piece[: max(0, self._left)]
        self._crc = crc32c(covered, self._crc)
        self._left -= len(covered)
        self._end = (self._end + bytes(piece[-SIZE:]))[-SIZE:]

    def finish(self) -> None:
        """All bytes have been taken; raises as :func:`check_seal` does."""
        check_seal(self._end, self._crc, self._uri)

