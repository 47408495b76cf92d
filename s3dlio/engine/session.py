"""What operations run with: settings, one store for each container, and threads."""

from __future__ import annotations

import os
from collections.abc import Sequence

from s3dlio.config.settings import Settings
from s3dlio.engine.executor import BaseExecutor, Executor
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import Stores
from s3dlio.types import Observer


class Session:
    """Settings, stores and threads of one client. Safe to share among threads.

    Args:
        settings: all of them, resolved.
        observers: are called once for every finished operation.
    """

    def __init__(self, settings: Settings, observers: Sequence[Observer] = ()) -> None:
        self._use(settings, observers)

    def _use(self, settings: Settings, observers: Sequence[Observer]) -> None:
        self.settings = settings
        self.executor: BaseExecutor = Executor(settings.executor.threads)
        self.stores = Stores(settings, observers)

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings from now on. Operations that are running end with the ones they began with."""
        self._use(settings, self.stores.observers)

    def store_for(self, uri: str | os.PathLike[str]) -> tuple[ObjectStore, str]:
        """The store of a URI's container, and the key within it.

        Raises:
            InvalidURIError: it is no URI.
            TypeError: it is neither a str nor a PathLike.
        """
        return self.stores.find(uri)
