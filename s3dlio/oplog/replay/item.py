"""One operation on its way through a replay."""

from __future__ import annotations

from typing import Any

from s3dlio.oplog.replay.operation import Operation


class Item:
    """An operation that is to be replayed, and how that went. Moments are nanoseconds of the replay's clock.

    Args:
        operation: what was recorded.
        index: its number in the replay, from 0.
    """

    __slots__ = ("due", "ended", "error", "held", "index", "operation", "over", "size", "started", "then", "uri",
                 "waits", "work")  # fmt: skip

    def __init__(self, operation: Operation, index: int) -> None:
        self.operation = operation
        self.index = index
        #: Where it is done.
        self.uri = operation.uri
        #: What does it, ready to begin; and the bytes of memory that this takes.
        self.work: Any = None
        self.held = 0
        #: When it is to begin, began, and ended.
        self.due = self.started = self.ended = 0
        #: Bytes of its body.
        self.size = 0
        self.error: BaseException | None = None
        #: It has ended, and that has been counted.
        self.over = False
        #: Those that wait for it; and for how many it waits (of a closed loop).
        self.then: list[Item] = []
        self.waits = 0
