"""Sinks that only tests need."""

from __future__ import annotations

from s3dlio.foreign_errors import of_caller
from s3dlio.memory.sinks import Place, Sink, Writer


class WriterSink(Sink):
    """Hands the bytes, in order, to a function, which cannot take them back: a read into it does not start over."""

    __slots__ = ("_write",)

    restartable = False

    def __init__(self, write: Writer) -> None:
        super().__init__()
        self._write = write

    def at(self, start: int, length: int | None) -> Place:
        return self._hand_over

    def _hand_over(self, data: memoryview) -> None:
        try:
            self._write(data)
        except Exception as error:
            raise of_caller(error)  # noqa: B904 - it is the same
