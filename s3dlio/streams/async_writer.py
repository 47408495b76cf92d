"""A streaming writer whose calls are awaited: what takes its time runs on a thread, beside the event loop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from s3dlio.engine.threads import run
from s3dlio.streams.writer import ObjectWriter
from s3dlio.streams.writer_stats import WriterStats
from s3dlio.types import Payload


class AsyncObjectWriter:
    """Writes an object piece by piece, as :class:`ObjectWriter` does; an asynchronous context manager.

    Calls of several tasks are done one after the other. A cancelled one ends when the writer has stopped using the
    buffer; whether its bytes are part of the object is then unknown, so the writer is aborted.

    Args:
        writer: what writes; nobody else may use it.
    """

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._turn = asyncio.Lock()

    @property
    def uri(self) -> str:
        """The object's, with ``.zst`` where it is compressed."""
        return self._writer.uri

    @property
    def closed(self) -> bool:
        """Whether the writer has ended: finalized, aborted or failed."""
        return self._writer.closed

    async def write(self, data: Payload) -> int:
        """Append the bytes of ``data``, which must not change until this has ended; see ``ObjectWriter.write``."""
        async with self._turn:
            if self._writer.collects(data):
                return self._writer.write(data)
            try:
                return await run(lambda: self._writer.write(data), to_its_end=True)
            except asyncio.CancelledError:
                await self._abort()
                raise

    async def flush(self) -> None:
        """See ``ObjectWriter.flush``."""
        async with self._turn:
            await run(self._writer.flush, to_its_end=True)

    async def finalize(self) -> WriterStats:
        """Store the object; see ``ObjectWriter.finalize``. When it is cancelled, the object is stored whole, or not at
        all."""
        async with self._turn:
            return await run(self._writer.finalize, to_its_end=True)

    async def close(self) -> None:
        """Finalize, unless the writer has ended already."""
        async with self._turn:
            await run(self._writer.close, to_its_end=True)

    async def abort(self) -> None:
        """Give up: nothing of the object is left. Of a writer that has ended, it does nothing."""
        async with self._turn:
            await self._abort()

    async def _abort(self) -> None:
        await run(self._writer.abort, to_its_end=True)

    def bytes_written(self) -> int:
        """Bytes that the writer was given."""
        return self._writer.bytes_written()

    def compressed_bytes(self) -> int:
        """Bytes that are stored of these; see ``ObjectWriter.compressed_bytes``."""
        return self._writer.compressed_bytes()

    def checksum(self) -> str:
        """Of the bytes that the writer was given: ``crc32c:`` and eight hexadecimal digits."""
        return self._writer.checksum()

    def stats(self) -> WriterStats | None:
        """What :meth:`finalize` returned; None before."""
        return self._writer.stats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._turn:
            await run(lambda: self._writer.__exit__(kind, error, traceback), to_its_end=True)

    def __repr__(self) -> str:
        return f"<Async{repr(self._writer)[1:]}"
