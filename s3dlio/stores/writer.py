"""A streaming write, for an object whose size is not known when it begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from s3dlio.types import Payload, PutResult


class ObjectWriter(ABC):
    """A streaming write: the object appears whole on ``close``, or not at all on ``abort`` or an exception."""

    @abstractmethod
    def write(self, data: Payload) -> int:
        """Append the bytes of ``data``; returns how many. The buffer may be reused when the call returns."""

    @abstractmethod
    def close(self) -> PutResult:
        """Finish the object and make it visible."""

    @abstractmethod
    def abort(self) -> None:
        """Give up: nothing of the object is left. May be called more than once, and after a failed close."""

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
