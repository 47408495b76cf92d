"""What saves that failed have left: objects that no metadata name. Each save has a random id in the names of its
objects, so nothing else can be meant.

Torch tells a writer of no failure of another rank, so the coordinator removes what all ranks wrote when its next save
begins, or its writer is closed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.dcp.place import SUFFIX
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, PreconditionFailedError, S3dlioError

log = logging.getLogger("s3dlio.checkpoint")


class UnfinishedSaves:
    """The saves that have begun and not ended."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, threading.Thread]] = {}

    def begin(self, attempt: str, place: str) -> None:
        """A save of this thread begins."""
        self._begun[attempt] = place, threading.current_thread()

    @contextlib.contextmanager
    def removing_after(self, session: Session, *kinds: type[Exception]) -> Iterator[None]:
        """Remove what failed saves have written where the block ends with such an error."""
        try:
            yield
        except kinds:
            self.remove(session)
            raise

    @contextlib.contextmanager
    def ending(self, session: Session, attempt: str) -> Iterator[None]:
        """The block makes the checkpoint visible. Where it ends with an error that does not tell whether it has done
        that, what was written stays."""
        try:
            with self.removing_after(session, AlreadyExistsError, PreconditionFailedError):
                yield
        finally:
            self._begun.pop(attempt, None)

    def remove(self, session: Session) -> None:
        """Remove what failed saves have written, those of this thread and of threads that have ended. An object that
        cannot be removed stays, and the log says so."""
        here = threading.current_thread()
        for attempt, (place, thread) in [*self._begun.items()]:
            if thread is here or not thread.is_alive():
                self._begun.pop(attempt, None)
                try:
                    _remove(Base(session, place), attempt)
                except S3dlioError as error:
                    log.warning("%s: objects of a save that failed stay (*.%s%s): %s", place, attempt, SUFFIX, error)


def _remove(base: Base, attempt: str) -> None:
    keys = [base.key(name) for name in base.names("") if name.endswith(f".{attempt}{SUFFIX}")]
    for key, error in base.store.delete_many(keys):
        log.warning("%s: an object of a save that failed stays: %s", base.store.uri(key), error)
    if keys:
        log.info("%s: %d objects of a save that failed are removed", base.uri(), len(keys))
