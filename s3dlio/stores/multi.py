"""Several endpoints that serve the same objects: which one serves a request, what each has done, and which are down.

No I/O and no stores: whoever has a request takes its attempts (:class:`Attempt`) one after the other, and tries each.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from types import TracebackType

from s3dlio.config.endpoint_list import check_count
from s3dlio.config.endpoint_list import strategy as checked_strategy
from s3dlio.errors import (
    LocalIOError,
    NetworkError,
    ProtocolError,
    S3dlioError,
    ThrottledError,
    TransferTimeoutError,
)
from s3dlio.net import system
from s3dlio.net.endpoints import DOWN, NOTHING, UP, Endpoint, EndpointChoice
from s3dlio.uri import SCHEMES, has_scheme

#: What a file system says that is gone.
_DEVICE_FAILS = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN})


class PlacedEndpoint(Endpoint):
    """An endpoint of objects with URIs.

    Args:
        root: what these begin with, without a slash at the end.
        name: as it was configured.
    """

    def __init__(self, root: str, name: str) -> None:
        super().__init__(name)
        self.root = root


class EndpointGroup(EndpointChoice):
    """The endpoints of one store, each with the URIs of its objects.

    Args:
        roots: what the URIs of each endpoint's objects begin with.
        names: the endpoints as they were configured.
        strategy: as of EndpointChoice.

    Raises:
        ConfigError: there is no endpoint, there are more than 32, or there is no such strategy.
    """

    def __init__(self, roots: Sequence[str], names: Sequence[str], strategy: str) -> None:
        chosen = checked_strategy("strategy", strategy)
        check_count(len(roots))
        self.placed = [PlacedEndpoint(_root(root), name) for root, name in zip(roots, names, strict=True)]
        super().__init__(self.placed, chosen)
        # The longest first: one may lie beneath another.
        self._roots = sorted({endpoint.root for endpoint in self.placed}, key=len, reverse=True)
        self._are_servers = all(map(_is_server, self._roots))

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
        while (endpoint := self._begin_next(tried, index)) is not None:
            tried.append(endpoint)
            last = index is not None or not self.has_other(tried)
            attempt = Attempt(self, endpoint, endpoint.root + name, last)
            yield attempt
        if attempt is not None and attempt.error is not None:  # those that were left have gone down meanwhile
            error, attempt.error = attempt.error, None
            raise error

    def _begin_next(self, tried: Sequence[Endpoint], index: int | None) -> PlacedEndpoint | None:
        """The endpoint that the next try goes to; None: there is no other."""
        if index is not None:
            if not tried:
                self.begin_at(self.placed[index])
            return None if tried else self.placed[index]
        found = self.begin(tried) if not tried or self.has_other(tried) else None
        assert found is None or isinstance(found, PlacedEndpoint)
        return found


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
        self._began = system.monotonic()

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._endpoint is not None:
            verdict, failed = _verdict(error), error is not None
            self._group.end(self._endpoint, verdict, error, failed=failed, read=self.read, written=self.written,
                            seconds=system.monotonic() - self._began if error is None else 0.0)  # fmt: skip
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


def _verdict(error: BaseException | None) -> int:
    if error is not None and is_failure_of_endpoint(error):
        return DOWN
    has_answered = error is None or (isinstance(error, S3dlioError) and error.status is not None)
    return UP if has_answered else NOTHING


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
