"""What is noted of an operation until a row is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from s3dlio.stores.call import BaseStore


class Details(NamedTuple):
    """What is known of an operation that was watched, or failed.

    Attributes:
        error: the text of its error; empty after success.
        endpoint: ``host:port`` of the server; None for local stores.
        service: the URL of the service; None for local stores.
        status: of the last answer; None where there was none.
        attempts: requests, those that were tried again too; 1 where nothing was tried again.
        range: offset and length (None: to the end) in bytes that were asked for; None for whole objects.
    """

    error: str
    endpoint: str | None
    service: str | None
    status: int | None
    attempts: int
    range: tuple[int, int | None] | None


#: Thread number; client id and clock offset; operation; objects; store and key (no store: the whole URI); bytes; times
#: in nanoseconds since 1970: start, first byte (0: none), end; details.
Record = tuple[int, tuple[str, int], str, int, BaseStore | None, str, int, int, int, int, Details | None]
FIELDS = 11


class Records(list[Any]):
    """What waits for the writer, field after field: a list that is kept for each record would be one more object that
    the garbage collector goes through, and cost more than all the rest. To add a record (``extend``) and to take some
    are single steps, which no other thread or signal handler comes in between.

    Attributes:
        mark: fields from which on it takes a closer look to add to them: the writer must be woken, or there is no room.
    """

    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark = 0

    def waiting(self) -> int:
        """How many records wait."""
        return len(self) // FIELDS

    def take(self) -> list[Any]:
        """The fields of all that wait, which wait no longer."""
        size = len(self)
        taken = self[:size]
        del self[:size]
        return taken


def each(fields: list[Any]) -> Iterator[Record]:
    """The records that fields belong to."""
    return zip(*[iter(fields)] * FIELDS, strict=True)
