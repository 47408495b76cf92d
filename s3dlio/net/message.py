"""Requests as the drivers send them, and the service that each one goes to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.net.pool import ConnectionPool
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy

Headers = Sequence[tuple[str, str]]


class CredentialSource(Protocol):
    """What gives the credentials in force, and may have to fetch them."""

    def __call__(self) -> Any:
        """The credentials; it blocks while they are fetched."""

    def ready(self) -> bool:
        """Whether a call returns, or fails, at once."""


class Signer(Protocol):
    """Turns a request into the bytes of its head, again for each attempt, since a signature has a date."""

    def render(self, request: Request) -> bytes:
        """Request line, header fields and the empty line."""


class Spreader(Protocol):
    """Several services that one is a member of: each attempt of a request goes to one of them (``net.spreading``)."""

    #: The one that requests are made for.
    entry: Service

    def begin(self, request: Request, wake: Callable[[], object] | None = None) -> bool:
        """Have the next attempt go to one of them; False: none has room, and ``wake`` is called when one may have."""

    def end(
        self, request: Request, response: Response | None, error: Exception | None,
        *, reused: bool = False, opened: bool = True,
    ) -> Exception | None:  # fmt: skip
        """An attempt has ended; returns its error."""

    def has_other(self, request: Request) -> bool:
        """Whether one is up where the request has not been."""

    def states(self) -> str:
        """What an error says of those that are down; nothing where all are up."""

    def wake_one(self) -> None:
        """One that was woken has no use for it."""

    def forget(self, request: Request) -> None:
        """A request waits for room no more: it was given up."""


class Service:
    """Where the requests of a store go, and how: connections, signature, retries."""

    __slots__ = ("_source", "policy", "pool", "signer", "spread")

    def __init__(self, pool: ConnectionPool, signer: Signer, policy: RetryPolicy) -> None:
        self.pool = pool
        self.signer = signer
        self.policy = policy
        #: Where the signer's credentials come from; None: they are there.
        self._source: CredentialSource | None = getattr(signer, "source", None)
        #: What this is a member of; None: it is the only one.
        self.spread: Spreader | None = None

    @property
    def entry(self) -> Service:
        """The service that requests are made for which this one gets."""
        return self if self.spread is None else self.spread.entry

    def ready(self) -> bool:
        """Whether a request can be sent without fetching credentials or reading certificates first."""
        source, pool = self._source, self.pool
        return (source is None or source.ready()) and (pool.trusts or not pool.secure)

    def prepare(self) -> None:
        """Fetch what is missing, or fail to; it blocks. Requests meet the same failure."""
        if self.pool.secure:
            from s3dlio.net.tls import client_context

            self.pool.trusts = True
            client_context(self.pool.http.ca_bundle)
        if self._source is not None:
            self._source()


#: Called with the head of a successful answer and the length of its body (None: unknown). It begins the sink. It may
#: cut the body of this exchange short (first value, bytes; a range (206) without a length must have exactly so many),
#: and ask for more requests to run beside this one (second value).
OnHead = Callable[[Response, "int | None"], "tuple[int | None, Sequence[Request]]"]


class Request:
    """One HTTP request: what to send, and where the body of a successful answer goes.

    Args:
        service: where it goes, who signs it, how it is retried.
        method: ``GET``, ``PUT``, ...
        path: the path, percent-encoded, starting with ``/``.
        query: the query, percent-encoded and sorted by name, without ``?``.
        headers: fields besides Host, Content-Length and those of the signature.
        body: what is sent.
        sink: where a 2xx body goes; without one, and for other statuses, it is collected in ``Response.body``.
        start: the position in the sink of this body's first byte.
    """

    __slots__ = (
        "again", "begins", "body", "check", "expect_continue", "flight", "headers", "idempotent", "method", "on_head",
        "path", "perhaps_done", "query", "resume", "service", "sink", "start", "tries", "wary",
    )  # fmt: skip

    #: An attempt that failed may have been done all the same; not set while none may.
    perhaps_done: bool
    #: The attempt at one of several services; not set where there is only one.
    flight: Any
    #: How often it was sent; only set while requests are traced.
    tries: int

    def __init__(
        self,
        service: Service,
        method: str,
        path: str,
        query: str = "",
        headers: Headers = (),
        body: Source | None = None,
        sink: Sink | None = None,
        start: int = 0,
    ) -> None:
        self.service = service
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.sink = sink
        self.start = start
        #: This body is the first of its sink (``sink.begin`` is due when its head arrives).
        self.begins = True
        #: May be sent again after a failure that leaves open whether the server acted.
        self.idempotent = True
        #: The body of a 200 may be an error (S3's answers to copy and complete), which the retry policy reads.
        self.wary = False
        #: Wait for the server's go-ahead before a body is sent (RFC 9110, 10.1.1).
        self.expect_continue = False
        self.on_head: OnHead | None = None
        #: Given an answer, the request to send instead (a redirect), or None. The drivers call it for every request of
        #: a concurrent set, whose operation gets the answers only when all have come.
        self.again: Callable[[Request, Response], Request | None] | None = None
        #: Raises the typed error for an unexpected answer. In a set of concurrent requests this stops the others.
        self.check: Callable[[Response], None] | None = None
        #: Given the head of a body that broke off and the bytes that arrived, the request for the rest.
        self.resume: Callable[[Response, int], Request | None] | None = None

    @property
    def into(self) -> Sink:
        """Its sink; only where it has one."""
        assert self.sink is not None
        return self.sink

    def moved(self, service: Service, path: str, query: str) -> Request:
        """The same request to another place."""
        moved = copy.copy(self)
        moved.service, moved.path, moved.query = service, path, query
        return moved

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


class Pause:
    """What an operation yields in place of a request, to go on later. In a lane no thread sleeps for it.

    Args:
        seconds: how long.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
