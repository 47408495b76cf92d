"""Routes of a move: a copy and then the deletion of its source, or a rename by the service."""

from __future__ import annotations

import os

from s3dlio.errors import InvalidURIError, ObjectChangedError, PreconditionFailedError, UnsupportedOperationError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import Route, RouteAround, RouteOptions, Transferred
from s3dlio.transfer.source_file import FileVersion
from s3dlio.transfer.store_routes import ServerCopy
from s3dlio.transfer.task import RefusedItemError, Task, perform, within
from s3dlio.types import NO_OPTIONS
from s3dlio.uri import LOCAL_SCHEMES


class Moving(RouteAround):
    """Another route, and then the source is deleted: the version that was carried, and no other.

    Args:
        route: carries the object.
        source: where it was.
    """

    def __init__(self, route: Route, source: ObjectStore) -> None:
        super().__init__(route)
        self._source = source

    def task(self, item: Item) -> Call[Transferred]:
        carry = self._route.task(item)
        return Task(carry.store, "MOVE", item.key, lambda: self._move(carry, item), size=carry.size, load=carry.load)

    def _move(self, carry: Call[Transferred], item: Item) -> Steps[Transferred]:
        if self._source.scheme in LOCAL_SCHEMES:
            file = FileVersion.at(item.key)
            moved = yield from perform(carry)
            if moved.same:
                return moved
            if FileVersion.at(item.key) != file:
                raise self._kept(item)
            yield from within(carry, perform(self._source.delete_call(item.key)))
            return moved
        # What still has the ETag that it had before is what was carried.
        etag = item.etag or (yield from within(carry, perform(self._source.head_call(item.key)))).etag
        if etag is None:
            raise UnsupportedOperationError(
                "the service tells no ETag, so it cannot be told whether what would be deleted is what was copied",
                uri=self.source_uri(item), hint="copy it, and delete it yourself",
            )  # fmt: skip
        moved = yield from perform(carry)
        if moved.same:  # there was something of this name, which stays, and so does the source
            return moved
        try:
            yield from within(carry, perform(self._source.delete_call(item.key, if_match=etag)))
        except PreconditionFailedError as error:
            raise self._kept(item) from error
        return moved

    def _kept(self, item: Item) -> RefusedItemError:
        return RefusedItemError(
            ObjectChangedError(
                "the source changed while it was moved, and was kept", uri=self.source_uri(item), operation="MOVE",
                hint="move it again",
            )
        )  # fmt: skip


class Apart(RouteAround):
    """Another route of a move, which never writes where it reads: an object onto itself, whose deletion would leave
    nothing, or, when a directory moves to one above it, over another object that is moved.

    Args:
        route: moves the object.
        source: where it was.
        target: where it goes.
        prefix: the directory that it goes into.
    """

    def __init__(self, route: Route, source: ObjectStore, target: ObjectStore, prefix: str) -> None:
        super().__init__(route)
        self._local = source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES
        self._overlaps = self._local or source.root == target.root
        self._prefix = self._directory(prefix)
        self._below: tuple[str, str] = "", ""  # a directory that things come from, and its name below the prefix

    def task(self, item: Item) -> Call[Transferred]:
        if self._overlaps:
            self._check(item)
        return self._route.task(item)

    def _check(self, item: Item) -> None:
        target = self.target_uri(item)
        if target == self.source_uri(item):
            raise InvalidURIError("the destination is the source itself", uri=target)
        directory = item.key[: -len(item.name)]
        if not directory.endswith("/") or not item.key.endswith(item.name):
            return
        if directory != self._below[0]:
            place = self._directory(directory)
            self._below = directory, place[len(self._prefix) :] if place.startswith(self._prefix) else ""
        if self._below[1] and item.name.startswith(self._below[1]):
            raise InvalidURIError(
                "its destination is inside what is moved, where another object may be", uri=target,
                hint="move the directory to another one first",
            )  # fmt: skip

    def _directory(self, key: str) -> str:
        return as_directory(os.path.realpath(key or ".") if self._local else key)


class Renaming(ServerCopy):
    """The service renames the object: a move within one container, in one step.

    Args:
        otherwise: moves what it does not rename.
    """

    def __init__(self, target: ObjectStore, prefix: str, how: RouteOptions, otherwise: Route) -> None:
        super().__init__(target, target, prefix, how)
        self._otherwise = otherwise

    def task(self, item: Item) -> Call[Transferred]:
        key = self._prefix + item.name
        if not self._target.can_rename(item.key, key):
            return self._otherwise.task(item)
        return Task(self._target, "MOVE", key, lambda: self._rename(item, key))

    def _rename(self, item: Item, key: str) -> Steps[Transferred]:
        yield from perform(self._target.rename_call(item.key, key))
        return Transferred(item.size)


def moving(
    route: Route, source: ObjectStore, target: ObjectStore, prefix: str, how: TransferOptions, options: RouteOptions
) -> Route:
    """The route of a move, made of the one of a copy."""
    moving: Route = Moving(route, source)
    if source.root == target.root and how.options == NO_OPTIONS and not how.verify and not how.no_clobber:
        moving = Renaming(target, as_directory(prefix), options, otherwise=moving)
    return Apart(moving, source, target, prefix)
