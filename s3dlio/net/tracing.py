"""What the log tells of every request, where it is wanted: a line for each attempt, and the heads of what was sent and
received.

The drivers make exchanges by ``Exchange.kind``. While nobody wants to know, that is ``Exchange`` itself, so requests
pay nothing for it. URLs and header fields are logged without credentials.
"""

from __future__ import annotations

import logging
import re

from s3dlio.masking import mask, redact
from s3dlio.memory.pipe import Pipes
from s3dlio.net import system
from s3dlio.net.exchange import Exchange
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.message import Request

log = logging.getLogger("s3dlio.net.requests")
heads = logging.getLogger("s3dlio.net.headers")

#: The level of what is logged of heads; below DEBUG.
TRACE = 5
logging.addLevelName(TRACE, "TRACE")
#: Fields whose values nobody may see: credentials, and the keys that customers keep themselves.
_SECRET_FIELD = re.compile(r"(?i)authorization|token|secret|cookie|password|uploadid|(customer|encryption)-key")


def look() -> None:
    """Have requests traced from now on, or not, as the levels of the loggers say."""
    Exchange.kind = TracedExchange if log.isEnabledFor(logging.DEBUG) or heads.isEnabledFor(TRACE) else Exchange


class TracedExchange(Exchange):
    """An exchange that is logged: when it ends, and its heads when they are sent and received."""

    __slots__ = ("_began", "_first", "_is_told", "_number")

    def __init__(
        self, request: Request, scratch: bytearray, view: memoryview, patient: bool = False, splices: bool = False
    ) -> None:
        self._began = system.monotonic()
        self._first = 0.0
        self._is_told = False
        self._number = request.tries = getattr(request, "tries", 0) + 1
        super().__init__(request, scratch, view, patient, splices)
        if heads.isEnabledFor(TRACE):
            heads.log(TRACE, "request to %s\n%s", request.service.pool.name, shown(bytes(self.outgoing[0]), ">"))

    def received(self, count: int) -> None:
        if count and not self._first:
            self._first = system.monotonic()
        before = self.response
        try:
            super().received(count)
        except ConnectionDropped:
            raise  # told by ``drop``
        except Exception as error:
            self._tell(str(error))
            raise
        finally:
            if before is None and self.response is not None and heads.isEnabledFor(TRACE):
                name = self.request.service.pool.name
                heads.log(TRACE, "answer from %s\n%s", name, shown(self.response.head, "<"))
        if self.done and self.response is not None:
            self._tell(str(self.response.status))

    def splice(self, sock: int, pipes: Pipes) -> None:
        super().splice(sock, pipes)
        if self.done and self.response is not None:
            self._tell(str(self.response.status))

    def drop(self, reason: str, *, timed_out: bool = False) -> ConnectionDropped:
        self._tell(reason)
        return super().drop(reason, timed_out=timed_out)

    def _tell(self, outcome: str) -> None:
        if self._is_told:
            return
        self._is_told = True
        request, now = self.request, system.monotonic()
        query = f"?{request.query}" if request.query else ""
        received = self._arrived() if self.response is None or not self.done else self.response.size
        first = f"first byte {_milliseconds(self._first - self._began)}, " if self._first else ""
        log.debug(
            "%s %s%s%s: %s; attempt %d; %d bytes sent, %d received; %stotal %s",
            request.method, request.service.pool.name, request.path, mask(query), redact(outcome), self._number,
            self._body_sent, received, first, _milliseconds(now - self._began),
        )  # fmt: skip


def shown(head: bytes, mark: str) -> str:
    """The lines of a head, each behind a mark, with secrets masked."""
    first, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    return "\n".join(f"{mark} {line}" for line in (redact(first), *map(_masked, fields)))


def _masked(line: str) -> str:
    name, _, value = line.partition(":")
    value = value.strip()
    if _SECRET_FIELD.search(name):
        scheme, space, _ = value.partition(" ")
        value = f"{scheme} ***" if space and name.lower().endswith("authorization") else "***"
    return f"{name}: {redact(value)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
