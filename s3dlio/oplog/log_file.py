"""The file of an op-log: one zstd frame, made while it is written."""

from __future__ import annotations

import os

import zstandard


class LogFile:
    """An op-log that is being written. For one thread.

    Nothing is left in it for a finaliser to write: a forked child drops its copy, and must not write to the parent's.

    Args:
        path: the file.
        level: of zstd.
        write_buffer: compressed bytes that are gathered before a write.
        header: its first line, with its end; empty where there is none.
        flags: more of ``os.open``; without ``O_EXCL`` a file that is there is replaced.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: str, level: int, write_buffer: int, header: str = "", flags: int = 0) -> None:
        self.path = path
        self._write_buffer = write_buffer
        self._waiting = bytearray()
        self._frame = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | flags, 0o666)
        self.write(header.encode())

    def write(self, lines: bytes) -> None:
        """Add lines.

        Raises:
            OSError: the file cannot take them; it has what was written before.
        """
        self._waiting += self._frame.compress(lines)
        if len(self._waiting) >= self._write_buffer:
            self._write_out()

    def flush(self) -> None:
        """Write what has come so far, so that it outlives this process."""
        self._waiting += self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        self._write_out()

    def close(self) -> None:
        """End the frame and the file."""
        try:
            self._waiting += self._frame.flush()
            self._write_out()
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        """Close the file as it is, without another write."""
        os.close(self._fd)

    def _write_out(self) -> None:
        while self._waiting:
            with memoryview(self._waiting) as view:
                done = os.write(self._fd, view)
            del self._waiting[:done]
