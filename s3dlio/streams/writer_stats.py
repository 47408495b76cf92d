"""What a streaming writer says at its end."""

from __future__ import annotations

from typing import Any

from s3dlio.types import PutResult


class WriterStats(tuple[int, int]):
    """What a writer says at its end: ``(bytes_written, compressed_bytes)``; each also by its name, as an attribute or
    as ``stats["bytes_written"]``, and so are the others.

    Attributes:
        bytes_written: bytes that the writer was given.
        compressed_bytes: bytes that were stored.
        checksum: of the bytes that it was given, ``crc32c:`` and eight hexadecimal digits.
        uri: the object's, with ``.zst`` where it was compressed.
        etag, version_id: what the store told; None where it has none.
    """

    bytes_written: int
    compressed_bytes: int
    checksum: str
    uri: str
    etag: str | None
    version_id: str | None

    def __new__(
        cls, bytes_written: int, compressed_bytes: int, *, checksum: str, uri: str, result: PutResult
    ) -> WriterStats:
        stats = super().__new__(cls, (bytes_written, compressed_bytes))
        stats.bytes_written = bytes_written
        stats.compressed_bytes = compressed_bytes
        stats.checksum = checksum
        stats.uri = uri
        stats.etag = result.etag
        stats.version_id = result.version_id
        return stats

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, str):
            return self.__dict__[name]
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__ if isinstance(name, str) else super().__contains__(name)

    def keys(self) -> list[str]:
        """The names, so that ``dict(stats)`` works."""
        return list(self.__dict__)

    def __repr__(self) -> str:
        return f"WriterStats(bytes_written={self[0]}, compressed_bytes={self[1]}, checksum={self.checksum!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _stats, (tuple(self), dict(self.__dict__))


def _stats(sizes: tuple[int, int], named: dict[str, Any]) -> WriterStats:
    stats = tuple.__new__(WriterStats, sizes)
    stats.__dict__.update(named)
    return stats
