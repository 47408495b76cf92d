"""Writes that take their time: streams of unknown size, and large objects that go on after an interruption."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any

from s3dlio.errors import (
    AlreadyExistsError,
    IntegrityError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnsupportedOperationError,
)
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


class UploadState:
    """How far a large write is, kept so that it resumes after an interruption.

    Args:
        state: what an earlier write of the same bytes to the same key saved; empty at first.
        stale: what an earlier write of other bytes saved, of which nothing should stay.
        save: keeps a new state, which is JSON; an empty one says that nothing is left.
    """

    def __init__(self, state: dict[str, Any], stale: dict[str, Any], save: Callable[[dict[str, Any]], None]) -> None:
        self.state = state
        self.stale = stale
        self.save = save


#: After these an upload cannot be resumed: its source or its target is another, or its bytes are.
_FINAL = (PreconditionFailedError, IntegrityError, ObjectNotFoundError, AlreadyExistsError, UnsupportedOperationError)


def may_resume(error: BaseException) -> bool:
    """Whether an upload that failed so can be resumed later, so that what is there of it should stay."""
    # 409: another write was going on, and the service wants the upload from its beginning again.
    return not isinstance(error, _FINAL) and getattr(error, "status", None) != 409
