"""Requests of one client that are spread over several servers, which are doors to one store.

A request is made for a service that stands for all of them. Each attempt goes to one server (``Spread.begin``), signed
for that one, and is counted there until it has ended (``Spread.end``). Whether it may be sent again is the retry
policy's to say, as with one server; where another server is up, it goes there, and at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from s3dlio.config.sections import RetrySettings
from s3dlio.errors import NetworkError, ProtocolError, S3dlioError, TransferTimeoutError
from s3dlio.foreign_errors import from_exception
from s3dlio.net import blocking, system
from s3dlio.net.endpoints import DOWN, NOTHING, UP, WEAK, Endpoint, EndpointChoice
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.message import Request, Service
from s3dlio.net.response import Response
from s3dlio.net.retry import THROTTLED, RetryPolicy

#: Statuses of a server, or of what stands before it, that does not work; of these, 500 may be of this request.
_BROKEN = frozenset({500, 502, 504})


class Flight:
    """One attempt of a request at one of the endpoints. It is counted there until it ends.

    Args:
        choice: the endpoints.
        endpoint: where it goes.
        tried: where the request has been before.
    """

    __slots__ = ("began", "choice", "endpoint", "over", "tried")

    def __init__(self, choice: EndpointChoice, endpoint: Endpoint, tried: tuple[Endpoint, ...]) -> None:
        self.choice = choice
        self.endpoint = endpoint
        self.tried = tried
        #: When it began, where that matters.
        self.began = system.monotonic() if choice.measures else 0.0
        self.over = False

    def end(self, verdict: int = NOTHING, reason: object = None, *, failed: bool = False, read: int = 0) -> None:
        """It has ended, unless it had already."""
        if not self.over:
            self.over = True
            seconds = system.monotonic() - self.began if verdict == UP and self.began else 0.0
            self.choice.end(self.endpoint, verdict, reason, failed=failed, read=read, seconds=seconds)

    def __del__(self) -> None:
        if not self.over:  # an interrupt came between two lines
            self.end()


class Spread:
    """One place of a service, at each of its endpoints.

    Args:
        choice: the endpoints.
        members: the service at each of them, in their order.
    """

    def __init__(self, choice: EndpointChoice, members: Sequence[Service]) -> None:
        self.choice = choice
        self.members = dict(zip(choice.endpoints, members, strict=True))
        self.entry = members[0]
        for member in members:
            member.spread = self
        if choice.probe is None:
            choice.probe = self._probe

    def begin(self, request: Request, wake: Callable[[], object] | None = None) -> bool:
        """Have the next attempt of a request go to one of the servers.

        Args:
            request: its service becomes that server.
            wake: called once when there may be room again; from any thread.

        Returns:
            whether there is room: else all servers that are up have as many in flight as they may have.
        """
        last: Flight | None = getattr(request, "flight", None)
        tried = () if last is None else (*last.tried, last.endpoint)
        endpoint = self.choice.begin(tried, wake, request)
        if endpoint is None:
            return False
        if last is not None:
            last.end()
            if endpoint in tried:  # it has been everywhere: another round
                tried = ()
        request.flight = Flight(self.choice, endpoint, tried)
        request.service = self.members[endpoint]
        return True

    def end(
        self, request: Request, response: Response | None, error: Exception | None,
        *, reused: bool = False, opened: bool = True,
    ) -> Exception | None:  # fmt: skip
        """An attempt has ended: with an answer, or an error.

        Args:
            request: what was sent.
            response: the complete answer.
            error: what went wrong, perhaps here.
            reused: its connection had served before.
            opened: there was a connection.

        Returns:
            The error. Where no connection was to be had and another server is up, it is a fault after which the
            request goes there, now, since this server has not seen it.
        """
        flight: Flight | None = getattr(request, "flight", None)
        if flight is None or flight.over:
            return error
        if response is not None:
            response.server = flight.endpoint.name
            if response.status < 400:
                body, flight.over = request.body, True
                written = 0 if body is None else body.size
                self.choice.succeeded(flight.endpoint, flight.began, response.size, written)
            else:
                reason = f"it answers {response.status} {response.reason}".rstrip()
                flight.end(_verdict(response), reason, failed=True, read=response.size)
        elif isinstance(error, ConnectionDropped) and (error.crowded or error.elsewhere):
            flight.end(failed=not error.crowded)
        elif not opened and isinstance(error, NetworkError | TransferTimeoutError):
            flight.end(DOWN, error.reason, failed=True)
            return self._elsewhere(flight, error)
        elif not isinstance(error, ConnectionDropped):
            flight.end(WEAK if isinstance(error, ProtocolError) else NOTHING, error, failed=error is not None)
        elif reused and error.untouched and not error.timed_out:
            flight.end()  # the server had closed an idle connection: that says nothing
        else:
            flight.end(DOWN if error.timed_out else WEAK, error.reason, failed=True)
        return error

    def _elsewhere(self, flight: Flight, error: Exception) -> Exception:
        late = isinstance(error, ConnectionDropped) and error.timed_out  # it counts as an attempt
        if late or not self.choice.has_other((*flight.tried, flight.endpoint)):
            return error
        fault = error if isinstance(error, ConnectionDropped) else ConnectionDropped(str(error), never_sent=True)
        fault.elsewhere = True
        return fault

    def has_other(self, request: Request) -> bool:
        """Whether a server is up where the request has not been."""
        flight: Flight | None = getattr(request, "flight", None)
        return flight is not None and self.choice.has_other((*flight.tried, flight.endpoint))

    def wake_one(self) -> None:
        """One that was woken has no use for it."""
        self.choice.wake_one()

    def forget(self, request: Request) -> None:
        """A request waits for room no more: it was given up."""
        self.choice.forget(request)

    def states(self) -> str:
        """How many of the servers are up, for an error; nothing where all are."""
        down = [endpoint.name for endpoint in self.choice.endpoints if endpoint.failures]
        if not down:
            return ""
        count = len(self.choice.endpoints)
        none = len(down) == count
        return f"none of {count} endpoints answers" if none else f"of {count} endpoints, {len(down)} do not answer"

    def _probe(self, index: int) -> None:
        """Find out, on a thread of its own, whether a server answers."""
        try:
            threading.Thread(target=self._ask, args=(index,), name="s3dlio-probe", daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter is shutting down
            self.choice.probed(index, error)

    def _ask(self, index: int) -> None:
        member = self.members[self.choice.endpoints[index]]
        once = RetryPolicy(RetrySettings(max_attempts=1), member.policy.total_timeout)
        reason: object = None
        try:
            response = blocking.perform(Request(Service(member.pool, member.signer, once), "HEAD", "/"))
            if response.status >= 500:
                reason = f"it answers {response.status} {response.reason}".rstrip()
        except Exception as error:
            reason = (error if isinstance(error, S3dlioError) else from_exception(error)).reason
        self.choice.probed(index, reason)


def _verdict(response: Response) -> int:
    """What an answer says of its server. One that asks for a slower pace works; a 503 without a document of S3 is of
    a proxy that has no server."""
    if response.status in _BROKEN:
        return WEAK
    if response.status in THROTTLED:
        return WEAK if response.status == 503 and b"<Code>" not in response.body else NOTHING
    return UP
