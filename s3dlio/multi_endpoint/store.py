"""The store over several endpoints: each verb once, blocking and awaited."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from s3dlio import api
from s3dlio.client import Client
from s3dlio.config.endpoint_list import ROUND_ROBIN
from s3dlio.config.settings import Settings
from s3dlio.coroutines import run
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ConfigError, InvalidURIError, ItemFailure, S3dlioError
from s3dlio.memory.sources import as_memory
from s3dlio.signatures import also_named
from s3dlio.stores.multi import Attempt, EndpointGroup
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Payload
from s3dlio.uri import URI, as_uri, parse
from s3dlio.uri_templates import same_scheme
from s3dlio.verbs import awaited, listing, objects

#: How often a request is sent to one endpoint before another one is tried.
_ATTEMPTS_BEFORE_ANOTHER = 2

_PORTS = {"http": 80, "https": 443}


class _Verb(NamedTuple):
    """What is done with one URI: ``title`` begins its errors, ``block`` does it here, ``wait`` is its coroutine."""

    title: str
    block: Callable[[Session, str], Any]
    wait: Callable[[Session, str], Awaitable[Any]]
    read: Callable[[Any], int] = lambda result: 0
    written: Callable[[], int] = lambda: 0

    def done(self, attempt: Attempt, result: Any) -> Any:
        attempt.read, attempt.written = self.read(result), self.written()
        return result


class MultiEndpointStore:
    """Objects that several endpoints serve. Safe to share among threads; a context manager; pickles by its endpoints.

    Its verbs block in plain code and are awaited in a coroutine: ``store.get(uri)`` returns the bytes where no event
    loop runs in this thread, else an awaitable of them. A URI at any of the endpoints means the object of that name at
    whichever endpoint serves the request, and so does a name: ``store.get("a/b")``. A URI that is at no endpoint is
    used as it is.

    An endpoint that fails gets no requests for a while (1 s, longer each time, 30 s at most); then one request finds
    out whether it answers. Reads, listings, writes and deletes that an endpoint failed go to another one: all of them
    may be repeated. Those with an ``endpoint_index`` stay there.

    Args:
        uris: 1 to 32 endpoints of one scheme: URIs that the names are beneath (``s3://bucket-1/data``,
            ``s3://10.0.0.1:9000/bucket``), or URLs of S3 services (``http://10.0.0.1:9000``), whose buckets follow.
        strategy: ``round_robin`` (the default) or ``least_connections``: the endpoint with the fewest requests in
            flight.
        client: whose settings and observers are used; without, the default client's.

    Raises:
        ConfigError: too many endpoints, an unknown strategy.
        InvalidURIError: no endpoint, different schemes, or what is no URI.
    """

    def __init__(self, uris: Iterable[URI], strategy: str | None = None, *, client: Client | None = None) -> None:
        if isinstance(uris, str):
            raise ConfigError("the endpoints are one text", hint="give a list of URIs")
        self._names = same_scheme([as_uri(uri).strip() for uri in uris], "the endpoints")
        self._client = client
        self._secure, roots = _roots(self._names)
        self._group = EndpointGroup(roots, self._names, ROUND_ROBIN if strategy is None else strategy)
        for endpoint in self._group.placed:
            parse(f"{endpoint.root}/name/name")  # refuses what is no URI
        self._made: tuple[Any, Any, Session, Session] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._names, self.strategy(), self._client)

    def __repr__(self) -> str:
        return f"MultiEndpointStore({self.endpoint_count()} endpoints, {self.strategy()!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let threads go when their calls have ended. The store can be used again."""
        made, self._made = self._made, None
        for session in made[2:] if made else ():
            session.executor.shutdown()
            session.stores.close_lanes()
            session.close_loops()

    # -- what it consists of

    def endpoint_count(self) -> int:
        """How many endpoints there are."""
        return len(self._group.endpoints)

    def strategy(self) -> str:
        """``round_robin`` or ``least_connections``."""
        return self._group.strategy

    def get_endpoint_stats(self) -> builtins.list[dict[str, Any]]:
        """What each endpoint has done: ``uri``, ``total_requests`` (``requests``), ``bytes_read``, ``bytes_written``,
        ``bytes_transferred``, ``error_count``, ``active_requests``, ``healthy``. Every try counts."""
        return self._group.statistics()

    def get_total_stats(self) -> dict[str, int]:
        """The sums of :meth:`get_endpoint_stats`."""
        return self._group.total()

    # -- verbs: what they return is awaited where an event loop runs

    def get(self, uri: URI) -> Any:
        """Read an object; a ``BytesView``. Errors as of ``s3dlio.get``."""
        return self._do(_GET, uri)

    @also_named(index="endpoint_index")
    def get_from_endpoint(self, endpoint_index: int, uri: URI) -> Any:
        """:meth:`get`, from this endpoint only (from 0)."""
        return self._do(_GET._replace(title="Get from endpoint failed"), uri, endpoint_index)

    def get_range(self, uri: URI, offset: int, length: int | None = None) -> Any:
        """Read ``length`` bytes from ``offset`` on, to the end without a length; a ``BytesView``."""
        return self._do(
            _Verb(
                "Get range failed",
                lambda session, target: objects.get_range(session, target, offset, length),
                lambda session, target: awaited.get_range(session, target, offset, length, NO_CONDITIONS),
                len,
            ),
            uri,
        )

    def stat(self, uri: URI) -> Any:
        """What the store tells about an object; a dictionary as of ``s3dlio.stat``."""
        return self._do(_STAT, uri)

    def exists(self, uri: URI) -> Any:
        """Whether there is such an object; a ``bool``."""
        return self._do(_Verb("Exists failed", objects.exists, awaited.exists), uri)

    def put(self, uri: URI, data: Payload, *, borrow: bool = True) -> Any:
        """Write an object at one endpoint: whole, or not at all.

        Args:
            uri: which.
            data: as of ``s3dlio.put_bytes``.
            borrow: send the buffer itself, which must not change until this has ended. False copies it first.
        """
        return self._do(_put("Put failed", data, borrow), uri)

    @also_named(index="endpoint_index")
    def put_to_endpoint(self, endpoint_index: int, uri: URI, data: Payload, *, borrow: bool = True) -> Any:
        """:meth:`put`, at this endpoint only (from 0)."""
        return self._do(_put("Put to endpoint failed", data, borrow), uri, endpoint_index)

    def put_all_endpoints(self, uri: URI, data: Payload, *, borrow: bool = True) -> Any:
        """Write an object at every endpoint. One that fails does not stop the others.

        Raises:
            BatchError: some failed; the index of a failure is that of its endpoint.
        """
        verb = _put("Put to all endpoints failed", data, borrow)
        return self._everywhere(verb, uri, lambda results: None)

    def delete(self, uri: URI) -> Any:
        """Delete exactly this object at one endpoint; one that is not there is no error."""
        return self._do(_DELETE, uri)

    @also_named(index="endpoint_index")
    def delete_from_endpoint(self, endpoint_index: int, uri: URI) -> Any:
        """:meth:`delete`, at this endpoint only (from 0)."""
        return self._do(_DELETE._replace(title="Delete from endpoint failed"), uri, endpoint_index)

    def list(self, prefix: URI, recursive: bool) -> Any:
        """List objects at one endpoint, as ``s3dlio.list``; sorted URIs as that endpoint has them."""
        return self._do(_list("List failed", recursive), prefix)

    def list_all_endpoints(self, prefix: URI, recursive: bool) -> Any:
        """:meth:`list` of every endpoint, one list after the other.

        Raises:
            BatchError: some failed; the index of a failure is that of its endpoint.
        """
        verb = _list("List all endpoints failed", recursive)
        return self._everywhere(verb, prefix, lambda results: [uri for uris in results for uri in uris])

    # -- how they are done

    def _do(self, verb: _Verb, uri: URI, index: int | None = None) -> Any:
        if index is not None and not 0 <= index < self.endpoint_count():
            count = self.endpoint_count()
            raise ConfigError(f"{verb.title}: endpoint index {index} out of range: {count} endpoint(s) configured")
        target = as_uri(uri)
        return self._awaited(verb, target, index) if _in_event_loop() else self._blocking(verb, target, index)

    def _blocking(self, verb: _Verb, uri: str, index: int | None) -> Any:
        try:
            for attempt in self._group.attempts(uri, index):
                with attempt:
                    return verb.done(attempt, verb.block(self._session(attempt.last), attempt.uri))
        except S3dlioError as error:
            error.prefix = f"{verb.title}: "
            raise
        raise AssertionError("unreachable: the last attempt ends or raises")

    async def _awaited(self, verb: _Verb, uri: str, index: int | None) -> Any:
        try:
            for attempt in self._group.attempts(uri, index):
                with attempt:
                    return verb.done(attempt, await verb.wait(self._session(attempt.last), attempt.uri))
        except S3dlioError as error:
            error.prefix = f"{verb.title}: "
            raise
        raise AssertionError("unreachable: the last attempt ends or raises")

    def _everywhere(self, verb: _Verb, uri: URI, joined: Callable[[builtins.list[Any]], Any]) -> Any:
        target, everyone = as_uri(uri), range(self.endpoint_count())

        async def gathered() -> Any:
            tries = (self._awaited(verb, target, index) for index in everyone)
            return joined(self._checked(verb, target, await asyncio.gather(*tries, return_exceptions=True)))

        if _in_event_loop():
            return gathered()
        outcomes: builtins.list[Any] = []
        for index in everyone:
            try:
                outcomes.append(self._blocking(verb, target, index))
            except S3dlioError as error:
                outcomes.append(error)
        return joined(self._checked(verb, target, outcomes))

    def _checked(self, verb: _Verb, uri: str, outcomes: Sequence[Any]) -> builtins.list[Any]:
        """The results of all endpoints.

        Raises:
            BatchError: some are errors.
        """
        failures = []
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, S3dlioError):
                    raise outcome
                failures.append(ItemFailure(index, outcome.uri or uri, outcome))
        if failures:
            batch = BatchError(failures, attempted=len(outcomes), operation=failures[0].error.operation)  # type: ignore[attr-defined]
            batch.prefix = f"{verb.title}: "
            raise batch
        return [*outcomes]

    def _session(self, last: bool) -> Session:
        """What a try runs with: the settings of the client, and fewer attempts where there is another endpoint."""
        base = self._client or api.default_client()
        made = self._made
        if made is None or made[0] is not base.settings or made[1] is not base.stores.observers:
            settings, observers = base.settings, base.stores.observers
            patient = _with_ports(settings, self._names, self._secure)
            attempts = min(_ATTEMPTS_BEFORE_ANOTHER, settings.retry.max_attempts)
            quick = patient.replace(retry={"max_attempts": attempts})
            self._made = made = settings, observers, Session(quick, observers), Session(patient, observers)
        return made[3] if last else made[2]


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _stat(session: Session, uri: str) -> dict[str, Any]:
    return (await awaited.head(session, uri, NO_CONDITIONS)).as_dict()


