"""What a transfer does to one object, as it is told to whoever follows it; and the route of a dry run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, NamedTuple

from s3dlio.errors import IsDirectoryError, ObjectNotFoundError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.transfer.destination_directory import safe_segments
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import BetweenStores, RouteOptions, Transferred
from s3dlio.transfer.task import Task, perform, within
from s3dlio.uri import LOCAL_SCHEMES

Verb = Literal["copy", "move", "delete", "put"]


class Action(NamedTuple):
    """One thing that a transfer does, has done, or with ``dry_run`` would do: ``copy`` or ``move`` from ``source`` to
    ``target``, ``put`` a generated object to ``target``, or ``delete`` the ``target``. ``size`` is in bytes."""

    verb: Verb
    source: str | None
    target: str
    size: int


#: Is called with every action.
Act = Callable[[Action], None]


def nothing(action: Action) -> None:
    """An ``Act`` for which nobody waits."""


class DryRun(BetweenStores):
    """A route on which nothing moves: ``act`` is called with what would.

    Args:
        source, target, prefix: as of :class:`BetweenStores`.
        act: is called for each item, one at a time.
        verb: what would be done.
        no_clobber: what is at its destination already would be left as it is.
    """

    def __init__(
        self, source: ObjectStore, target: ObjectStore, prefix: str, act: Act, verb: Verb = "copy",
        *, no_clobber: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(source, target, prefix, RouteOptions())
        self._act = act
        self._verb: Verb = verb
        self._no_clobber = no_clobber
        self._lock = threading.Lock()

    def task(self, item: Item) -> Call[Transferred]:
        store = self._source if self._source.is_cloud else self._target
        carry: Task[Transferred] = Task(store, self._verb.upper(), item.key, lambda: self._would(carry, item))
        return carry

    def _would(self, carry: Call[Transferred], item: Item) -> Steps[Transferred]:
        if self._target.scheme in LOCAL_SCHEMES:
            safe_segments(item.name, uri=self.source_uri(item), destination=self._prefix)
        else:
            self._target.check_key(self._prefix + item.name, "PUT")
        if self._no_clobber and (yield from within(carry, there_already(self._target, self._prefix + item.name))):
            return Transferred(0, same=True)
        with self._lock:
            self._act(Action(self._verb, self.source_uri(item), self.target_uri(item), item.size))
        return Transferred(item.size)


def there_already(store: ObjectStore, key: str) -> Steps[bool]:
    """Whether there is an object of this key."""
    try:
        yield from perform(store.head_call(key))
    except (ObjectNotFoundError, IsDirectoryError):  # of a directory, the write says what is wrong
        return False
    return True
