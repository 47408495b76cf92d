"""zstd of a stream: one frame, compressed while it is made."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import zstandard

from s3dlio.errors import S3dlioError
from s3dlio.forking import call_in_child
from s3dlio.hardware import available_cpus

SUFFIX = ".zst"
#: A stream is compressed by several threads once it is longer than this; up to here starting them does not pay.
SINGLE_THREADED = 4 << 20
#: Bytes that the threads of one stream may take: 14 of them at level 3, 3 at level 19, 1 at level 22.
_THREADS_MEMORY = 256 << 20
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
        self._is_parents = False
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
        settings: dict[str, Any] = {"write_checksum": True}
        if size >= 0:
            settings["source_size"] = size
        else:
            settings["threads"] = _threads(self._level)
        parameters = zstandard.ZstdCompressionParameters.from_level(self._level, **settings)
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._chunker = self._compressor.chunker(size=size, chunk_size=_OUTPUT)
        if settings.get("threads"):
            _threaded.add(self)

    def _release_held(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        held.reverse()
        while held:
            yield from self._chunker.compress(held.pop())

    def _outputs(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        if self._is_parents:
            raise S3dlioError(
                "the writer belongs to the process that opened it", operation="PUT",
                hint="open one in the forked process",
            )  # fmt: skip
        try:
            yield from chunks
        except zstandard.ZstdError as error:
            raise S3dlioError(f"zstd cannot compress: {error}", operation="PUT") from error

    def orphan(self) -> None:
        """Have nothing of it freed, in a child that has none of its threads: zstd would wait for them for ever."""
        self._is_parents = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._compressor))


def _threads(level: int) -> int:
    """How many threads compress a long stream: one for each CPU, as far as their memory is within bounds; 0: the
    caller's own."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level)
    # A thread has a table, and a job of four windows, which comes in and goes out.
    each = parameters.estimated_compression_context_size() + (8 << parameters.window_log)
    threads = min(available_cpus(), _THREADS_MEMORY // each)
    return threads if threads > 1 else 0


_threaded: weakref.WeakSet[ZstdStream] = weakref.WeakSet()


@call_in_child
def _orphan_all() -> None:
    for stream in list(_threaded):
        stream.orphan()