_GET = _Verb("Get failed", objects.get, lambda session, uri: awaited.get(session, uri, NO_CONDITIONS), len)
_STAT = _Verb("Stat failed", objects.stat, _stat)
_DELETE = _Verb("Delete failed", objects.delete, lambda session, uri: awaited.delete(session, uri, None))


def _put(title: str, data: Payload, borrow: bool) -> _Verb:
    payload = data if borrow else bytes(as_memory(data))

    def block(session: Session, uri: str) -> None:
        objects.put_bytes(session, uri, payload)

    async def wait(session: Session, uri: str) -> None:
        if objects.verifies_puts(session):
            await run(lambda: objects.put_bytes(session, uri, payload), to_its_end=True)
        else:
            await awaited.put(session, uri, payload, NO_OPTIONS)

    return _Verb(title, block, wait, written=lambda: as_memory(payload).nbytes)


def _list(title: str, recursive: bool) -> _Verb:
    def block(session: Session, uri: str) -> list[str]:
        return listing.list(session, uri, recursive)

    return _Verb(title, block, lambda session, uri: run(lambda: block(session, uri)))


def _roots(names: Sequence[str]) -> tuple[bool | None, list[str]]:
    """Whether URLs of endpoints mean TLS (None: they are URIs), and what the URIs of each endpoint begin with.

    Raises:
        InvalidURIError: a URL has no host, a user in it, or more than a path.
    """
    kind = names[0].partition("://")[0].lower()
    if kind not in _PORTS:
        return None, [*names]
    roots = []
    for name in names:
        try:
            url = urlsplit(name)
            port, host = url.port or _PORTS[kind], url.hostname
        except ValueError as error:
            raise InvalidURIError(f"{name!r} is no URL of an endpoint: {error}") from error
        if not host or url.username is not None or url.query or url.fragment:
            raise InvalidURIError(f"{name!r} is no URL of an endpoint", hint=f"write {kind}://host:port")
        roots.append(f"s3://{f'[{host}]' if ':' in host else host}:{port}{url.path}")
    return kind == "https", roots


def _with_ports(settings: Settings, names: Sequence[str], secure: bool | None) -> Settings:
    """The settings by which the ports of URLs mean TLS, or do not, as the URLs say."""
    if secure is None:
        return settings
    ports = {str(urlsplit(name).port or _PORTS["https" if secure else "http"]) for name in names}
    known = {port.strip() for port in settings.s3.tls_ports.split(",") if port.strip()}
    wanted = known | ports if secure else known - ports
    return settings if wanted == known else settings.replace(s3={"tls_ports": ",".join(sorted(wanted))})


def _unpickled(names: Sequence[str], strategy: str, client: Client | None) -> MultiEndpointStore:
    return MultiEndpointStore(names, strategy, client=client)
