"""Pages of a listing that cannot be trusted: those that never end, and those with what was not asked for."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.errors import ProtocolError
from s3dlio.types import ListPage

#: Pages without a name in a row. Services may send some (where versions were deleted, or partitions are empty).
MAX_EMPTY = 10_000


class Paging:
    """Checks each page of a listing, and refuses a listing that makes no progress.

    One page is kept, replaced at every power of two: that finds any cycle in the end (Brent).
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


def check_listing(page: ListPage, prefix: str) -> None:
    """Refuse a page with what was not asked for: whoever deletes what is listed would delete it.

    Raises:
        ProtocolError: a name does not begin with the prefix, or is empty.
    """
    for names in (page.keys, page.prefixes):
        if names and not (min(names).startswith(prefix) and max(names).startswith(prefix) and min(names)):
            strange = next(name for name in names if not name or not name.startswith(prefix))
            raise ProtocolError(
                f"the listing of {prefix!r} has {strange[:200]!r}, which does not begin with it",
                hint="the service, or a proxy before it, drops the query of the request",
            )
