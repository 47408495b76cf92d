"""Several endpoints that serve the same objects: which one serves a request, what each has done, and which are down.

No I/O and no stores: whoever has a request takes its attempts (:class:`Attempt`) one after the other, and tries each.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from s3dlio.errors import (
    ConfigError,
    LocalIOError,
    NetworkError,
    ProtocolError,
    S3dlioError,
    ThrottledError,
    TransferTimeoutError,
)
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.masking import redact
from s3dlio.net import system
from s3dlio.uri import SCHEMES, has_scheme

log = logging.getLogger("s3dlio.stores.multi")

MAX_ENDPOINTS = 32
ROUND_ROBIN, LEAST_CONNECTIONS = "round_robin", "least_connections"
#: Seconds that an endpoint which failed gets no requests, at first and at most; each failure in a row doubles them.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

#: What a file system says that is gone.
_DEVICE_FAILS = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN})

_COUNTERS = ("total_requests", "bytes_read", "bytes_written", "error_count", "active_requests")


class Endpoint:
    """One of them.

    Args:
        root: what the URIs of its objects begin with, without a slash at the end.
        name: as it was configured.
    """

    def __init__(self, root: str, name: str) -> None:
        self.root = root
        self.name = name
        self.total_requests = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.error_count = 0
        self.active_requests = 0
        #: Failures in a row; with any, there are no requests before ``down_until``, and then one that finds out.
        self.failures = 0
        self.down_until = 0.0
        self.probed = False

    def takes_requests(self, now: float) -> bool:
        """Whether a request may go there: it is up, or it is time to find out and nobody does."""
        return not self.failures or (now >= self.down_until and not self.probed)

    def statistics(self) -> dict[str, int]:
        """Its counters, under both sets of their names."""
        return _with_other_names({name: getattr(self, name) for name in _COUNTERS})


def _with_other_names(counters: dict[str, int]) -> dict[str, int]:
    moved = counters["bytes_read"] + counters["bytes_written"]
    return {**counters, "requests": counters["total_requests"], "bytes_transferred": moved}


class EndpointGroup:
    """The endpoints of one store. Safe to share among threads; a forked child begins with nothing in flight.

    Args:
        roots: what the URIs of each endpoint's objects begin with.
        names: the endpoints as they were configured.
        strategy: ``round_robin`` or ``least_connections``.

    Raises:
        ConfigError: there is no endpoint, there are more than 32, or there is no such strategy.
    """

    def __init__(self, roots: Sequence[str], names: Sequence[str], strategy: str) -> None:
        if strategy not in (ROUND_ROBIN, LEAST_CONNECTIONS):
            raise ConfigError(f"Invalid strategy '{strategy}'. Use '{ROUND_ROBIN}' or '{LEAST_CONNECTIONS}'")
        if not roots:
            raise ConfigError("no endpoints", hint="name 1 to 32 of them")
        if len(roots) > MAX_ENDPOINTS:
            raise ConfigError(f"Too many endpoints: {len(roots)} exceeds maximum of {MAX_ENDPOINTS} (MAX_ENDPOINTS)")
        self.strategy = strategy
        self.endpoints = [Endpoint(_root(root), name) for root, name in zip(roots, names, strict=True)]
        # The longest first: one may lie beneath another.
        self._roots = sorted({endpoint.root for endpoint in self.endpoints}, key=len, reverse=True)
        self._are_servers = all(map(_is_server, self._roots))
        self._lock = ForkLock()
        self._next = 0
        renewed_in_child(self)

    def renew(self) -> None:
        """See :class:`s3dlio.forking.Renewable`."""
        for endpoint in self.endpoints:
            endpoint.active_requests, endpoint.probed = 0, False

    # -- names

    def beneath(self, uri: str) -> str | None:
        """What follows the root in the URI of this object at every endpoint: of a URI at any of them, or of a name.
        None where it is at none."""
        if not has_scheme(uri):
            return f"/{uri}"
        uri = _plain(uri)
        for root in self._roots:
            if uri.startswith(root) and uri[len(root) : len(root) + 1] in ("", "/"):
                return uri[len(root) :]
        if self._are_servers and uri.startswith("s3://") and not _is_server(f"s3://{uri[5:].partition('/')[0]}"):
            return f"/{uri[5:]}"
        return None

    # -- choosing

    def attempts(self, uri: str, index: int | None = None) -> Iterator[Attempt]:
        """Where to try a request, one endpoint after the other as long as they fail; each is for ``with``.

        Args:
            uri: of the object, at any endpoint; elsewhere: it is tried there, once.
            index: the only endpoint to try, whether it is down or not.
        """
        name = self.beneath(uri)
        if name is None:
            yield Attempt(self, None, uri, last=True)
            return
        tried: list[Endpoint] = []
        attempt: Attempt | None = None
        while (chosen := self._begin(tried, index)) is not None:
            endpoint, last = chosen
            attempt = Attempt(self, endpoint, endpoint.root + name, last)
            yield attempt
            tried.append(endpoint)
        if attempt is not None and attempt.error is not None:  # those that were left have gone down meanwhile
            error, attempt.error = attempt.error, None
            raise error

    def _begin(self, tried: Sequence[Endpoint], index: int | None) -> tuple[Endpoint, bool] | None:
        """The endpoint that the next try goes to, where it is counted from now on, and whether it is the last one."""
        with self._lock:
            free = self._free(tried) if index is None else [] if tried else [self.endpoints[index]]
            if not free:
                return None
            fewest = self.strategy == LEAST_CONNECTIONS
            endpoint = min(free, key=lambda endpoint: endpoint.active_requests) if fewest else free[0]
            self._next = (self.endpoints.index(endpoint) + 1) % len(self.endpoints)
            endpoint.probed = bool(endpoint.failures)
            endpoint.total_requests += 1
            endpoint.active_requests += 1
            return endpoint, len(free) == 1

    def _free(self, tried: Sequence[Endpoint]) -> list[Endpoint]:
        """Where the next try may go, in turn."""
        now = system.monotonic()
        turn = self.endpoints[self._next :] + self.endpoints[: self._next]
        left = [endpoint for endpoint in turn if endpoint not in tried]
        free = [endpoint for endpoint in left if endpoint.takes_requests(now)]
        if tried:  # whoever had to go elsewhere once does not find out about others
            return [endpoint for endpoint in free if not endpoint.failures]
        return free or [min(left, key=lambda endpoint: endpoint.down_until)]

    def end(self, endpoint: Endpoint, error: BaseException | None, read: int, written: int) -> None:
        """Count a try that has ended, and note what it tells of the endpoint."""
        with self._lock:
            endpoint.active_requests = max(0, endpoint.active_requests - 1)
            endpoint.probed = False
            endpoint.bytes_read += read
            endpoint.bytes_written += written
            endpoint.error_count += error is not None
            now = system.monotonic()
            if error is not None and is_failure_of_endpoint(error):
                if now >= endpoint.down_until:  # the others in flight fail with it, and count once
                    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(endpoint.failures, 10))
                    endpoint.failures += 1
                    endpoint.down_until = now + pause
                    log.warning("no requests to %s for %g s: %s", redact(endpoint.name), pause, error)
            elif endpoint.failures and _has_answered(error):
                endpoint.failures, endpoint.down_until = 0, 0.0
                log.warning("%s answers again", redact(endpoint.name))

    # -- what was done

    def statistics(self) -> list[dict[str, Any]]:
        """The counters of each endpoint, with its ``uri``, and whether it is ``healthy``."""
        with self._lock:
            return [{"uri": each.name, **each.statistics(), "healthy": not each.failures} for each in self.endpoints]

    def total(self) -> dict[str, int]:
        """The counters of all endpoints together."""
        with self._lock:
            sums = {name: sum(getattr(each, name) for each in self.endpoints) for name in _COUNTERS}
        return _with_other_names(sums)


class Attempt:
    """One try of a request, for ``with``. Where the endpoint fails and another may do it, the error ends there.

    Attributes:
        uri: the object at this endpoint.
        last: there is no other endpoint to go to.
        read, written: bytes; whoever succeeds fills them in.
        error: what the endpoint failed with.
    """

    def __init__(self, group: EndpointGroup, endpoint: Endpoint | None, uri: str, last: bool) -> None:
        self._group = group
        self._endpoint = endpoint
        self.uri = uri
        self.last = last
        self.read = 0
        self.written = 0
        self.error: BaseException | None = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._endpoint is not None:
            self._group.end(self._endpoint, error, self.read, self.written)
        if error is None or self.last or not (is_failure_of_endpoint(error) or isinstance(error, ThrottledError)):
            return False
        self.error = error
        return True


def is_failure_of_endpoint(error: BaseException) -> bool:
    """Whether it is the endpoint that fails, and not this request."""
    if isinstance(error, NetworkError | TransferTimeoutError | ProtocolError):
        return True
    if isinstance(error, LocalIOError):
        return error.errno in _DEVICE_FAILS
    if isinstance(error, ThrottledError) or not isinstance(error, S3dlioError):
        return False
    return error.status in (500, 502, 503, 504)


def _has_answered(error: BaseException | None) -> bool:
    return error is None or (isinstance(error, S3dlioError) and error.status is not None)


def _plain(uri: str) -> str:
    """The URI with its scheme as the stores name it."""
    head, mark, rest = uri.partition("://")
    return f"{SCHEMES.get(head.lower(), head)}{mark}{rest}"


def _root(uri: str) -> str:
    head, mark, rest = _plain(uri).partition("://")
    return f"{head}{mark}{rest.rstrip('/')}"


def _is_server(root: str) -> bool:
    """Whether it is ``s3://host:port``, with all buckets beneath."""
    head, _, rest = root.partition("://")
    return head == "s3" and "/" not in rest and rest.rpartition(":")[2].isdecimal()
