"""A ZIP archive of uncompressed members whose sizes are known in advance: where everything lies, and its headers.

Follows PKWARE's APPNOTE 6.3.10; the numbers in comments are its sections. Python's zipfile writes through a file
object; here the members' bytes are already in their place in a buffer, or come as a stream, and only headers are made.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_DESCRIPTOR = struct.Struct("<4s3I")  # 4.3.9
_DESCRIPTOR64 = struct.Struct("<4sI2Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_END64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR64 = struct.Struct("<4sIQI")  # 4.3.15
_END = struct.Struct("<4s4H2IH")  # 4.3.16

_LIMIT = 0xFFFFFFFF  # a size or offset from here on goes into the ZIP64 extra field (4.5.3)
_COUNT_LIMIT = 0xFFFF
_STREAMED, _UTF8 = 1 << 3, 1 << 11  # 4.4.4
_DATE = 1 << 5 | 1  # 1980-01-01: archives of the same data are the same bytes
_UNIX_RW = 0o600 << 16


class StoredZip:
    """The plan of one archive.

    Args:
        members: (name, bytes) of each member, in order.
        streamed: the checksums are not known when a member's header is written, so that a descriptor follows its data.

    Attributes:
        offsets: where the local header of each member starts.
        data_offsets: where the data of each member starts.
        size: bytes of the whole archive.
    """

    def __init__(self, members: Sequence[tuple[str, int]], *, streamed: bool = False) -> None:
        self.members = [(name.encode(), size) for name, size in members]
        self.streamed = streamed
        self.offsets: list[int] = []
        self.data_offsets: list[int] = []
        at = 0
        for i, (_, size) in enumerate(self.members):
            self.offsets.append(at)
            self.data_offsets.append(at + len(self.local_header(i)))
            at = self.data_offsets[-1] + size + len(self.descriptor(i, 0))
        self._directory_offset = at
        self.size = at + len(self.tail([0] * len(self.members)))

    def local_header(self, i: int, crc: int = 0) -> bytes:
        """What precedes the data of member `i`, whose CRC-32 is `crc` (left out of a streamed archive)."""
        name, size = self.members[i]
        crc, size = (0, 0) if self.streamed else (crc, size)
        short, extra = (size, b"") if not self._is_large(i) else (_LIMIT, struct.pack("<2H2Q", 1, 16, size, size))
        return (
            _LOCAL.pack(
                b"PK\3\4", self._version(i), self._flags(i), 0, 0, _DATE, crc, short, short, len(name), len(extra)
            )
            + name
            + extra
        )

    def descriptor(self, i: int, crc: int) -> bytes:
        """What follows the data of member `i`: its CRC-32 and size where the archive is streamed, else nothing."""
        if not self.streamed:
            return b""
        size = self.members[i][1]
        return (_DESCRIPTOR64 if self._is_large(i) else _DESCRIPTOR).pack(b"PK\7\10", crc, size, size)

    def tail(self, crcs: Sequence[int]) -> bytes:
        """The central directory and the end records, given the CRC-32 of every member."""
        directory = b"".join(self._central(i, crc) for i, crc in enumerate(crcs))
        count, start = len(self.members), self._directory_offset
        end64 = b""
        if count >= _COUNT_LIMIT or start >= _LIMIT or len(directory) >= _LIMIT:
            end64 = _END64.pack(
                b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, len(directory), start
            ) + _LOCATOR64.pack(b"PK\6\7", 0, start + len(directory), 1)
        short_count = min(count, _COUNT_LIMIT)
        end = _END.pack(b"PK\5\6", 0, 0, short_count, short_count, min(len(directory), _LIMIT), min(start, _LIMIT), 0)
        return directory + end64 + end

    def _central(self, i: int, crc: int) -> bytes:
        name, size = self.members[i]
        offset = self.offsets[i]
        large = [size, size] if self._is_large(i) else []
        if offset >= _LIMIT:
            large.append(offset)
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        short, version = min(size, _LIMIT), self._version(i)
        return (
            _CENTRAL.pack(
                b"PK\1\2", 3 << 8 | version, version, self._flags(i), 0, 0, _DATE, crc, short, short,
                len(name), len(extra), 0, 0, 0, _UNIX_RW, min(offset, _LIMIT),
            )
            + name
            + extra
        )  # fmt: skip

    def _is_large(self, i: int) -> bool:
        return self.members[i][1] >= _LIMIT

    def _version(self, i: int) -> int:
        return 45 if self._is_large(i) or self.offsets[i] >= _LIMIT else 20  # 4.4.3

    def _flags(self, i: int) -> int:
        return _STREAMED * self.streamed | _UTF8 * (not self.members[i][0].isascii())
