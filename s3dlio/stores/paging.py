"""Listings that never end: pages that a server tells for ever, by mistake or by design."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.errors import ProtocolError

#: Pages without a name in a row. Services may send some (where versions were deleted, or partitions are empty).
MAX_EMPTY = 10_000


class Paging:
    """Looks at each page of a listing, and refuses one that does not get on.

    One page is kept, anew at every power of two: that finds any circle in the end (Brent).
    """

    __slots__ = ("_empty", "_kept", "_kept_token", "_number")

    def __init__(self) -> None:
        self._number = 0
        self._empty = 0
        self._kept: Sequence[object] = ()
        self._kept_token: str | None = None

    def check(self, names: Sequence[object], token: str | None) -> None:
        """Take note of a page.

        Args:
            names: what it has.
            token: of the next page, if there is one.

        Raises:
            ProtocolError: the listing has no end.
        """
        if token is None:
            return
        self._number += 1
        self._empty = 0 if names else self._empty + 1
        if token == self._kept_token or (names and names == self._kept):
            raise ProtocolError("the listing goes round in circles: an earlier page, or its token, came again")
        if self._empty > MAX_EMPTY:
            raise ProtocolError(f"the listing has no end: {MAX_EMPTY} pages in a row without a name")
        if not self._number & (self._number - 1):
            self._kept, self._kept_token = names, token
