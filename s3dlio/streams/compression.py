"""zstd of a stream: one frame, compressed while it is made."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import zstandard

from s3dlio.errors import OutOfMemoryError, S3dlioError
from s3dlio.forking import call_in_child
from s3dlio.hardware import available_cpus

SUFFIX = ".zst"
#: A stream is compressed by several threads once it is longer than this; up to here starting them does not pay.
SINGLE_THREADED = 4 << 20
#: Bytes that the threads of one stream may take: 48 of them at level 3, 3 at level 12; from 19 on only the caller's.
_THREADS_MEMORY = 256 << 20
#: Up to this level a thread gets one window at a time, 2 MiB at level 3: 1.3 times as fast as with zstd's own four
#: windows, at no cost in size. Higher levels look back farther, and what they look at again costs more than it brings.
_QUICK_LEVELS = 8
_OUTPUT = 1 << 20


class ZstdStream:
    """Compresses what it is given to one zstd frame, which has a checksum of its content, and its size if it is short.

    What it is given must not change until ``finish``; what it returns has to be taken whole before the next call.

    Args:
        level: 1 to 22.
        expected_size: bytes, where the size is known about: threads start at once, or not at all.

    Raises:
        MemoryError: a level that needs more memory than there is (1 MiB at level 3, 81 at 19, 641 at 22).
    """

    def __init__(self, level: int, expected_size: int | None = None) -> None:
        self._level = level
        self._held: list[memoryview] = []
        self._held_bytes = 0
        self._compressor: zstandard.ZstdCompressor | None = None
        self._chunker: Any = None
        if expected_size is not None and expected_size > SINGLE_THREADED:
            self._start()

    def compress(self, data: memoryview) -> Iterable[bytes]:
        """Take ``data``; returns what of the frame is ready."""
        if self._chunker is None:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes <= SINGLE_THREADED:
                return ()
            self._start()
            return self._outputs(self._release_held())
        return self._outputs(self._chunker.compress(data))

    def flush(self) -> Iterable[bytes]:
        """Returns the frame as far as it can be; what is not much stays, and becomes smaller with what follows."""
        return () if self._chunker is None else self._outputs(self._chunker.flush())

    def finish(self) -> Iterable[bytes]:
        """End the frame; returns the rest of it."""
        if self._chunker is None:
            self._start(self._held_bytes)
        return self._outputs(chain(self._release_held(), self._chunker.finish()))

    def _start(self, size: int = -1) -> None:
        """Begin the frame: of ``size`` bytes, on this thread; or of an unknown number, on as many threads as pay."""
        settings = {"source_size": size} if size >= 0 else _threading(self._level)
        parameters = zstandard.ZstdCompressionParameters.from_level(self._level, write_checksum=True, **settings)
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._chunker = self._compressor.chunker(size=size, chunk_size=_OUTPUT)
        if "threads" in settings:
            _threaded.add(self)

    def _release_held(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        held.reverse()
        while held:
            yield from self._chunker.compress(held.pop())

    def _outputs(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from chunks
        except zstandard.ZstdError as error:
            if "memory" in str(error):
                raise OutOfMemoryError(f"zstd has no memory for level {self._level}", operation="PUT") from error
            raise S3dlioError(f"zstd cannot compress: {error}", operation="PUT") from error

    def keep(self) -> None:
        """Have nothing of it freed, in a child that has none of its threads: zstd would wait for them for ever."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._compressor))


def _threading(level: int) -> dict[str, int]:
    """With how many threads a long stream is compressed, one for each CPU as far as their memory is within bounds, and
    how many bytes each gets at a time. Nothing where the caller's thread does it."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level)
    job = (1 if level <= _QUICK_LEVELS else 4) << parameters.window_log
    each = parameters.estimated_compression_context_size() + 2 * job  # tables, and what comes in and goes out
    threads = min(available_cpus(), _THREADS_MEMORY // each)
    return {"threads": threads, "job_size": job} if threads > 1 else {}


_threaded: weakref.WeakSet[ZstdStream] = weakref.WeakSet()


@call_in_child
def _keep_all() -> None:
    for stream in list(_threaded):
        stream.keep()
