"""The token by which a program ends loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s3dlio.engine.cancel import CancelToken as BatchToken


class CancelToken(BatchToken):
    """Ends every loader that has it in its options: ``cancel()`` from any thread or signal handler, at once.

    It takes no lock, so that it may come in the middle of anything. A token is one of its process: in options that are
    pickled there is none.
    """

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        super().__init__()
        self._ends: set[Callable[[], Any]] = set()

    def cancel(self, reason: str = "cancelled") -> None:
        super().cancel(reason)
        for end in list(self._ends):
            end()

    def enter(self, end: Callable[[], Any]) -> None:
        """Have ``end`` called when this is cancelled; at once, if it is."""
        self._ends.add(end)
        if self.cancelled:
            end()

    def leave(self, end: Callable[[], Any]) -> None:
        """It need not be called any more."""
        self._ends.discard(end)

    def __repr__(self) -> str:
        return f"CancelToken({'cancelled: ' + self.reason if self.cancelled else 'not cancelled'})"
