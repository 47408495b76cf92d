"""How the ``with`` of a writer ends: its object is stored, or nothing of it is left."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from s3dlio.masking import redact

log = logging.getLogger("s3dlio.writer")


class BlockEnd(ABC):
    """A context manager: the end of the block stores the object, an exception in it aborts and stays as it is."""

    #: The object's.
    uri: str

    @abstractmethod
    def abort(self) -> None:
        """Give up: nothing of the object is left."""

    @abstractmethod
    def _complete(self) -> None:
        """Store the object, unless that was done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._complete()
            return
        try:
            self.abort()
        except Exception:  # what happened in the block is what the caller learns
            log.warning("a write to %s could not be aborted", redact(self.uri), exc_info=True)
