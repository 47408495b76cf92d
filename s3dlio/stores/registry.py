"""Which store serves which scheme, and the stores that a client has made.

A store's module, and what it needs, is imported when its scheme is first used.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from s3dlio.config.sections import HttpSettings
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, InvalidURIError, S3dlioError
from s3dlio.foreign_errors import from_exception
from s3dlio.forking import ForkLock
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import observing
from s3dlio.types import Observer
from s3dlio.uri import LOCAL_SCHEMES, Location, as_uri, parse, parse_container

#: Makes the store of one container. It does no I/O.
StoreFactory = Callable[[Location, Settings, Sequence[Observer]], ObjectStore]


def _file(location: Location, settings: Settings, observers: Sequence[Observer]) -> ObjectStore:
    from s3dlio.stores.local.file import FileStore

    return FileStore(location.root, observers, settings=settings.file)


def _direct(location: Location, settings: Settings, observers: Sequence[Observer]) -> ObjectStore:
    from s3dlio.stores.local.direct import DirectStore

    return DirectStore(location.root, observers, settings=settings.file)


def _memory(location: Location, settings: Settings, observers: Sequence[Observer]) -> ObjectStore:
    from s3dlio.stores.memory import MemoryStore

    return MemoryStore(location.root, observers)


def _cloud(backend: Callable[[Location, Settings], str], **modules: str) -> StoreFactory:
    """Open stores with the module of the transport that ``backend`` picks: with its function ``open_store``."""

    def factory(location: Location, settings: Settings, observers: Sequence[Observer]) -> ObjectStore:
        chosen = backend(location, settings)
        if chosen != "native":
            _check_one_way(location, settings, chosen)
        module = importlib.import_module(modules[chosen])
        return cast(StoreFactory, module.open_store)(location, settings, observers)

    return factory


def _check_one_way(location: Location, settings: Settings, transport: str) -> None:
    """Refuse to spread over endpoints or interfaces what an SDK sends its own way.

    Raises:
        ConfigError: that was asked for.
    """
    several = location.scheme == "s3" and location.endpoint is None and len(settings.s3.endpoints) > 1
    asked = "s3.endpoints" if several else "http.source_addresses" if settings.http.source_addresses else None
    if asked is not None:
        raise ConfigError(
            f"the transport {transport} does not know {asked}",
            hint=f"leave {asked} unset, or have the native transport do it",
        )


def _s3_backend(location: Location, settings: Settings) -> str:
    endpoint = location.endpoint or settings.s3.endpoint_url
    return (settings.at(endpoint) if endpoint else settings).s3.backend


#: By scheme; for a cloud, the module of each transport.
FACTORIES: dict[str, StoreFactory] = {
    "file": _file,
    "direct": _direct,
    "memory": _memory,
    "s3": _cloud(
        _s3_backend,
        native="s3dlio.stores.s3",
        boto3="s3dlio.stores.sdk.boto",
        arrow="s3dlio.stores.sdk.arrow",
    ),
    "az": _cloud(
        lambda _, settings: settings.azure.backend, native="s3dlio.stores.azure", sdk="s3dlio.stores.sdk.azure"
    ),
    "gs": _cloud(lambda _, settings: settings.gcs.backend, native="s3dlio.stores.gcs", sdk="s3dlio.stores.sdk.gcs"),
}


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> ObjectStore:
    """The store of ``location``'s container.

    Raises:
        S3dlioError: no container can have that name, or settings do not fit together; as of the store's module.
        MissingDependencyError: its transport needs a package that is not installed.
    """
    trace_where_logged()
    try:
        return FACTORIES[location.scheme](location, settings, observers)
    except S3dlioError:
        raise
    except Exception as error:  # of botocore, of files, of what a setting holds
        raise from_exception(error, uri=str(location)) from error


def trace_where_logged() -> None:
    """Have requests traced if the log is to have them, now that its level may have changed."""
    if logging.getLogger("s3dlio.net").isEnabledFor(logging.DEBUG) or "s3dlio.net.tracing" in sys.modules:
        from s3dlio.net.tracing import look

        look()


def _no_lanes() -> Any:
    raise RuntimeError("these stores have no event loops of their own")


class Stores:
    """The stores of one client: one for each container, made when it is first named. Safe to share among threads.

    Args:
        settings: of the client.
        observers: are called once for every finished operation.
        make_lanes: makes what ``lanes`` is, when it is first needed.
    """

    def __init__(
        self, settings: Settings, observers: Sequence[Observer] = (), make_lanes: Callable[[], Any] = _no_lanes
    ) -> None:
        self.settings = settings
        self._make_lanes = make_lanes
        self._lanes: Any = None
        self._spare = None if make_lanes is _no_lanes else _spare_of(weakref.ref(self))
        self._lock = ForkLock()
        self.observers = tuple(observers)
        self._by_root: dict[str, ObjectStore] = {}
        # The part of a URI before its key -> the store, and how many characters behind that part the key starts.
        self._seen: dict[str, tuple[ObjectStore, int]] = {}
        # First segments that the container follows: accounts of Azure, servers of S3.
        self._outer: set[str] = set()
        #: Requests that worker processes have sent again.
        self.retries_of_workers = 0

    def prepare(self) -> None:
        """Have certificates and credentials fetched for all stores that were named."""
        for store in list(self._by_root.values()):
            store.prepare()

    @property
    def retries(self) -> int:
        """So many requests were sent again until now, by all stores that were named, and by worker processes."""
        policies = {store.retry_policy for store in list(self._by_root.values())}
        return self.retries_of_workers + sum(policy.retries for policy in policies if policy is not None)

    def find(self, uri: str | os.PathLike[str]) -> tuple[ObjectStore, str]:
        """The store of a URI's container, and the key within it.

        A URI is parsed in full only when its container is new: 0.4 against 2 us.

        Raises:
            InvalidURIError: it is no URI.
            TypeError: it is neither a str nor a PathLike.
        """
        if type(uri) is str:
            slash = uri.find("/", uri.find("://") + 3)
            seen = self._seen.get(uri[:slash])
            if seen is None and uri[:slash] in self._outer:
                slash = uri.find("/", slash + 1)
                seen = self._seen.get(uri[:slash])
            if slash > 0 and seen is not None and "\0" not in uri:  # without a slash, uri[:-1] may be another bucket
                return seen[0], uri[slash + seen[1] :]
        return self._parse(as_uri(uri))

    def find_all(self, uris: Sequence[str]) -> tuple[list[ObjectStore], list[str]]:
        """:meth:`find` for many. Where all are in one container they are compared with its URI all at once."""
        if not uris:
            return [], []
        store, key = self.find(uris[0])
        if len(uris) == 1:
            return [store], [key]
        cut = len(uris[0]) - len(key)
        start, separators = f"\0{uris[0][:cut]}", len(uris) - 1
        joined = "\0".join(uris)
        if start[-1] == "/" and joined.count("\0") == joined.count(start) == separators:
            return [store] * len(uris), [uri[cut:] for uri in uris]
        found = [self.find(uri) for uri in uris]
        return [store for store, _ in found], [key for _, key in found]

    @property
    def lanes(self) -> Any:
        """The client's event loops that run calls of cloud stores (``engine.lanes``)."""
        if self._lanes is None:
            with self._lock:
                if self._lanes is None:
                    self._lanes = self._make_lanes()
        return self._lanes

    def close_lanes(self) -> None:
        """Let the event loops go, if there are any, when their calls have ended."""
        if self._lanes is not None:
            self._lanes.close()

    def opened(self, uri: Any) -> tuple[ObjectStore, str] | None:
        """As ``find``, where there is nothing to open for a URI: no module to import, no file to read."""
        if type(uri) is not str:
            return None
        slash = uri.find("/", uri.find("://") + 3)
        if self._outer and uri[:slash] in self._outer:
            slash = uri.find("/", slash + 1)
        if (seen := self._seen.get(uri[:slash])) is None:
            return None
        return (seen[0], uri[slash + seen[1] :]) if slash > 0 and "\0" not in uri else self.find(uri)

    def _parse(self, uri: str) -> tuple[ObjectStore, str]:
        location = parse(uri, azure_account=self.settings.azure.default_account)
        store = self._by_root.get(location.root)
        if store is None:
            store = self._by_root.setdefault(location.root, open_store(location, self.settings, self.observers))
            store.observers = observing(self.observers)  # one may have been added meanwhile
            store.spare = self._spare
        before = uri[: len(uri) - len(location.key)]
        if location.scheme in LOCAL_SCHEMES:
            self._seen[before] = store, 0  # the slash is part of the path
        elif before.endswith("/"):
            self._seen[before[:-1]] = store, 1
            if before.count("/") == 4:
                self._outer.add(before[: before.rindex("/", 0, -1)])
        return store, location.key

    def container(
        self, uri: str | os.PathLike[str], *, named: bool = False, keyed: bool = False
    ) -> tuple[ObjectStore, str]:
        """The store of a container, or of a service whose containers are to be listed; for local ones, the path.

        Raises:
            InvalidURIError: it is no URI, or names an object, unless ``keyed``; with ``named``, or a service.
        """
        location = parse_container(uri, azure_account=self.settings.azure.default_account, keyed=keyed)
        if named and not location.container and location.scheme not in LOCAL_SCHEMES:
            raise InvalidURIError("it names no bucket (container)", uri=os.fspath(uri))
        return open_store(location, self.settings, self.observers), location.key

    def http(self) -> set[HttpSettings]:
        """The settings of the connections of all stores that were named; a profile in ``~/.aws`` may have added to
        them."""
        found = (getattr(store, "settings", None) for store in list(self._by_root.values()))
        return {settings.http for settings in found if isinstance(settings, Settings)}

    def add_observer(self, observer: Observer) -> None:
        self._observe((*self.observers, observer))

    def remove_observer(self, observer: Observer) -> None:
        self._observe(tuple(other for other in self.observers if other != observer))

    def _observe(self, observers: tuple[Observer, ...]) -> None:
        self.observers = observers
        for store in list(self._by_root.values()):
            store.observers = observing(observers)


def _spare_of(stores: weakref.ref[Stores]) -> Callable[[int], Any]:
    """Gives resident lanes to stores (``BaseStore.spare``), which do not keep what they are in."""

    def spare(taken: int) -> Any:
        found = stores()
        return None if found is None else found.lanes.spare(taken)

    return spare
