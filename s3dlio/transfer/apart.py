"""A route that never writes where it reads, item by item; ``overlap`` refuses what can be told before."""

from __future__ import annotations

import os

from s3dlio.errors import InvalidURIError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import Route, RouteAround, Transferred
from s3dlio.uri import LOCAL_SCHEMES


def apart(route: Route, source: ObjectStore, target: ObjectStore, prefix: str, *, moves: bool) -> Route:
    """The same route; where both sides are in one place, one that refuses what would be written over what is read.

    Args:
        route: carries the objects.
        source: where they are.
        target: where they go.
        prefix: the directory that they go into.
        moves: they are deleted where they were.
    """
    local = source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES
    if local or source.root == target.root:
        return _Apart(route, prefix, local=local, moves=moves)
    return route


class _Apart(RouteAround):
    """Refuses a move of an object onto itself, whose deletion would leave nothing, and, when a directory goes to one
    above it, what would be written over another object that goes with it."""

    def __init__(self, route: Route, prefix: str, *, local: bool, moves: bool) -> None:
        super().__init__(route)
        self._local = local
        self._moves = moves
        self._prefix = self._directory(prefix)
        self._below: tuple[str, str] = "", ""  # a directory that things come from, and its name below the prefix

    def task(self, item: Item) -> Call[Transferred]:
        self._check(item)
        return self._route.task(item)

    def admit(self, item: Item) -> Item:
        self._check(item)
        return self._route.admit(item)

    def _check(self, item: Item) -> None:
        if self._moves and self.target_uri(item) == self.source_uri(item):
            raise InvalidURIError("the destination is the source itself", uri=self.target_uri(item))
        directory = item.key[: -len(item.name)]
        if not directory.endswith("/") or not item.key.endswith(item.name):
            return
        if directory != self._below[0]:
            place = self._directory(directory)
            self._below = directory, place[len(self._prefix) :] if place.startswith(self._prefix) else ""
        if self._below[1] and item.name.startswith(self._below[1]):
            what = "moved" if self._moves else "copied"
            raise InvalidURIError(
                f"its destination is inside what is {what}, where another object may be",
                uri=self.target_uri(item), hint="name another destination first",
            )  # fmt: skip

    def _directory(self, key: str) -> str:
        return as_directory(os.path.realpath(key or ".") if self._local else key)
