"""Conditional writes whose answers may get lost.

Whether such a write was done cannot be seen by its content: another writer may have written the same. So each carries a
random mark in the metadata of what it writes, the same one however often it is sent, and where an answer leaves open
what was done, the object's metadata are read: if they have the mark, this write was done.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from s3dlio.config.settings import Settings
from s3dlio.errors import (
    AlreadyExistsError,
    NetworkError,
    OutcomeUnknownError,
    PreconditionFailedError,
    ProtocolError,
    S3dlioError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.message import Pause
from s3dlio.net.retry import backoff
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.failures import create_only_error
from s3dlio.types import PutOptions, PutResult

log = logging.getLogger("s3dlio.stores")

#: The name of the metadata that holds the mark; the metadata of an object, as users see them, leave it out.
MARK = "s3dlio-attempt"
#: The code that says: two writes met, and neither the condition nor its opposite was found true; nothing was written.
_CONFLICT = "ConditionalRequestConflict"


class Marked(NamedTuple):
    """What is there now: the mark that it carries, and the result of the write that made it."""

    mark: str | None
    result: PutResult


class Marking(Protocol):
    """A service (or a store over an SDK) whose conditional writes carry marks."""

    settings: Settings

    def uri(self, key: str) -> str: ...

    def marked(self, key: str, options: PutOptions) -> Steps[Marked]:
        """Look at an object.

        Raises:
            ObjectNotFoundError: there is none.
        """


def new_mark(options: PutOptions) -> str | None:
    """A mark for a write with ``options``; None for one without conditions, which may simply be sent again."""
    return os.urandom(16).hex() if is_conditional(options) else None


def is_conditional(options: PutOptions) -> bool:
    """Whether a write depends on what is there."""
    wanted = options.conditions
    return wanted.if_match is not None or wanted.if_none_match is not None or wanted.generation is not None


def repeated(store: Marking, key: str, write: Callable[[], Steps[PutResult]]) -> Steps[PutResult]:
    """Run a conditional write, from its beginning again while it meets another write to the same key."""
    retry = store.settings.retry
    for attempt in itertools.count(1):
        try:
            return (yield from write())
        except S3dlioError as error:
            if error.code != _CONFLICT or attempt >= retry.max_attempts:
                raise
            log.info("%s: another write was going on; attempt %d of %d", store.uri(key), attempt, retry.max_attempts)
            without_frames(error)
        yield Pause(backoff(retry, attempt))
    raise AssertionError  # the count has no end


def judged(
    store: Marking, key: str, options: PutOptions, mark: str | None, error: S3dlioError, *, left_open: bool = False
) -> Steps[PutResult]:
    """What became of a write that ended with ``error``.

    Args:
        store: where.
        key: the object.
        options: its conditions.
        mark: what the write marks the object with; None where it has no conditions, or the service could not mark it.
        error: how it ended.
        left_open: its code says, whatever its status, that the write may be done.

    Raises:
        AlreadyExistsError, PreconditionFailedError: the condition does not hold.
        OutcomeUnknownError: it is unknown whether it was done.
        S3dlioError: ``error``, where it was not done.
    """
    refused = isinstance(error, (PreconditionFailedError, AlreadyExistsError))
    left_open = left_open or (error.attempts > 1 if refused else may_be_done(error))
    if not left_open or not is_conditional(options):
        raise create_only_error(error, options)
    if mark is None:
        raise unknown(error) from error
    try:
        found = yield from store.marked(key, options)
    except FileNotFoundError:
        if refused:
            raise unknown(error) from error
        raise error from None  # it is not there, so it was not done
    except S3dlioError:
        raise unknown(error) from error
    if found.mark == mark:
        log.info("%s: the answer to the write was lost, but it was done: the object has its mark", store.uri(key))
        without_frames(error)
        return found.result
    if options.conditions.if_none_match == "*" or options.conditions.generation == 0:
        raise AlreadyExistsError(
            "the object is there already, by another writer", status=error.status, code=error.code,
            attempts=error.attempts,
        ) from error  # fmt: skip
    raise unknown(error) from error


def judged_of_sdk(error: S3dlioError, options: PutOptions, mark: str, look: Callable[[], Marked]) -> PutResult:
    """As :func:`judged`, for an SDK whose own attempts are not seen: any refusal may be that of an earlier one.

    Args:
        error: how the write ended.
        options, mark: as of :func:`judged`.
        look: what is there now.
    """
    refused = isinstance(error, (PreconditionFailedError, AlreadyExistsError))
    if not (refused or may_be_done(error) or isinstance(error, NetworkError)):
        raise error
    try:
        found = look()
    except FileNotFoundError:
        raise error from None  # it is not there, so it was not done
    except S3dlioError:
        raise (error if refused else unknown(error)) from error.__cause__
    if found.mark == mark:
        return found.result
    if refused:
        raise error
    if options.conditions.if_none_match == "*":
        raise AlreadyExistsError("the object is there already, by another writer") from error
    raise unknown(error) from error


def unknown(error: S3dlioError) -> OutcomeUnknownError:
    """The error for a write that was sent, perhaps done, and perhaps replaced since."""
    return OutcomeUnknownError(
        f"it is unknown whether the write was done: {error.reason}", status=error.status, code=error.code,
        request_id=error.request_id, attempts=error.attempts,
    )  # fmt: skip


def may_be_done(error: BaseException) -> bool:
    """Whether a request may have been done although it failed so: it was sent, and there is no clear answer."""
    if not isinstance(error, S3dlioError):
        return not isinstance(error, GeneratorExit)  # an interrupt
    if error.status is not None:
        # 501: the service does not know such requests; with several attempts, an earlier one had no answer.
        return (error.status >= 500 and error.status != 501) or error.attempts > 1
    cause = error.__cause__
    if isinstance(cause, ConnectionDropped):
        return not cause.never_sent
    if isinstance(error, NetworkError):  # of the system: no connection; of an SDK: who knows
        return cause is not None and not isinstance(cause, OSError)
    return isinstance(error, (TransferTimeoutError, TransferCancelledError, ProtocolError))
