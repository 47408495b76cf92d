"""XorStream: unique payloads for benchmarks that write from many threads."""

from __future__ import annotations

from typing import Any

from s3dlio.datagen.checks import fits_in_memory, whole_number, writable_bytes
from s3dlio.datagen.layout import MAX_SIZE
from s3dlio.datagen.source import DataSource
from s3dlio.forking import ForkLock
from s3dlio.memory import BytesView, default_pool


class XorStream:
    """Incompressible payloads, each different from all others, also block by block: the `prand` algorithm.

    Safe to share among threads; every process, forked ones too, makes other payloads.
    """

    def __init__(self) -> None:
        self._source = DataSource(MAX_SIZE, algorithm="prand")
        self._lock = ForkLock()
        self._made = 0

    def fill(self, buffer: Any) -> None:
        """Fill `buffer` (writable, contiguous, of single bytes) with a new payload, on the calling thread.

        Raises:
            TypeError, ValueError, BufferError: `buffer` is no such buffer.
        """
        view = writable_bytes(buffer)
        with self._lock:
            index = self._made
            self._made += 1
        self._source.write(index, 0, view)

    def generate(self, size: int) -> BytesView:
        """A new payload of `size` bytes.

        Raises:
            ConfigError: `size` is negative, or more than this machine's memory.
        """
        fits_in_memory(whole_number("size", size))
        buffer = default_pool().lease(size)
        self.fill(buffer)
        return BytesView(buffer)

    @property
    def objects_generated(self) -> int:
        """How many payloads have been made."""
        return self._made

    def __reduce__(self) -> tuple[Any, ...]:
        return XorStream, ()

    def __repr__(self) -> str:
        return f"XorStream(objects_generated={self._made})"
