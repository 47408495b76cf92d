"""Routes of a move: a copy and then the deletion of its source, or a rename by the service."""

from __future__ import annotations

from s3dlio.errors import ObjectChangedError, PreconditionFailedError, UnsupportedOperationError
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
    return moving
