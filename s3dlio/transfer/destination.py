"""The destination of a transfer: a store and a prefix of keys, or a local directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from s3dlio.records import Record, replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.file import FileStore
from s3dlio.stores.local.store import LocalStore
from s3dlio.transfer.content_types import TypedOptions
from s3dlio.transfer.destination_directory import DestinationDirectory
from s3dlio.transfer.file_routes import FileToStore, StoreToFile
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.route import Route, RouteOptions
from s3dlio.types import Conditions
from s3dlio.uri import LOCAL_SCHEMES


class Destination(Record):
    """Where objects go: keys are ``prefix`` and the name of the item. Local ones come with their open directory."""

    store: ObjectStore
    prefix: str
    directory: DestinationDirectory | None

    def route_from(self, source: ObjectStore, how: RouteOptions) -> Route:
        """The way from ``source`` to here."""
        if not how.no_clobber:
            return choose_route(source, self.store, self.prefix, how, self.directory)
        plain = choose_route(source, self.store, self.prefix, how, self.directory)
        from s3dlio.transfer.no_clobber import NoClobber

        once = create_only(how)
        return NoClobber(
            choose_route(source, self.store, self.prefix, once, self.directory), plain, self.store, self.prefix
        )


@contextlib.contextmanager
def open_destination(
    store: ObjectStore, prefix: str, *, create: bool = False, ignores_case: bool | None = None
) -> Iterator[Destination]:
    """The directory ``prefix`` of ``store`` as a destination; made if it is local.

    Args:
        store: where.
        prefix: gets a ``/`` at the end if it has none.
        create: make the bucket (container) first.
        ignores_case: as of :class:`DestinationDirectory`.
    """
    prefix = as_directory(prefix)
    if store.scheme in LOCAL_SCHEMES:
        with DestinationDirectory(prefix, ignores_case=ignores_case) as directory:
            yield Destination(store, prefix, directory)
        return
    if create:
        store.create_container()
    yield Destination(store, prefix, None)


def create_only(how: RouteOptions) -> RouteOptions:
    """The same, with writes that create only."""
    options = replace(how.options, conditions=Conditions(if_none_match="*"))
    return replace(how, options=options, typed=None if how.typed is None else TypedOptions(options))


def choose_route(
    source: ObjectStore, target: ObjectStore, prefix: str, how: RouteOptions,
    directory: DestinationDirectory | None = None,
) -> Route:  # fmt: skip
    """The shortest route between two stores.

    Args:
        source: where the items are.
        target: where they go.
        prefix: what their keys begin with there.
        how: see :class:`RouteOptions`.
        directory: the directory of ``prefix``, where ``target`` is a local store.
    """
    if isinstance(target, LocalStore) and target.settings.durable:
        how = replace(how, options=replace(how.options, durable=True))
    if directory is not None and target.scheme == "file":
        return StoreToFile(source, directory, how)
    copies = directory is None and target.can_copy_from(source)
    if directory is None and not copies and isinstance(source, FileStore):
        return FileToStore(source, target, prefix, how)
    from s3dlio.transfer.store_routes import Relay, ServerCopy  # which uploads and downloads do without

    return ServerCopy(source, target, prefix, how) if copies else Relay(source, target, prefix, how, directory)
