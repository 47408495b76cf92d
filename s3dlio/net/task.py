"""An operation that a lane runs, and the requests that it waits for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from s3dlio.net.adaptive import AdaptiveLimit
from s3dlio.net.message import Request
from s3dlio.net.response import Response

#: Called when an operation has ended: with its index, and its result or its error.
Done = Callable[[int, Any, "BaseException | None"], None]


class Operation(Protocol):
    """What a lane runs: a call of a cloud store."""

    def steps(self) -> Any:
        """The generator of the operation, which yields requests."""


class Task:
    """A running operation and the requests that it waits for.

    Args:
        index: its number among the operations of the lane.
        steps: the operation.
        done: who hears of its end.
        started: the moment (``time.monotonic``) from which the time for the whole operation counts; 0: when its first
            request is sent.
        limit: hears of its success, and of answers that ask to slow down.
    """

    __slots__ = ("answers", "cleaning", "done", "failed", "index", "limit", "many", "outstanding", "requests",
                 "started", "steps", "width")  # fmt: skip

    def __init__(
        self, index: int, steps: Any, done: Done, started: float = 0.0, limit: AdaptiveLimit | None = None
    ) -> None:
        self.limit = limit
        self.index = index
        self.steps = steps
        self.done = done
        self.started = started
        #: Something has failed, and what follows has the time of a whole operation again.
        self.cleaning = False
        #: It waits for the answers to a set of requests, not to one.
        self.many = False
        self.answers: list[Response | None] = []
        #: The requests of the set that are not made yet; None: all are.
        self.requests: Iterator[Request] | None = None
        #: So many requests of a set wait for their answers, at most.
        self.width: float = math.inf
        #: Requests that are not answered yet.
        self.outstanding = 0
        #: The first error of the set.
        self.failed: BaseException | None = None


def ask(wanted: Any, answers: list[Response]) -> Any:
    """An operation that only asks for ``wanted``, one request or a set, and adds the answers to ``answers``."""
    answer = yield wanted
    if isinstance(answer, Response):
        answers.append(answer)
    else:
        answers.extend(answer)


def ignore(*outcome: Any) -> None:
    """A ``Done`` that nobody wants to know of."""
