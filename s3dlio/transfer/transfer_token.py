"""The cancel token of one transfer."""

from __future__ import annotations

from s3dlio.engine.cancel import CancelToken


class LinkedToken(CancelToken):
    """A token of one transfer: cancelled by its own failure, or when the caller's token is."""

    __slots__ = ("_outer", "_own")

    def __init__(self, outer: CancelToken | None) -> None:
        self._outer = outer
        super().__init__()

    @property
    def cancelled(self) -> bool:
        return self._own or (self._outer is not None and self._outer.cancelled)

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self._own = value

    @property
    def by_caller(self) -> bool:
        """The caller's token was cancelled, not this one."""
        return self._outer is not None and self._outer.cancelled
