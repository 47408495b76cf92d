"""A route that leaves alone what is at its destination already."""

from __future__ import annotations

import logging

from s3dlio.errors import AlreadyExistsError, S3dlioError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.transfer.actions import there_already
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import Route, RouteAround, Transferred
from s3dlio.transfer.task import Task, perform, within

log = logging.getLogger("s3dlio.transfer")


class NoClobber(RouteAround):
    """Another route, whose writes create only. A look at the destination comes before each, since some services ignore
    the condition of a write, and one that is refused costs as much as one that is not.

    Args:
        route: its writes have the condition that nothing is there.
        plain: the same route without conditions, for services that know none.
        target: where objects go.
        prefix: what their keys begin with there.
    """

    def __init__(self, route: Route, plain: Route, target: ObjectStore, prefix: str) -> None:
        super().__init__(route)
        self._plain = plain
        self._target = target
        self._prefix = prefix

    def task(self, item: Item) -> Call[Transferred]:
        carry = self._route.task(item)
        return Task(
            carry.store, carry.operation, item.key, lambda: self._steps(carry, item), size=carry.size, load=carry.load
        )

    def _steps(self, carry: Call[Transferred], item: Item) -> Steps[Transferred]:
        if (yield from within(carry, there_already(self._target, self._prefix + item.name))):
            return Transferred(0, same=True)
        try:
            return (yield from perform(carry))
        except AlreadyExistsError:
            if not (yield from within(carry, there_already(self._target, self._prefix + item.name))):
                raise  # a file is where a directory should be, for example
            return Transferred(0, same=True)
        except S3dlioError as error:
            if error.status != 501:
                raise
            log.info("the service knows no conditional writes: %s", error.reason)
        return (yield from perform(self._plain.task(item)))
