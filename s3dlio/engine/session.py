"""What operations run with: settings, one store for each container, and threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s3dlio.config.settings import Settings
from s3dlio.engine.executor import BaseExecutor, Executor
from s3dlio.engine.group import ALONE, Group
from s3dlio.forking import ForkLock
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import Stores
from s3dlio.types import Observer

if TYPE_CHECKING:
    from s3dlio.engine.awaiting import LoopLanes
    from s3dlio.engine.lanes import Lanes
    from s3dlio.engine.processes import Processes

#: Connections that a resident lane has in use, at most.
_LANE_WINDOW = 256


class Session:
    """Settings, stores and threads of one client. Safe to share among threads.

    Args:
        settings: all of them, resolved.
        observers: are called once for every finished operation.
    """

    def __init__(self, settings: Settings, observers: Sequence[Observer] = ()) -> None:
        self._lock = ForkLock()
        self._processes: Processes | None = None
        #: What ``loops`` is, once it was needed: read without a call.
        self.loops_made: LoopLanes | None = None
        #: The processes among which transfers are divided. Each makes the same calls in the same order.
        self.group: Group = ALONE
        self._use(settings, observers)

    def _use(self, settings: Settings, observers: Sequence[Observer]) -> None:
        self.settings = settings
        self.executor: BaseExecutor = Executor(settings.executor.threads)
        window = min(_LANE_WINDOW, settings.http.max_connections)
        self.close_loops()
        self.loops_made = None
        self.stores = Stores(settings, observers, lambda: _lanes(window))

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings from now on. Operations that are running end with the ones they began with."""
        self._use(settings, self.stores.observers)

    @property
    def lanes(self) -> Lanes:
        """The resident lanes, made when they are first needed."""
        lanes: Lanes = self.stores.lanes
        return lanes

    @property
    def loops(self) -> LoopLanes:
        """What runs awaited calls of cloud stores on their event loops."""
        if self.loops_made is None:
            from s3dlio.engine.awaiting import LoopLanes

            self.loops_made = LoopLanes(self.lanes)
        return self.loops_made

    @property
    def processes(self) -> Processes:
        """The worker processes, none of which is started before a batch asks for it."""
        if self._processes is None:
            from s3dlio.engine.processes import Processes  # most programs need none

            with self._lock:
                self._processes = self._processes or Processes()
        return self._processes

    def close_loops(self) -> None:
        """Let the lanes of event loops go, when what they have in flight has ended."""
        if self.loops_made is not None:
            self.loops_made.close()

    def close_processes(self) -> None:
        """End the worker processes that have nothing to do, and the others with their batch."""
        if self._processes is not None:
            self._processes.close()

    def store_for(self, uri: str | os.PathLike[str]) -> tuple[ObjectStore, str]:
        """The store of a URI's container, and the key within it.

        Raises:
            InvalidURIError: it is no URI.
            TypeError: it is neither a str nor a PathLike.
        """
        return self.stores.find(uri)


def _lanes(window: int) -> Lanes:
    from s3dlio.engine.lanes import Lanes

    return Lanes(window)
