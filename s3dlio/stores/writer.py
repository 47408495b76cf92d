"""Writes that take their time: streams of unknown size, and large objects that go on after an interruption."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from s3dlio.config.sizes import parse_size
from s3dlio.errors import (
    AlreadyExistsError,
    IntegrityError,
    ObjectNotFoundError,
    PreconditionFailedError,
    S3dlioError,
    UnsupportedOperationError,
)
from s3dlio.types import Payload, PutResult


class PartOptions(NamedTuple):
    """How a streaming write cuts its object; see ``ObjectStore.writer``. None: as the settings say."""

    part_size: int | None = None
    expected_size: int | None = None
    max_in_flight: int | None = None


def part_options(part_size: Any, expected_size: Any, max_in_flight: Any) -> PartOptions:
    """The options, of sizes and a number as people write them (``8MiB``).

    Raises:
        ConfigError: a size or a number that cannot be.
    """
    return PartOptions(
        None if part_size is None else parse_size(part_size, name="part_size", minimum=1),
        None if expected_size is None else parse_size(expected_size, name="expected_size"),
        None if max_in_flight is None else parse_size(max_in_flight, name="max_in_flight", minimum=1),
    )


class _Ends(Protocol):
    def close(self) -> Any:
        """Store what was written."""

    def abort(self) -> None:
        """Give up: nothing is stored."""


class ClosesOrAborts:
    """Its ``with`` ends by ``close``, or, after an exception in it, by ``abort``."""

    def __exit__(
        self: _Ends, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class StoreWriter(ClosesOrAborts, ABC):
    """A streaming write: the object appears whole on ``close``, or not at all on ``abort`` or an exception.

    It belongs to one thread at a time, and to the process that opened it. One that is dropped leaves nothing either,
    with a ResourceWarning.
    """

    #: How many parts it has sent; 0 where the store knows none, or the object was one request.
    parts: int = 0

    @abstractmethod
    def write(self, data: Payload) -> int:
        """Append the bytes of ``data``; returns how many. The buffer may be reused when the call returns.

        Raises:
            TypeError: ``data`` has no bytes.
            S3dlioError: the writer is closed; or what was written earlier could not be stored, so that nothing
                will be.
        """

    def write_owned(self, data: Payload) -> int:
        """Append bytes that the caller gives up: nobody may change them until the writer has ended. Where the store
        can, they are stored from where they are, without a copy. Returns how many; raises as ``write`` does."""
        return self.write(data)

    def write_hashed(self, data: memoryview, crc: int) -> int:
        """As ``write_owned``, of bytes whose CRC32C the caller has computed: it is not computed again."""
        return self.write_owned(data)

    @abstractmethod
    def flush(self) -> None:
        """Hand on what was written, as far as the store takes it by now, and wait until that is stored. A file gets all
        of it; a cloud gets full parts, and what makes none yet stays in memory.

        Raises:
            S3dlioError: the writer is closed; or something could not be stored.
        """

    @abstractmethod
    def close(self) -> PutResult:
        """Finish the object and make it visible.

        Raises:
            S3dlioError: the writer is closed; or the object could not be stored, and nothing of it is left.
        """

    @abstractmethod
    def abort(self) -> None:
        """Give up: nothing of the object is left. May be called more than once, and after a failed close."""

    def leave(self) -> None:
        """Stop without a request: where a service keeps what was sent of an unfinished object, it stays there, for a
        rule of the container to remove. Elsewhere nothing is left, as of ``abort``. For finalisers."""
        self.abort()

    @staticmethod
    def _check_process(pid: int, uri: str) -> None:
        """Refuse to go on in a forked child: requests, descriptors and their positions are the parent's."""
        if os.getpid() != pid:
            raise S3dlioError(
                "the writer belongs to the process that opened it", uri=uri, operation="PUT",
                hint="open one in the forked process",
            )  # fmt: skip

    def _dropped(self, uri: str) -> None:
        """For finalisers: say that the writer was neither closed nor aborted."""
        warnings.warn(f"a writer of {uri} was dropped without close", ResourceWarning, source=self, stacklevel=2)

    def __enter__(self) -> StoreWriter:
        return self


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
